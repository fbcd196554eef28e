"""Why a step failed decides whether it is run again."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.kubernetes.pods import CAUSES
from pipeline.controllers.failure_causes import Cause, cause_of
from pipeline.controllers.retries import run_again
from pipeline.controllers.shard_scheduling import ShardScheduling
from pipeline.run_options import RunOptions


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
    assert cause_of("pod: OOMKilled ", "4Gi") is Cause.MEMORY
    own = {"OOMKilled", "Error", "CrashLoopBackOff", "DeadlineExceeded", "InitStuck"}
    assert {name for name in CAUSES if cause_of(f"pod: {name} ") is Cause.OWN} == own


class Server:
    """Has one task, and keeps what is written onto it."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {"id": "task", "container": {"image": "i:1", "arguments": "-e 'A=b c' -m 1g"}}
        self.properties: dict[str, str] = {}

    def task(self, task_id: str, only_fields: list[str]) -> dict[str, Any]:
        assert task_id == "task" and "runtime" in only_fields
        return self.record

    def console(self, task_id: str, lines: int) -> list[str]:
        return ["RuntimeError: no connection"]

    def call(self, endpoint: str, *, task: str, force: bool, **changes: Any) -> None:
        assert (task, force) == ("task", True)
        if endpoint == "tasks.edit":
            self.record |= changes
        else:
            assert endpoint == "tasks.edit_hyper_params"
            items = changes["hyperparams"]
            self.properties |= {item["name"]: item["value"] for item in items if item["section"] == "properties"}


def attempts(reasons, own_retries=1, runtimes=(), step="split_1", **options):
    """Return whether each attempt is followed by another, and the server with what the task keeps."""
    told = RunOptions(**{"lost_retries": 2, "retries": own_retries} | options)
    server = Server()
    shards = ShardScheduling(shardable=["split"], shards=2, retries=told.retries)
    pipeline = SimpleNamespace(server=server, options=told, shard_scheduling=shards, ended_attempts={})
    node = SimpleNamespace(name=step, job=SimpleNamespace(task=SimpleNamespace(id="task")))
    answers = []
    for number, reason in enumerate(reasons):
        why = {"status_reason": reason, "status_message": f"pod ended: {reason}"}
        server.record |= {"status": "failed", "runtime": runtimes[number] if runtimes else {}, **why}
        answers.append(run_again(pipeline, node, number))
    return answers, server


def test_what_was_lost_is_run_again_and_does_not_count_as_a_retry():
    answers, server = attempts(["pod: Evicted", "pod: Error", "pod: Preempted", "pod: Error"])
    assert answers == [True, True, True, False]
    assert server.properties == {
        "earlier_attempts": '["pod: Evicted; pod ended: pod: Evicted", "pod: Error; pod ended: pod: Error", '
        '"pod: Preempted; pod ended: pod: Preempted"]'
    }


def test_what_is_lost_too_often_fails():
    assert attempts(["pod: Evicted"] * 3)[0] == [True, True, False]
    assert attempts(["pod: Evicted"], lost_retries=0)[0] == [False]


def test_what_can_never_start_is_not_run_again():
    answers, server = attempts(["pod: ErrImagePull"])
    assert (answers, server.properties) == ([False], {})


def test_a_queue_may_ask_for_more_tries_of_what_is_lost():
    spot = [{"pod_lost_retries": "3"}] * 4
    assert attempts(["pod: Evicted"] * 4, runtimes=spot)[0] == [True, True, True, False]
    assert attempts(["pod: Evicted"], runtimes=spot[:1], lost_retries=0)[0] == [False]
    assert attempts(["pod: Evicted"], runtimes=[{"pod_lost_retries": "1"}])[0] == [True]


@pytest.mark.parametrize(
    ("step", "own", "reason", "answers"),
    [
        ("split_1", "code:2", "pod: Error", [True, True, False]),
        ("split_1", "code:0", "pod: Error", [False]),
        ("split_2", "code:2", "pod: Error", [True, False]),
        ("split_1", "lost:4", "pod: Error", [True, False]),
        ("split_1", "lost:4", "pod: Evicted", [True] * 4 + [False]),
        ("split_1", "lost:0", "pod: Evicted", [False]),
        ("split_1", "code:9,lost:9,memory:9", "pod: ErrImagePull", [False]),
    ],
)
def test_a_steps_own_numbers_replace_those_of_the_run_and_the_queue(step, own, reason, answers):
    told = {"runtimes": [{"pod_lost_retries": "3"}] * 5} if own == "lost:0" else {}
    assert attempts([reason] * len(answers), step=step, step_retries={"split_1": own}, **told)[0] == answers


def test_a_step_that_is_not_a_shard_is_run_again_after_its_own_error_only_with_a_number_of_its_own():
    assert attempts(["pod: Error"], step="split")[0] == [False]
    answers, server = attempts(["pod: Error"] * 2, step="split", step_retries={"split": "code:1"})
    assert (answers, json.loads(server.properties["earlier_attempts"])) == (
        [True, False],
        ["pod: Error; pod ended: pod: Error"],
    )


KILLED = "worker execution exit code -9"


def out_of(memory: str, **more: str) -> dict[str, str]:
    return {"pod": "pod x ended: OOMKilled, exit code 137", "pod_memory": memory, **more}


def test_what_ran_out_of_memory_is_run_again_with_twice_as_much():
    answers, server = attempts([KILLED] * 3, runtimes=[out_of("1500M"), out_of("2861Mi"), out_of("5722Mi")])
    assert answers == [True, True, False]
    first, second = json.loads(server.properties["earlier_attempts"])
    assert KILLED in first and "OOMKilled, exit code 137" in first and "memory limit 1500M, then 2861Mi" in first
    assert "memory limit 2861Mi, then 5722Mi" in second
    assert server.record["container"] == {
        "image": "i:1",
        "arguments": "-e 'A=b c' --memory=5722m --memory-reservation=2861m",
    }


@pytest.mark.parametrize(
    ("runtime", "options", "again", "limit"),
    [
        (out_of("4Gi"), {"memory_retries": 0}, False, ""),
        (out_of("4Gi"), {"memory_cap": "6Gi"}, True, "6144m"),
        (out_of("4Gi", pod_memory_cap="5Gi"), {"memory_cap": "6Gi"}, True, "5120m"),
        (out_of("4Gi"), {"memory_cap": "6Gi", "step_retries": {"split": "memory-cap:5Gi"}}, True, "5120m"),
        (out_of("4Gi"), {"step_retries": {"split": "memory:0"}}, False, ""),
        (out_of("4Gi"), {"memory_retries": 0, "step_retries": {"split": "memory:1"}}, True, "8192m"),
        (out_of("4Gi", pod_memory_cap="5Gi"), {"step_retries": {"split": "memory-cap:6Gi"}}, True, "5120m"),
        (out_of("4Gi"), {"memory_cap": "4Gi"}, False, ""),
        (out_of("4Gi", pod_memory_cap="2Gi"), {}, False, ""),
        ({"pod": "pod x ended: OOMKilled, exit code 137"}, {"own_retries": 0}, False, ""),
    ],
)
def test_memory_is_raised_up_to_the_lower_cap_and_only_where_there_was_a_limit(runtime, options, again, limit):
    answers, server = attempts([KILLED], runtimes=[runtime], **options)
    assert answers == [again]
    arguments = server.record["container"]["arguments"]
    assert f"--memory={limit} " in arguments if limit else arguments == "-e 'A=b c' -m 1g"
