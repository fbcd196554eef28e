"""Why a step failed decides whether it is run again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploy.kubernetes.pods import CAUSES
from pipeline.controllers.controller import _run_again
from pipeline.controllers.failure_causes import Cause, cause_of


@pytest.mark.parametrize(
    ("why", "cause"),
    [
        ("pod: Evicted pod clearml-id-1 on node a ended: Evicted (The node was low on resource: memory)", Cause.LOST),
        ("pod: Preempted pod clearml-id-1 ended: Preempted", Cause.LOST),
        ("pod: NodeLost ", Cause.LOST),
        ("pod: Deleted pod clearml-id-1 ended: Deleted, exit code 137", Cause.LOST),
        ("worker lost: no sign of life from pods:7 for 90 s ", Cause.LOST),
        ("Forced stop (non-responsive) ", Cause.LOST),
        ("pod: ImagePullBackOff pod clearml-id-1 ended: ImagePullBackOff", Cause.NEVER_STARTS),
        ("pod: InvalidImageName ", Cause.NEVER_STARTS),
        ("pod: Unschedulable 0/1 nodes are available", Cause.NEVER_STARTS),
        ("cannot start the task cannot start: docker arguments '-e': -e lacks its value", Cause.NEVER_STARTS),
        ("pod: OOMKilled pod clearml-id-1 ended: OOMKilled, exit code 137", Cause.OWN),
        ("pod: Error pod clearml-id-1 ended: Error, exit code 1", Cause.OWN),
        ("worker execution exit code 1 None", Cause.OWN),
        (" ", Cause.OWN),
    ],
)
def test_a_failure_has_a_cause(why, cause):
    assert cause_of(why) is cause


def test_every_cause_that_the_agent_writes_is_known_here():
    own = {"OOMKilled", "Error", "CrashLoopBackOff", "DeadlineExceeded", "InitStuck"}
    assert {name for name in CAUSES if cause_of(f"pod: {name} ") is Cause.OWN} == own


class Task:
    """A step's task, as the SDK shows it."""

    id = "task"

    def __init__(self, reason: str) -> None:
        self.data = SimpleNamespace(status_reason=reason, status_message=f"pod ended: {reason}")

    def reload(self) -> None: ...


class Server:
    """Keeps what is written onto a task."""

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}

    def call(self, endpoint: str, *, task: str, force: bool, hyperparams: list[dict[str, str]]) -> None:
        assert (endpoint, task, force) == ("tasks.edit_hyper_params", Task.id, True)
        self.properties |= {item["name"]: item["value"] for item in hyperparams if item["section"] == "properties"}


def attempts(reasons, lost_retries=2, own_retries=1):
    """Return whether each attempt is followed by another, and what the task keeps."""
    shard = SimpleNamespace(is_tried_again=lambda server, step, task, tries: tries < own_retries)
    options = SimpleNamespace(lost_retries=lost_retries)
    server = Server()
    pipeline = SimpleNamespace(server=server, options=options, fan_out=shard, ended_attempts={})
    task = Task("")
    answers = []
    for number, reason in enumerate(reasons):
        task.data = Task(reason).data
        node = SimpleNamespace(name="split", job=SimpleNamespace(task=task))
        answers.append(_run_again(pipeline, node, number))
    return answers, server.properties


def test_what_was_lost_is_run_again_and_does_not_count_as_a_retry():
    answers, kept = attempts(["pod: Evicted", "pod: Error", "pod: Preempted", "pod: Error"])
    assert answers == [True, True, True, False]
    assert kept == {
        "earlier_attempts": '["pod: Evicted; pod ended: pod: Evicted", "pod: Error; pod ended: pod: Error", '
        '"pod: Preempted; pod ended: pod: Preempted"]'
    }


def test_what_is_lost_too_often_fails():
    assert attempts(["pod: Evicted"] * 3)[0] == [True, True, False]
    assert attempts(["pod: Evicted"], lost_retries=0)[0] == [False]


def test_what_can_never_start_is_not_run_again():
    assert attempts(["pod: ErrImagePull"]) == ([False], {})
