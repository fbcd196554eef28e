"""The agent's glue as its image runs it, on a live server and a fake cluster: none is lost, each end has its reason."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.glue_process import Glue, script_of, until

NAMED = "agent.of-a-namespace"

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, clearml_server: ClearmlServer) -> Iterator[Glue]:
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        glue = Glue(tmp_path_factory.mktemp("glue"), clearml_server, client)
        glue.start()
        yield glue
        glue.close()


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory, clearml_server: ClearmlServer) -> Iterator[Glue]:
    """An agent whose tasks may wait for their pods for a second, and have no more than 2 GiB; it has its own name."""
    env = {"CLEARML_PODS_WORKER": NAMED, "CLEARML_PODS_MAX_PENDING_MINUTES": "0.02", "CLEARML_PODS_MEMORY_CAP": "2Gi"}
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        glue = Glue(tmp_path_factory.mktemp("hurried"), clearml_server, client, **env)
        glue.start()
        yield glue
        print(glue.log())
        glue.close()


@pytest.fixture
def glue(agent: Glue) -> Iterator[Glue]:
    """An agent with no task in hand and a cluster that takes all."""
    agent.begin()
    yield agent
    print(agent.log())
    agent.cluster.clear()


# -- a task becomes a pod


def test_docker_arguments_become_fields_of_the_pod_also_without_an_image(glue, api):
    task = glue.task(
        arguments="-e A=1 --env=B=2 -e CLEARML_AGENT_GIT_PASS= --shm-size 1g -v data:/data:ro -v /etc:/host "
        "--network host",
        setup_shell_script="echo 'grüß'",
    )
    pod = glue.pod(task)
    container = pod["spec"]["containers"][0]
    env = {entry["name"]: entry.get("value") or entry.get("valueFrom") for entry in container["env"]}
    assert (env["A"], env["B"]) == ("1", "2")
    assert env["CLEARML_AGENT_GIT_PASS"] == {"secretKeyRef": {"name": "git", "key": "pass"}}
    assert container["image"] == "the-default:1"
    assert container["name"] == f"clearml-id-{task}"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}} in pod["spec"]["volumes"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts == {
        "/dev/shm": {"name": "shm", "mountPath": "/dev/shm"},
        "/data": {"name": "data", "mountPath": "/data", "readOnly": True},
    }
    dropped = [line for line in glue.console(task) if "no effect" in line]
    assert len(dropped) == 1
    assert "--network host" in dropped[0]
    assert "/etc:/host" in dropped[0]
    assert base64.b64encode("echo 'grüß'".encode()).decode() in script_of(pod)
    assert glue.record(task)["container"]["setup_shell_script"] == "echo 'grüß'"
    assert "--network host" in glue.record(task)["container"]["arguments"]


OVER_QUOTA = (
    *(403, "Forbidden"),
    'pods "x" is forbidden: exceeded quota: small, requested: limits.memory=8Gi, '
    "used: limits.memory=0, limited: limits.memory=4Gi",
)
POD_SECURITY = (403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "restricted"')
INVALID = (422, "Invalid", 'Pod "x" is invalid: spec.containers[0].image: Invalid value')
UNKNOWN_FIELD = (400, "BadRequest", 'Pod in version "v1" cannot be handled: strict decoding error: unknown field "x"')
TOO_LARGE = (500, "", "etcdserver: request is too large")
"""A pod with more than 1.5 MB of arguments."""
NO_NAMESPACE = (404, "NotFound", 'namespaces "clearml" not found')


@pytest.mark.parametrize(
    ("container", "refusal", "reason"),
    [
        ({"arguments": "-e"}, None, "-e lacks its value"),
        ({"arguments": '-e "A=1'}, None, "cannot be read"),
        ({"image": "x:1"}, OVER_QUOTA, "more than quota small allows in all: limits.memory=8Gi of 4Gi"),
        ({"image": "x:1"}, POD_SECURITY, "violates PodSecurity"),
        ({"image": "x:1"}, INVALID, "Invalid value"),
        ({"image": "x:1"}, UNKNOWN_FIELD, "unknown field"),
        ({"image": "x:1"}, TOO_LARGE, "request is too large"),
        ({"image": "x:1"}, NO_NAMESPACE, 'namespaces "clearml" not found'),
    ],
)
def test_what_cannot_start_fails_with_its_reason_and_the_next_task_starts(glue, container, refusal, reason):
    if refusal:
        glue.cluster.refuse("create", refusal)
    assert reason in glue.failed(glue.task(**container))
    if refusal:
        glue.cluster.accept("create")
    glue.pod(glue.task())


QUOTA = (403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2')
RACE = (409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified')
"""Several pods at once are counted against a quota."""
STARTING = (403, "Forbidden", 'pods is forbidden: User "a" cannot create resource "pods" in API group ""')
"""Of an API server that has just started."""
NO_TOKEN = (401, "Unauthorized", "Unauthorized")
OVERLOADED = (429, "TooManyRequests", "the server has received too many requests and has asked us to try again later")


@pytest.mark.parametrize("refusal", [QUOTA, RACE, STARTING, NO_TOKEN, OVERLOADED, None])
def test_a_task_waits_where_it_is_not_its_fault(glue, refusal):
    glue.cluster.refuse("create", refusal)
    first, second = glue.task(), glue.task()
    until("the agent has tried", lambda: "Kubernetes scheduling task" in glue.log())
    if refusal == QUOTA:
        until("it says so", lambda: any("exceeded quota" in line for line in glue.console(first)))
        until("it has tried again", lambda: glue.log().count("exceeded quota") > 1)
        assert sum("exceeded quota" in line for line in glue.console(first)) == 1
        assert glue.console(second) == []
    assert glue.status(first) == "queued"
    glue.cluster.accept("create")
    glue.pod(first)
    glue.pod(second)
    assert glue.status(first) == "queued"


def test_a_warning_of_the_api_server_is_a_warning(glue):
    (glue.cluster.folder / "warning").write_text("would violate PodSecurity")
    task = glue.task()
    glue.pod(task)
    until("it is told", lambda: any("Warning: would violate" in line for line in glue.console(task)))
    assert glue.status(task) == "queued"


def test_a_task_that_is_enqueued_again_waits_for_the_pod_of_its_last_run(glue, api):
    task = glue.task()
    first = glue.pod(task)
    glue.run(task)
    (glue.cluster.folder / "slow-end").touch()
    api("tasks.stop", task=task, force=True)
    api("tasks.reset", task=task, force=True)
    glue.enqueue(task)
    until("the old pod is to end", lambda: (glue.cluster.pod(task) or {})["metadata"].get("deletionTimestamp"))
    until("the task is taken", lambda: glue.log().count(f"Received task {task}") == 2)
    glue.cluster.remove(task)
    second = glue.pod(task)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert glue.status(task) == "queued"
    glue.run(task)
    api("tasks.completed", task=task, force=True)


def test_a_pod_whose_creation_got_no_answer_is_made_once(glue):
    (glue.cluster.folder / "unanswered").touch()
    task = glue.task()
    made = glue.pod(task)
    (glue.cluster.folder / "unanswered").unlink()
    until("the agent knows it", lambda: f"pod clearml-id-{task} is made" in glue.log())
    assert glue.pod(task)["metadata"]["uid"] == made["metadata"]["uid"]
    assert glue.status(task) == "queued"


# -- what becomes of the pod


def waiting(reason: str, message: str = "") -> list[dict[str, Any]]:
    state = {"waiting": {"reason": reason, "message": message}}
    return [{"name": "main", "image": "none:1", "state": state}]


def ended(code: int, reason: str = "Completed", message: str = "") -> list[dict[str, Any]]:
    return [{"name": "main", "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}]


def test_an_image_name_that_is_none_fails_at_once(glue):
    task = glue.task()
    glue.pod(task)
    glue.cluster.set_status(task, containerStatuses=waiting("InvalidImageName", "bad reference"))
    said = glue.failed(task)
    assert "InvalidImageName" in said
    assert "none:1" in said
    until("its pod is gone", lambda: glue.cluster.pod(task) is None)
    assert "InvalidImageName" in glue.record(task)["runtime"]["pod"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Failed", "containerStatuses": ended(1, "Error", "bash: line 1: no python3")}, "no python3"),
        ({"phase": "Succeeded", "containerStatuses": ended(0)}, "never started; its last lines: from the log"),
        ({"phase": "Failed", "containerStatuses": ended(137, "OOMKilled")}, "OOMKilled, exit code 137"),
        ({"phase": "Succeeded", "containerStatuses": ended(0, "OOMKilled")}, "OOMKilled, exit code 137"),
        ({"phase": "Failed", "reason": "Evicted", "message": "node was low on memory"}, "low on memory"),
    ],
)
def test_a_pod_that_ends_before_its_task_is_its_failure(glue, status, reason):
    (glue.cluster.folder / "log").write_text("from the log")
    task = glue.task()
    glue.pod(task)
    glue.cluster.set_status(task, **status)
    assert reason in glue.failed(task)
    until("its pod is gone", lambda: glue.cluster.pod(task) is None)


def test_a_pod_that_vanishes_while_nobody_watches_is_its_tasks_failure(glue):
    task = glue.task()
    glue.pod(task)
    glue.run(task)
    until("it has been made", lambda: "is made" in glue.log())
    glue.cluster.refuse("watch")
    time.sleep(0.2)  # the fake looks at its folder every 0.02 s
    glue.cluster.remove(task)
    assert "Deleted" in glue.failed(task)


def test_a_task_that_runs_is_left_alone_where_the_api_server_shows_its_pod_as_pending(glue, api):
    task = glue.task()
    glue.pod(task)
    glue.run(task)
    glue.cluster.set_status(task, phase="Pending", containerStatuses=waiting("ContainerCreating"))
    other = glue.task()
    glue.pod(other)
    glue.cluster.set_status(other, containerStatuses=waiting("ErrImageNeverPull"))
    glue.failed(other)  # by then the first one has been looked at too
    assert glue.status(task) == "in_progress"
    assert glue.cluster.pod(task)
    api("tasks.completed", task=task, force=True)


def test_the_pod_of_an_aborted_task_is_deleted_and_nothing_else_is_said(glue, api):
    task = glue.task()
    glue.pod(task)
    glue.run(task)
    api("tasks.stop", task=task, force=True, status_reason="by hand")
    until("its pod is gone", lambda: glue.cluster.pod(task) is None)
    assert glue.status(task) == "stopped"
    assert "pod" not in glue.record(task)["runtime"]


def test_phases_are_on_the_record_and_a_pod_that_ended_well_is_removed(glue, api):
    task = glue.task()
    glue.pod(task)
    glue.run(task)
    api("tasks.completed", task=task, force=True)
    glue.cluster.set_status(
        task,
        phase="Succeeded",
        conditions=[{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2099-01-01T00:00:00Z"}],
        containerStatuses=ended(0),
    )
    until("its pod is gone", lambda: glue.cluster.pod(task) is None)
    assert glue.record(task)["runtime"]["pod_phases"].startswith("schedule ")
    assert glue.status(task) == "completed"


# -- several queues, and a limit of pods


def test_one_agent_serves_several_queues_in_their_order_and_keeps_to_its_limit_of_pods(
    tmp_path: Path, clearml_server: ClearmlServer, api: ApiClient
) -> None:
    second = f"glue second {uuid4().hex[:8]}"
    other = str(api("queues.create", name=second)["id"])
    glue = Glue(tmp_path, clearml_server, api, "--max-pods", "2", also=second)
    last = str(api("tasks.create", name="last", type="testing", script={"diff": "pass"})["id"])
    api("tasks.enqueue", task=last, queue=other)
    first, next_one = glue.task(), glue.task()
    with closing(glue):
        glue.start()
        glue.pod(first)
        glue.pod(next_one)
        until("it keeps to its limit", lambda: "Maximum pod limit reached 2/2" in glue.log())
        assert glue.cluster.pod(last) is None
        assert glue.status(last) == "queued"
        glue.run(first)
        api("tasks.completed", task=first, force=True)
        glue.cluster.set_status(first, phase="Succeeded", containerStatuses=ended(0))
        glue.pod(last)
    print(glue.log())


def test_memory_that_ran_out_is_on_the_record_until_the_task_starts_again(glue):
    task = glue.task(arguments="--memory 512m")
    container = glue.pod(task)["spec"]["containers"][0]
    assert container["resources"] == {"limits": {"memory": "512Mi"}}
    glue.cluster.set_status(task, phase="Failed", containerStatuses=ended(137, "OOMKilled"))
    assert "OOMKilled, exit code 137 (memory limit 512Mi)" in glue.failed(task)
    assert glue.record(task)["runtime"]["pod_memory"] == "512Mi"
    until("its pod is gone", lambda: glue.cluster.pod(task) is None)
    glue.enqueue(task)
    glue.pod(task)
    assert glue.record(task)["runtime"].keys() == {"pod_agent"}


# -- for how long a task waits


def test_a_pod_that_does_not_start_in_time_fails_its_task_in_the_schedulers_words(hurried):
    nodes = "0/1 nodes are available: 1 Insufficient memory."
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": nodes}
    (hurried.cluster.folder / "status").write_text(json.dumps({"conditions": [unscheduled]}))
    task = hurried.task(arguments="--memory=1g")
    said = hurried.failed(task)
    assert said.startswith("pod: Unschedulable; ") and nodes in said
    assert "did not start within 0.02 min (CLEARML_PODS_MAX_PENDING_MINUTES)" in said
    until("its pod is gone", lambda: hurried.cluster.pod(task) is None)
    assert hurried.record(task)["runtime"]["pod_memory_cap"] == "2Gi"


def test_an_agent_is_called_as_its_values_say(hurried, api):
    until("it is known", lambda: NAMED in {worker["id"] for worker in api("workers.get_all")["workers"]})


def test_a_quota_that_stays_full_fails_the_first_task_in_its_own_words(hurried):
    hurried.cluster.refuse("create", QUOTA)
    said = hurried.failed(hurried.task())
    hurried.cluster.accept("create")
    assert "its pod was not made within 0.02 min" in said and "exceeded quota: q" in said


def test_a_task_that_asks_for_more_memory_than_its_queue_allows_fails(hurried):
    assert "3Gi of memory is more than the 2Gi that the queue allows" in hurried.failed(hurried.task(arguments="-m 3g"))


# -- agents that die


@pytest.mark.thorough
def test_a_task_that_its_agent_took_and_did_not_start_is_started_by_the_next(glue):
    glue.cluster.refuse("create")
    task = glue.task()
    until("it is in hand", lambda: "Kubernetes scheduling task" in glue.log())
    glue.kill()
    glue.cluster.accept("create")
    glue.start()
    glue.pod(task)
    assert glue.status(task) == "queued"


@pytest.mark.thorough
def test_a_task_whose_pod_went_while_no_agent_was_there_fails(glue, api):
    """Also one that the server has given up meanwhile: its record says why nobody heard of it."""
    task, given_up = glue.task(), glue.task()
    for one in (task, given_up):
        glue.pod(one)
        glue.run(one)
    glue.kill()
    glue.cluster.remove(task)
    glue.cluster.remove(given_up)
    words = {"status_reason": "Forced stop (non-responsive)", "status_message": "No sign of life"}
    api("tasks.failed", task=given_up, force=True, **words)
    glue.start()
    assert "is gone" in glue.failed(task)
    until("it is explained", lambda: "is gone" in (glue.record(given_up)["runtime"].get("pod") or ""))
    assert glue.record(given_up)["status_message"] == "No sign of life"
    assert sum("is gone" in line for line in glue.console(given_up)) == 1


@pytest.mark.thorough
def test_a_task_of_an_agent_of_the_same_name_elsewhere_is_left_alone(glue, api):
    """In another namespace or cluster, on the same server: its pods are not seen from here."""
    task = str(api("tasks.create", name="elsewhere", type="testing")["id"])
    api("tasks.edit", task=task, runtime={"pod_agent": "glue/elsewhere/1"}, force=True)
    api("tasks.started", task=task, force=True)
    lost = glue.task()
    glue.pod(lost)
    glue.run(lost)
    glue.kill()
    glue.cluster.remove(lost)
    glue.start()
    glue.failed(lost)
    assert glue.status(task) == "in_progress"
    api("tasks.completed", task=task, force=True)
