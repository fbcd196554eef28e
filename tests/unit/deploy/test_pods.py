"""Pod verdicts: shapes as a real cluster (v1.34.2, containerd 1.6) served them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.kubernetes.pods import CAUSES, State, classify_pod, post_mortem, task_id

NOW = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
SOON, LONG_AGO = "2026-11-23T07:29:50Z", "2026-11-23T07:20:00Z"


def pod(phase: str = "Pending", *, name: str = "agent-1", meta: dict[str, Any] | None = None, **status: Any) -> Any:
    metadata = {"name": name, "namespace": "clearml", **(meta or {})}
    return {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": {"phase": phase, **status}}


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "img:1", "ready": False, "restartCount": 0, "state": state, **more}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}}, **more)


def ended(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return container({"terminated": {"exitCode": code, "reason": reason, "finishedAt": SOON}}, **more)


READY = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu."}
]
OOM = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
CRASH = {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}

CASES = [
    ("ready", pod("Running", conditions=READY, containerStatuses=[container({"running": {}})]), State.READY, ""),
    ("done", pod("Succeeded", containerStatuses=[ended(0, "Completed")]), State.DONE, "Completed"),
    ("creating", pod(containerStatuses=[waiting("ContainerCreating")]), State.WAITING, "ContainerCreating"),
    ("no status yet", pod(), State.WAITING, "NotReady"),
    ("pull", pod(containerStatuses=[waiting("ImagePullBackOff", "no such host")]), State.FAILED, "ImagePullBackOff"),
    ("first pull", pod(containerStatuses=[waiting("ErrImagePull")]), State.FAILED, "ErrImagePull"),
    ("bad name", pod(containerStatuses=[waiting("InvalidImageName")]), State.FAILED, "InvalidImageName"),
    (
        "no secret",
        pod(containerStatuses=[waiting("CreateContainerConfigError", 'secret "x" not found')]),
        State.FAILED,
        "CreateContainerConfigError",
    ),
    (
        "crash",
        pod("Running", containerStatuses=[waiting("CrashLoopBackOff", **CRASH)]),
        State.FAILED,
        "CrashLoopBackOff",
    ),
    ("oom behind", pod("Running", containerStatuses=[waiting("CrashLoopBackOff", **OOM)]), State.FAILED, "OOMKilled"),
    (
        "oom between two restarts",
        pod("Running", containerStatuses=[container({"running": {}}, **(OOM | {"restartCount": 2}))]),
        State.FAILED,
        "OOMKilled",
    ),
    (
        "one restart is not a failure yet",
        pod("Running", containerStatuses=[container({"running": {}}, **(CRASH | {"restartCount": 1}))]),
        State.WAITING,
        "NotReady",
    ),
    ("unschedulable", pod(conditions=UNSCHEDULABLE), State.FAILED, "Unschedulable"),
    ("evicted", pod("Failed", reason="Evicted", message="low on memory"), State.FAILED, "Evicted"),
    ("node lost", pod("Running", reason="NodeLost"), State.FAILED, "NodeLost"),
    ("error", pod("Failed", containerStatuses=[ended(3)]), State.FAILED, "Error"),
    ("oom", pod("Failed", containerStatuses=[ended(137, "OOMKilled")]), State.FAILED, "OOMKilled"),
    ("oom behind exit 0", pod("Succeeded", containerStatuses=[ended(0, "OOMKilled")]), State.FAILED, "OOMKilled"),
    ("start", pod("Failed", containerStatuses=[ended(128, "StartError")]), State.FAILED, "StartError"),
    ("cannot run", pod("Failed", containerStatuses=[ended(127, "ContainerCannotRun")]), State.FAILED, "StartError"),
    (
        "init runs",
        pod(initContainerStatuses=[container({"running": {"startedAt": SOON}})]),
        State.WAITING,
        "InitContainer",
    ),
    (
        "init hangs",
        pod(initContainerStatuses=[container({"running": {"startedAt": LONG_AGO}})]),
        State.FAILED,
        "InitStuck",
    ),
    ("init pull", pod(initContainerStatuses=[waiting("ImagePullBackOff")]), State.FAILED, "ImagePullBackOff"),
    ("going", pod("Running", meta={"deletionTimestamp": SOON}, conditions=READY), State.WAITING, "Terminating"),
]


@pytest.mark.parametrize(("given", "state", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_pod_is_classified(given, state, reason):
    verdict = classify_pod(given, NOW)
    assert (verdict.state, verdict.reason) == (state, reason)


def test_at_least_ten_causes_are_known_and_each_has_a_command():
    assert len(CAUSES) >= 10
    for cause in CAUSES.values():
        assert cause.hint


@pytest.mark.parametrize("case", [case for case in CASES if case[2] == State.FAILED], ids=lambda case: case[0])
def test_a_failure_has_a_hint_without_gaps(case):
    hint = classify_pod(case[1], NOW).hint(case[1])
    assert hint
    assert "{" not in hint


@pytest.mark.parametrize(
    ("message", "words", "other"),
    [
        ("0/1 nodes are available: 1 node(s) had untolerated taint(s).", "agentk8sglue.tolerations", "free room"),
        ("1 node(s) had untolerated taint {dedicated: agents}", "basePodTemplate.tolerations", "free room"),
        ("1 node(s) didn't match Pod's node affinity/selector.", "nodeSelector", "free room"),
        ("1 node(s) were unschedulable.", "kubectl uncordon", "free room"),
        ("1 Insufficient cpu.", "free room", "tolerations"),
        ("1 Insufficient memory, 1 node(s) had untolerated taint(s).", "free room", "nodeSelector"),
        ("", "free room", "tolerations"),
    ],
)
def test_what_to_do_where_no_node_takes_a_pod_follows_from_the_schedulers_words(message, words, other):
    given = pod(conditions=[{"type": "PodScheduled", "status": "False", "message": message}])
    hint = classify_pod(given, NOW).hint(given)
    assert words in hint
    assert other not in hint


@pytest.mark.parametrize(
    ("given", "deleted", "reason", "code"),
    [
        (pod("Succeeded", containerStatuses=[ended(0, "Completed")]), False, None, None),
        (pod("Succeeded", containerStatuses=[ended(0, "Completed")]), True, None, None),
        (pod("Running", conditions=READY, containerStatuses=[container({"running": {}})]), False, None, None),
        (pod("Running", conditions=READY, containerStatuses=[container({"running": {}})]), True, "Deleted", None),
        (pod("Failed", meta={"deletionTimestamp": SOON}, containerStatuses=[ended(137)]), False, "Deleted", 137),
        (pod("Failed", containerStatuses=[ended(137, "OOMKilled")]), True, "OOMKilled", 137),
        (pod("Succeeded", containerStatuses=[ended(0, "OOMKilled")]), False, "OOMKilled", 137),
        (pod("Failed", containerStatuses=[ended(3)]), False, "Error", 3),
        (pod("Failed", reason="Evicted", message="The node was low on resource"), False, "Evicted", None),
        (pod(containerStatuses=[waiting("ImagePullBackOff")]), False, None, None),  # may still be mended
        (pod(containerStatuses=[waiting("ImagePullBackOff")]), True, "ImagePullBackOff", None),
    ],
)
def test_a_dead_pods_reason(given, deleted, reason, code):
    found = post_mortem(given, NOW, deleted=deleted)
    assert (found.reason, found.exit_code) == (reason, code) if found else reason is None


def test_a_post_mortem_reads_as_one_line():
    found = post_mortem(pod("Failed", name="clearml-id-1", containerStatuses=[ended(3)]), NOW)
    assert found is not None
    assert found.text().startswith("pod clearml-id-1 on node node-1 ended: Error, exit code 3")
    assert found.as_json()["image"] == "img:1"
    assert replace(found, message="first\n\n  second \n").text().endswith("exit code 3 (first | second)")


@pytest.mark.parametrize(("name", "task"), [("clearml-id-abc", "abc"), ("clearml-agent-1", None)])
def test_a_task_pod_is_known_by_its_name(name, task):
    assert task_id(pod(name=name)) == task
