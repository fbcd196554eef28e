"""Commands whose reader has gone (`… | head`): exit code 141, and nothing is left running."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.run_options import CONTROLLER, IN_PROCESS, QUEUE, RunOptions
from pipeline.runs import run as use_case
from pipeline.runs import states


def test_a_dry_run_whose_reader_has_gone_ends_as_a_broken_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--dry-run"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


class Process:
    """A controller's process that has its task."""

    alive = False

    def __init__(self, plan, environ):
        self.killed = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def run_id(self, deadline):
        return "run-1"

    known_run_id = enqueued = lambda self, *_: "run-1"

    def kill(self):
        self.killed = True


@pytest.mark.parametrize(("mode", "aborted"), [(IN_PROCESS, ["run-1"]), (CONTROLLER, ["run-1"]), (QUEUE, [])])
def test_a_run_whose_output_cannot_be_written_is_aborted_unless_agents_run_it(monkeypatch, mode, aborted):
    found = []
    monkeypatch.setattr(use_case, "ControllerProcess", Process)
    monkeypatch.setattr(use_case, "abort", lambda server, run_id, *_: found.append(run_id))
    monkeypatch.setattr(states, "fetch", lambda *_: None)
    options = RunOptions(mode=mode)
    settings = SimpleNamespace(options=options, definition=DATA_PREPARE, timeout_s=60.0)

    def update(state):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        use_case.run(None, SimpleNamespace(settings=settings), SimpleNamespace(update=update), {})
    assert found == aborted
