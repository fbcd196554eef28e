"""A release beside another of a similar name, on one server: neither sees or stops what is the other's."""

from __future__ import annotations

import re

import pytest

from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GPU, GPU_QUEUE = "clearml-agent-gpu", "fake-gpu"
GPU_WORDS = ("--release", GPU, "--set", f"agentk8sglue.queue={GPU_QUEUE}")


@pytest.fixture
def beside(installed):
    """Two releases with a running task each."""
    installed("install", "--no-canary", *GPU_WORDS)
    yield installed
    remove_queue(installed)


def remove_queue(deploy):
    for queue in deploy.api("queues.get_all")["queues"]:
        if queue["name"] == GPU_QUEUE:
            deploy.api("queues.delete", queue=queue["id"], force=True)


def objects(deploy, mark):
    kinds = ("pods", "deployments", "roles", "rolebindings", "secrets", "configmaps", "serviceaccounts", "leases")
    listed = [item["metadata"]["name"] for kind in kinds for item in deploy.cluster.store.select(kind, NAMESPACE)]
    return sorted(name for name in listed if mark in name)


def worker_ids(deploy):
    return {worker["id"] for worker in deploy.api("workers.get_all")["workers"]}


def test_an_uninstall_leaves_the_other_release_its_pods_and_its_tasks(beside):
    own, other = beside.enqueue(tags=HELD), beside.enqueue(queue=GPU_QUEUE, tags=HELD)
    before = objects(beside, GPU)
    said = beside("uninstall", "--yes")
    assert f"tasks that still run are stopped: clearml-id-{own}" in said
    assert (beside.task(own)["status"], beside.task(other)["status"]) == ("stopped", "in_progress")
    assert objects(beside, GPU) == before
    assert objects(beside, "clearml-id-") == [f"clearml-id-{other}"]
    assert [name for name in objects(beside, "clearml-agent") if GPU not in name] == []
    assert (GPU in worker_ids(beside), "clearml-agent" in worker_ids(beside)) == (True, False)
    assert beside.json("check", *GPU_WORDS)["ok"]


def test_a_pod_that_an_older_agent_started_is_known_by_its_worker(beside):
    own, other = beside.enqueue(tags=HELD), beside.enqueue(queue=GPU_QUEUE, tags=HELD)
    for task in (own, other):
        label = {"metadata": {"labels": {"clearml-pods/release": None}}}
        beside.cluster.change("pods", NAMESPACE, f"clearml-id-{task}", label)
    beside("uninstall", "--yes")
    assert (beside.task(own)["status"], beside.task(other)["status"]) == ("stopped", "in_progress")


def test_a_task_pod_of_somebody_else_is_left_alone(installed):
    task = installed.api("tasks.create", name="theirs", type="testing")["id"]
    installed.api("tasks.started", task=task, force=True)
    container = {"name": "main", "image": "any", "command": ["sleep", "1"]}
    body = {"metadata": {"name": f"clearml-id-{task}"}, "spec": {"containers": [container]}}
    installed.cluster.store.create("pods", NAMESPACE, body)
    assert installed.json("status")["task_pods"] == []
    installed("uninstall", "--yes")
    assert installed.task(task)["status"] == "in_progress"
    assert installed.cluster.store.find("pods", NAMESPACE, f"clearml-id-{task}")


def test_status_and_doctor_speak_of_the_release_alone(beside):
    own, other = beside.enqueue(tags=HELD), beside.enqueue(queue=GPU_QUEUE, tags=HELD)
    for words, task in (((), own), (("--release", GPU), other)):
        assert [pod["name"] for pod in beside.json("status", *words)["task_pods"]] == [f"clearml-id-{task}"]
    results = beside.results("doctor")
    assert results["task-pods"]["evidence"].startswith("1 task pods")
    assert (results["alone"]["result"], results["lost-tasks"]["result"]) == ("ok", "ok")


def test_an_agent_of_a_similar_name_on_the_same_queue_is_seen(beside):
    beside("install", "--no-canary", "--release", GPU)
    found = beside.results("doctor")["alone"]
    assert (found["result"], GPU in found["evidence"]) == ("warn", True)


def test_a_task_that_another_agent_took_is_not_lost_here(beside):
    beside.cluster.faults.agent_takes_nothing = True
    task = beside.enqueue(queue=GPU_QUEUE)
    queue = beside.api("queues.create", name="k8s_scheduler")["id"]
    line = f"task {task} pulled from x by worker {GPU}"
    beside.api("events.add", type="log", task=task, worker=GPU, timestamp=1, msg=line)
    beside.api("tasks.enqueue", task=task, queue=queue)
    assert beside.results("doctor")["lost-tasks"]["result"] == "ok"
    found = beside.results("doctor", "--task", task)["task-pod"]
    assert (found["result"], GPU in found["evidence"]) == ("ok", True)
    assert beside.results("doctor", *GPU_WORDS)["lost-tasks"]["result"] == "warn"


def test_the_other_releases_pods_take_no_slot_of_this_one(beside):
    beside.enqueue(queue=GPU_QUEUE, tags=HELD)
    task = beside.enqueue(tags=HELD)
    assert beside.results("doctor", "--task", task)["task-slot"]["evidence"].startswith("1 task pods")


def test_queue_and_namespace_stay_while_others_use_them(beside):
    beside("install", "--no-canary", "--release", GPU)  # on the same queue
    said = beside("uninstall", "--yes", "--delete-queue", "--delete-namespace")
    assert f"queue {QUEUE} stays: {GPU} takes tasks from it" in said
    assert f"namespace {NAMESPACE} stays" in said and GPU in said
    assert beside.cluster.store.find("namespaces", "", NAMESPACE)["status"]["phase"] == "Active"
    said = beside("uninstall", "--yes", "--delete-queue", "--delete-namespace", "--release", GPU)
    assert beside.cluster.store.find("namespaces", "", NAMESPACE) is None


def test_a_volume_claim_keeps_the_namespace(installed):
    installed.cluster.store.create("persistentvolumeclaims", NAMESPACE, {"metadata": {"name": "datasets"}})
    assert "persistentvolumeclaim/datasets" in installed("uninstall", "--yes", "--delete-namespace")
    assert installed.cluster.store.find("namespaces", "", NAMESPACE)["status"]["phase"] == "Active"


def test_without_a_terminal_an_uninstall_wants_yes(installed):
    before = objects(installed, "")
    said = installed("uninstall", code=4)
    assert "Error: release clearml-agent in namespace clearml is not removed: no terminal to confirm on" in said
    assert "Hint: add --yes" in said
    assert objects(installed, "") == before


ELSEWHERE = "elsewhere"
STOCK = ("--set", "agentk8sglue.image.repository=library/clearml-agent-k8s-base")
OTHER_MEMORY = ("--set", "agentk8sglue.resources.limits.memory=600Mi")


def test_an_agent_of_the_same_name_in_another_namespace_gets_a_name_of_its_own(installed):
    there = ("--namespace", ELSEWHERE, "--set", f"agentk8sglue.queue={GPU_QUEUE}")
    own = f"clearml-agent.{ELSEWHERE}"
    said = installed("install", *there)
    assert f"worker {own} is registered" in said and "canary task went through" in said
    assert worker_ids(installed) == {"clearml-agent", own}
    for words, worker in (((), "clearml-agent"), (there, own)):
        assert installed.results("doctor", *words)["serves"]["result"] == "ok"
        assert installed.json("status", *words[:2])["worker"]["id"] == worker
    # Each keeps its name, whoever else is there by then.
    assert installed.json("install", "--no-canary", *there)["result"] == "unchanged"
    assert installed.json("install", "--no-canary")["result"] == "unchanged"
    installed("uninstall", "--yes")
    assert worker_ids(installed) == {own}
    assert installed.json("install", "--no-canary", *there, *OTHER_MEMORY)["worker"] == own
    assert installed.json("install", "--no-canary")["worker"] == "clearml-agent"
    installed("uninstall", "--yes", "--delete-queue", *there)
    assert worker_ids(installed) == {"clearml-agent"}


def test_one_in_another_namespace_that_serves_the_same_queue_is_seen(installed):
    said = installed("install", "--no-canary", "--namespace", ELSEWHERE)
    assert "also served by clearml-agent: tasks may go there instead" in said
    found = installed.results("doctor")["alone"]
    assert (found["result"], f"clearml-agent.{ELSEWHERE}" in found["evidence"]) == ("warn", True)


def test_a_namespace_of_the_same_name_in_another_cluster_is_told_apart_too(installed):
    installed.api("workers.register", worker=f"clearml-agent.{ELSEWHERE}", queues=[])
    worker = installed.json("install", "--no-canary", "--namespace", ELSEWHERE)["worker"]
    assert re.fullmatch(rf"clearml-agent\.{ELSEWHERE}\.[0-9a-f]{{6}}", worker)
    assert worker in worker_ids(installed)


def test_an_agent_image_that_cannot_have_another_name_is_refused_before_anything_is_changed(installed):
    said = installed("install", "--no-canary", "--namespace", ELSEWHERE, *STOCK, code=43)
    assert "worker clearml-agent is on http" in said and f"already and serves {QUEUE}" in said
    assert "--release NAME" in said
    assert installed.cluster.store.find("namespaces", "", ELSEWHERE) is None
    installed("install", "--no-canary", "--namespace", ELSEWHERE, *STOCK, "--release", GPU)


def test_doctor_names_the_cause_where_two_installs_of_earlier_versions_share_a_worker(installed):
    other = installed.api("queues.create", name=GPU_QUEUE)["id"]
    installed.cluster.faults.same_name_serves = other
    found = installed.results("doctor", code=43)["serves"]
    assert f"worker serves {GPU_QUEUE}, not {QUEUE}: the agent here works" in found["evidence"]
    assert "another one called clearml-agent" in found["evidence"] and "undeploy-agent" in found["fix"]
    remove_queue(installed)


def test_a_first_install_that_is_undone_leaves_no_worker(deploy):
    deploy.cluster.faults.task_exit_code = 3
    deploy("install", code=44)
    assert worker_ids(deploy) == set()
