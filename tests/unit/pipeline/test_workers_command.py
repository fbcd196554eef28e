"""What `workers up`, `down` and `status` refuse and say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.commands import workers as command
from pipeline.errors import SettingsError, UsageError
from pipeline.local_stack import Started
from pipeline.local_stack.configured import Moved


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG_FILE", "API_HOST", "API_ACCESS_KEY", "API_SECRET_KEY", "AUTH_TOKEN"):
        monkeypatch.delenv(f"CLEARML_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLEARML_PODS_STATE", str(tmp_path / "state"))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(command.workers, arguments, standalone_mode=False)


@pytest.mark.parametrize(
    ("queue", "message", "hint"),
    [
        (
            "a,b",
            "--queue a,b: the name of a queue has no comma",
            "for two queues: --queue a --queue b",
        ),
        ("", "--queue '': the name of a queue is not empty", "--queue NAME"),
    ],
)
def test_a_name_that_no_queue_has_is_refused(queue, message, hint):
    error = call("up", "--queue", queue).exception
    assert isinstance(error, SettingsError)
    assert (error.exit_code, error.message, error.hint) == (10, message, hint)


def test_no_workers_at_all_are_refused_with_the_command_that_ends_them():
    error = call("up", "--steps", "0", "--controllers", "0").exception
    assert isinstance(error, UsageError)
    assert (error.message, error.hint) == ("no workers asked for", "to end them: ./task workers-down")


def test_up_says_what_was_stopped_moved_and_started(monkeypatch):
    found = Started(
        "http://server:8008",
        "http://server:8080",
        started=("controllers", "steps-1"),
        stopped=("steps-2", "steps-3"),
        moved=(Moved("steps-1", "pods", "gpu"),),
        busy=(),
        unserved=("pods",),
        made_queues=(),
        workers=(),
    )
    monkeypatch.setattr(command, "workers_up", lambda *_, **__: found)
    said = call("up", "--queue", "gpu").output
    assert "Stopped: steps-2, steps-3.\nMoved:   steps-1 from queue pods to gpu.\nStarted: controllers.\n" in said
    assert "Warning: no worker of this machine serves queue pods any more" in said


def test_without_a_server_down_and_status_look_for_this_machines_own_workers():
    down, status = call("down"), call("status")
    assert (down.exception, down.output) == (None, "No worker was running.\n")
    assert status.return_value == command.NOT_COMPLETE
    assert "this machine's own does not run" in status.output
