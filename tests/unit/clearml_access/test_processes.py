"""Processes by pid: a recycled pid is never signalled, what a killed parent left behind is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from clearml_access import processes
from clearml_access.processes import Record

PYTHON = sys.executable
SLEEP = [PYTHON, "-S", "-c", "import time; time.sleep(60)"]


@pytest.fixture
def started(tmp_path):
    """Starts processes whose whole family is ended with the test."""
    marker = str(tmp_path)

    def start(argv, name="one"):
        return processes.start(
            argv,
            env={**os.environ, "TEST_FAMILY": marker},
            folder=tmp_path,
            log=tmp_path / f"{name}.log",
            pid_file=tmp_path / f"{name}.pid",
        )

    yield start
    processes.end(processes.family("TEST_FAMILY", marker), term_s=0.0)


def test_a_started_process_is_found_again_in_a_session_of_its_own(started, tmp_path):
    process = started(SLEEP)
    assert processes.running(tmp_path / "one.pid").pid == process.pid
    assert os.getsid(process.pid) == process.pid
    processes.end([process])
    assert processes.running(tmp_path / "one.pid") is None


def test_a_pid_with_another_start_is_another_process(tmp_path):
    mine = psutil.Process()
    Record(mine.pid, processes.start_of(mine), {}).write(tmp_path / "same.pid")
    Record(mine.pid, f"{processes.start_of(mine)}0", {}).write(tmp_path / "recycled.pid")
    assert processes.running(tmp_path / "same.pid") == mine
    assert processes.running(tmp_path / "recycled.pid") is None


def step_the_clock(monkeypatch, seconds):
    """psutil adds the ticks since the boot to the time of the boot, which a step of the clock moves."""
    at_first = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: at_first(self) + seconds)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_step_of_the_clock_makes_no_stranger_of_a_process(started, tmp_path, monkeypatch, seconds):
    process = started(SLEEP)
    processes.remember(tmp_path / "one.pid", api="here")
    step_the_clock(monkeypatch, seconds)
    assert processes.running(tmp_path / "one.pid").pid == process.pid


def test_a_pid_file_of_old_is_believed_where_the_process_was_started_for_its_folder(started, tmp_path, monkeypatch):
    process = started(SLEEP)
    old = {"pid": process.pid, "started": process.create_time(), "facts": {"api": "here"}}
    (tmp_path / "one.pid").write_text(json.dumps(old))
    step_the_clock(monkeypatch, 3600.0)
    assert processes.running(tmp_path / "one.pid").pid == process.pid
    processes.remember(tmp_path / "one.pid", more="facts")
    record = Record.read(tmp_path / "one.pid")
    assert (record.start, record.facts) == (processes.start_of(process), {"api": "here", "more": "facts"})
    (tmp_path / "recycled.pid").write_text(json.dumps(old | {"pid": os.getpid()}))
    assert processes.running(tmp_path / "recycled.pid") is None


@pytest.mark.parametrize("text", ["", "12", "{}", '{"pid": "x", "started": 1}', '{"pid": 1}', "\x00"])
def test_a_damaged_pid_file_means_nothing_runs(tmp_path, text):
    (tmp_path / "bad.pid").write_text(text)
    assert processes.running(tmp_path / "bad.pid") is None
    assert processes.running(tmp_path / "missing.pid") is None


def test_facts_are_remembered_with_the_pid(started, tmp_path):
    process = started(SLEEP)
    processes.remember(tmp_path / "one.pid", api="http://127.0.0.1:1")
    record = Record.read(tmp_path / "one.pid")
    assert (record.pid, record.facts) == (process.pid, {"api": "http://127.0.0.1:1"})


def test_children_of_a_killed_parent_are_family(started, tmp_path):
    script = f"import subprocess, time; subprocess.Popen({SLEEP!r}, start_new_session=True); print('up', flush=True)"
    parent = started([PYTHON, "-S", "-c", f"{script}; time.sleep(60)"])
    assert processes.wait_until(lambda: "up" in (tmp_path / "one.log").read_text(), 20)
    parent.kill()
    parent.wait(10)
    (orphan,) = processes.family("TEST_FAMILY", str(tmp_path))
    processes.end([orphan])
    assert processes.family("TEST_FAMILY", str(tmp_path)) == []


def test_a_process_is_found_by_its_environment_from_its_first_moment_on(tmp_path, monkeypatch):
    """The kernel shows no environment while a program is loaded: after half of all starts on a busy machine."""
    monkeypatch.setattr(psutil, "process_iter", lambda: [child])
    for number in range(30):
        child = psutil.Popen(SLEEP, env={"TEST_FAMILY": str(number)})
        assert processes.family("TEST_FAMILY", str(number)) == [child]
        processes.end([child], term_s=0.0)


def test_a_process_that_ended_and_that_nobody_waited_for_does_not_run():
    child = subprocess.Popen([PYTHON, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert processes.is_alive(child.pid)
        child.kill()
        assert processes.wait_until(lambda: not processes.is_alive(child.pid), 10)
        os.kill(child.pid, 0)  # its pid is still there
    finally:
        child.kill()
        child.communicate()
    assert not processes.is_alive(child.pid)


def test_who_ignores_sigterm_is_killed(started, tmp_path):
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"
    process = started([PYTHON, "-S", "-c", f"{ignore}; time.sleep(60)"])
    assert processes.wait_until(lambda: "up" in (tmp_path / "one.log").read_text(), 20)
    processes.end([process], term_s=0.2)
    assert process.wait(20) == -signal.SIGKILL  # psutil calls a killed child alive until it has been waited for


def test_a_log_is_appended_to_and_its_tail_shown(started, tmp_path):
    for word in ("first", "second"):
        started([PYTHON, "-S", "-c", f"print({word!r})"]).wait(20)
    title = f"the last lines of {tmp_path / 'one.log'}:"
    assert processes.tail(tmp_path / "one.log") == (title, "first", "second")
    assert processes.tail(tmp_path / "one.log", lines=1) == (title, "second")
    assert "cannot be read: No such file" in processes.tail(Path("/nowhere/at.all"))[0]
