"""The judge of the fault test: it sees what is lost, repeated or ends with another reason than its cause."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.judge import judged

DELETED = {"status": "failed", "status_reason": "pod: Deleted", "runtime": {"pod": "pod x was deleted: Deleted"}}
STEP_FAILED = {"status": "failed", "status_reason": "Pipeline step failed"}
BY_CODE = {"status": "failed", "status_reason": "worker execution exit code 1"}


def tasks(controller: dict[str, Any], step: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"run": {"id": "run", **controller}, "step": {"id": "step", "parent": "run", **step}}


@pytest.mark.parametrize(
    ("controller", "step", "deleted", "begun", "done", "wrong"),
    [
        ({}, {"status": "completed"}, "", 1, 1, ""),
        ({}, {"status": "completed"}, "step", 1, 1, ""),
        ({}, {"status": "completed"}, "", 2, 2, "ran 2 times"),
        ({}, {"status": "completed"}, "", 0, 0, "completed, but"),
        ({}, {"status": "completed"}, "", 1, 0, "completed, but"),
        ({}, DELETED, "step", 1, 0, ""),
        ({}, DELETED, "", 1, 0, "nothing was done"),
        ({}, BY_CODE, "step", 1, 0, "its pod was deleted"),
        ({}, {"status": "stopped"}, "", 1, 0, "lost: stopped"),
        ({}, {"status": "queued"}, "", 0, 0, "lost: queued"),
        ({}, {"status": "in_progress"}, "step", 1, 0, "lost: in_progress"),
        ({}, {"status": "created"}, "", 0, 0, "never enqueued"),
        (DELETED, {"status": "created"}, "run", 0, 0, ""),
    ],
)
def test_a_step(controller, step, deleted, begun, done, wrong):
    found = tasks(controller, step)
    text = judged(found["step"], begun, done, found, {deleted})
    assert wrong in text if wrong else text == ""


@pytest.mark.parametrize(
    ("controller", "step", "deleted", "wrong"),
    [
        (STEP_FAILED, DELETED, {"step"}, ""),
        (STEP_FAILED, DELETED, {"step", "run"}, ""),
        (STEP_FAILED, {"status": "completed"}, set(), "nothing was done"),
        (STEP_FAILED, BY_CODE, set(), "nothing was done"),
        (BY_CODE, DELETED, {"step"}, "a step's pod was deleted"),
    ],
)
def test_a_controller(controller, step, deleted, wrong):
    found = tasks(controller, step)
    text = judged(found["run"], 1, 1, found, deleted)
    assert wrong in text if wrong else text == ""
