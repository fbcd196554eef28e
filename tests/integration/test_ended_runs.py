"""Runs that somebody ends: by a signal, a deadline, on the server, or by killing the command."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from clearml_access.processes import is_alive, wait_until
from tests.integration.pipeline_cli import KINDS_OF_SERVER, versions

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SERVERS = KINDS_OF_SERVER


def is_ready_to_be_interrupted(process):
    """Whether a command handles SIGTERM by now: before that nothing has begun, and it ends as any process does."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("seconds", [2.5, pytest.param(5, marks=pytest.mark.thorough)])
def test_an_interrupted_run_leaves_nothing_behind(cli, client, seconds):
    process = cli.start("run", "--mode", "in-process", "--no-cache")
    assert wait_until(lambda: is_ready_to_be_interrupted(process), 60)
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert versions(client, only_final=False) == versions(client)
    alive = client("tasks.get_all", status=["in_progress", "queued"], search_hidden=True)["tasks"]
    assert [task["name"] for task in alive] == []


def test_a_run_whose_reader_has_gone_is_aborted(cli, client):
    process = cli.start("run", "--mode", "in-process", "--no-cache")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141, process.stderr.read()
    alive = client("tasks.get_all", status=["in_progress", "queued"], search_hidden=True)["tasks"]
    assert [task["name"] for task in alive] == []


def test_a_run_that_takes_too_long_is_aborted(cli, client):
    done = cli("run", "--mode", "in-process", "--no-cache", "--timeout", "5", "--json")
    assert done.code == 42
    assert done.document["status"] == "error"
    assert "--timeout" in done.document["hint"]
    has_begun = "no run could be started" not in done.document["error"]  # it has not, on a busy machine
    assert done.document["run_id"] or not has_begun
    if done.document["run_id"]:
        run = client("tasks.get_by_id", task=done.document["run_id"])["task"]
        assert run["name"].startswith("DataPrepare")  # the SDK numbers later runs
        assert run["status"] == "stopped"
    if has_begun:
        assert done.document["mode"] == "in-process"
        assert [step["name"] for step in done.document["steps"]][:1] == ["train_test_split"]
    alive = client("tasks.get_all", status=["in_progress", "queued"], search_hidden=True)["tasks"]
    assert [task["name"] for task in alive] == []


def test_a_run_of_this_machine_that_is_stopped_on_the_server_ends_with_its_steps(cli, client):
    def running(**query):
        found = client("tasks.get_all", status=["in_progress"], search_hidden=True, order_by=["-created"], **query)
        return [task["id"] for task in found["tasks"]]

    process = cli.start("run", "--mode", "in-process", "--no-cache", "--json")
    deadline = time.monotonic() + 60
    while not (steps := [step for run in running(type=["controller"]) for step in running(parent=[run])]):
        assert time.monotonic() < deadline, "no step has begun"
        time.sleep(0.1)
    (run,) = running(type=["controller"])
    client("tasks.stop", task=run)
    process.communicate(timeout=60)
    assert process.returncode == 40
    made = client("tasks.get_all", parent=[run], search_hidden=True)["tasks"]
    assert ([task["id"] for task in made], {task["status"] for task in made}) == (steps, {"stopped"})


def test_a_run_that_is_stopped_while_it_starts_says_so(cli, client):
    running = {"type": ["controller"], "status": ["in_progress"]}
    before = {task["id"] for task in client("tasks.get_all", **running)["tasks"]}
    process = cli.start("run", "--mode", "in-process", "--no-cache", "--json")
    deadline = time.monotonic() + 60
    while not (new := {task["id"] for task in client("tasks.get_all", **running)["tasks"]} - before):
        assert time.monotonic() < deadline, "the controller has not begun"
        time.sleep(0.05)
    (run,) = new
    client("tasks.stop", task=run, force=True)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 40
    (error,) = (line for line in stderr.splitlines() if line.startswith("Error: "))
    assert error.startswith(f"Error: run {run} aborted") or error == f"Error: run {run} was aborted while it started"
    assert client("tasks.get_by_id", task=run)["task"]["status"] == "stopped"


def test_a_run_whose_command_was_killed_is_stopped_and_leaves_no_process(cli, client):
    """`kill -9` leaves the command no moment to end its controller, which is in a session of its own."""

    def running(**query):
        found = client("tasks.get_all", status=["in_progress"], search_hidden=True, only_fields=["id"], **query)
        return [task["id"] for task in found["tasks"]]

    process = cli.start("run", "--mode", "in-process", "--no-cache")
    deadline = time.monotonic() + 100
    while not (running(type=["controller"]) and running(type=["data_processing"])):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    (run,) = running(type=["controller"])
    started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    while running() or any(is_alive(child.pid) for child in started):
        assert time.monotonic() < deadline, (running(), started)
        time.sleep(0.1)
    task = client("tasks.get_by_id", task=run)["task"]
    assert (task["status"], task["status_reason"]) == ("stopped", "the command that ran it was killed")


def test_a_step_whose_process_was_killed_says_so(cli, client):
    def steps():
        query = {"type": ["data_processing"], "status": ["in_progress"], "search_hidden": True}
        return [task["id"] for task in client("tasks.get_all", only_fields=["id"], **query)["tasks"]]

    def process_of(step):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.name() == f"step {step}"[:15] or child.environ().get("CLEARML_TASK_ID") == step:
                    return child
        return None

    process = cli.start("run", "--mode", "in-process", "--no-cache", "--retries", "0", "--json")
    assert wait_until(steps, 100)
    (step,) = steps()
    assert wait_until(lambda: process_of(step), 60)
    process_of(step).kill()
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 40
    task = client("tasks.get_by_id", task=step)["task"]
    assert task["status"] == "failed"
    assert task["status_reason"].startswith("its process was ended by SIGKILL"), task["status_reason"]
    assert "ended by SIGKILL" in stdout + stderr
