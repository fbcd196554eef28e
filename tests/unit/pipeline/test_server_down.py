"""What `server down` says of what it ends, and of what it does not end."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli import main

RUN = {"id": "run", "name": "Mine #2", "type": "controller"}
STEP = {"id": "step", "name": "count", "type": "data_processing", "parent": "run"}
INNER = {"id": "inner", "name": "DataPrepare", "type": "controller", "parent": "run"}
TASK = {"id": "task", "name": "train", "type": "training", "parent": "draft"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(tasks: list[dict[str, str]], served: object = None) -> None:
        monkeypatch.setattr("pipeline.commands.machine.in_hand", lambda _: tasks)
        monkeypatch.setattr("pipeline.commands.machine.down", lambda _: ["steps-1", "server"])
        monkeypatch.setattr("pipeline.commands.machine.process.find", lambda _: served)

    return of


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([], []),
        ([RUN, STEP, INNER], ["Aborted 1 run: Mine #2 (run)"]),
        ([RUN, TASK, {**TASK, "id": "other"}],
         ["Aborted 1 run: Mine #2 (run)", "Aborted 2 tasks: train (task), train (other)"]),
    ],
)  # fmt: skip
def test_what_is_aborted_is_named(
    tasks: list[dict[str, str]], said: list[str], machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(tasks)
    assert main(["server", "down"]) == 0
    assert capsys.readouterr().out.splitlines() == ["Stopped: steps-1, server.", *said]


def test_a_model_that_is_served_goes_on_and_its_end_is_named(machine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine([RUN, TASK], SimpleNamespace(pid=7))
    assert main(["server", "down"]) == 0
    assert "A model is still served (pid 7). End it: ./task serve-down" in capsys.readouterr().out
    assert main(["server", "down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "stopped": ["steps-1", "server"],
        "aborted": {"runs": ["run"], "tasks": ["task"]},
        "serving_pid": 7,
    }
