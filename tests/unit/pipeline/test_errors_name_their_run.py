"""The JSON object of a failed command names the run or the task, whatever ended it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clearml_access.errors import ServerUnreachableError
from pipeline.errors import RunTimeoutError
from pipeline.module_tasks import execution
from pipeline.runs import run as runs

RUN, TASK = "a" * 32, "b" * 32


class Process:
    """A controller's process that has announced its run."""

    alive = False

    def __init__(self, *_: object) -> None:
        return

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        return

    def run_id(self, deadline: float) -> str:
        return RUN

    def enqueued(self, deadline: float) -> None:
        return

    def known_run_id(self) -> str:
        return RUN


@pytest.mark.parametrize("error", [ServerUnreachableError("away"), RunTimeoutError("late")])
def test_an_error_of_a_run_that_has_begun_names_it(monkeypatch, error):
    def watch(*_: object) -> None:
        raise error

    monkeypatch.setattr(runs, "ControllerProcess", Process)
    monkeypatch.setattr(runs, "_watch", watch)
    plan = SimpleNamespace(settings=SimpleNamespace(timeout_s=10, options=SimpleNamespace(mode=runs.QUEUE)))
    with pytest.raises(type(error)) as caught:
        runs.run(None, plan, None, {})
    assert caught.value.document["run_id"] == RUN


@pytest.mark.parametrize(("raised", "kind"), [(TimeoutError(), RunTimeoutError), (ServerUnreachableError("x"),) * 2])
def test_an_error_of_a_task_names_it(monkeypatch, raised, kind):
    def run_here(*_: object) -> None:
        raise raised

    monkeypatch.setattr(execution, "_run_here", run_here)
    monkeypatch.setattr(execution, "stop", lambda *_: None)
    kind = kind if isinstance(kind, type) else type(kind)
    with pytest.raises(kind) as caught:
        execution.run(None, None, TASK, environ={}, say=print)
    assert caught.value.document == {"task_id": TASK}
