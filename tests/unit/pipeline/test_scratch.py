"""Temporary files go with their process, whichever way it ends; what was killed is cleared up by the next one."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from clearml_access import locks

SCRIPT = """
import os, sys
from pipeline.step_runtime.scratch import scratch_folder
(scratch_folder() / "big").write_text("x")
print("ready", flush=True)
{ending}
"""


def start(tmp_path, ending):
    """Start a process that has a scratch folder and then does something."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(ending=ending)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    process.communicate("", timeout=20)


@pytest.mark.parametrize(
    "ending", ["", "raise ValueError('no')", "sys.exit(3)", "from pipeline.step_runtime.scratch import clear; clear()"]
)
def test_nothing_is_left_of_a_process_that_ends(tmp_path, ending):
    end(start(tmp_path, ending))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_is_in_use_stays(tmp_path):
    alive = start(tmp_path, "sys.stdin.read()")
    (used,) = tmp_path.iterdir()
    killed = start(tmp_path, "sys.stdin.read()")
    killed.send_signal(signal.SIGKILL)
    end(killed)
    assert len(list(tmp_path.iterdir())) == 2
    end(start(tmp_path, "os._exit(1)"))  # clears up, and leaves its own
    assert used in tmp_path.iterdir()
    assert len(list(tmp_path.iterdir())) == 2
    end(alive)
    end(start(tmp_path, ""))
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_left_alone(tmp_path):
    others = [tmp_path / name for name in ("clearml-pods-chart-1", "clearml-pods-tools-1", "clearml-run-1", "other")]
    for other in others:
        other.mkdir()
    end(start(tmp_path, ""))
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_lock_file_is_there_only_while_it_is_held(tmp_path):
    path = tmp_path / "one.lock"
    with locks.holding(path) as held:
        assert held
        assert path.exists()
        with locks.holding(path) as second:
            assert not second
        assert path.exists()
    assert not path.exists()


def test_a_lock_file_that_was_left_is_taken_over(tmp_path):
    path = tmp_path / "one.lock"
    path.touch()
    with locks.holding(path) as held:
        assert held
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    path = tmp_path / "one.lock"
    path.touch()
    flock = fcntl.flock

    def lock_too_late(*arguments):
        path.unlink()
        path.touch()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    assert locks.take(path) is None
