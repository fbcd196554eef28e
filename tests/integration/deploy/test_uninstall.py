"""`uninstall`: what it says before, what it removes, what it leaves."""

from __future__ import annotations

import pytest

from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE

pytestmark = pytest.mark.integration


def left(deploy):
    kinds = ("pods", "deployments", "leases", "roles", "rolebindings", "secrets", "configmaps", "serviceaccounts")
    return [item["metadata"]["name"] for kind in kinds for item in deploy.cluster.store.select(kind, NAMESPACE)]


def workers(deploy):
    return [worker["id"] for worker in deploy.api("workers.get_all")["workers"]]


def queues(deploy):
    return [queue["name"] for queue in deploy.api("queues.get_all")["queues"]]


def test_an_uninstall_leaves_nothing_but_the_queue_and_the_namespace(installed):
    removed = installed.json("uninstall", "--yes")["removed"]
    assert {"release clearml-agent", "Secret clearml-agent-keys", "worker clearml-agent"} <= set(removed)
    assert left(installed) == [] and "clearml-agent" not in workers(installed)
    assert QUEUE in queues(installed)
    assert installed.cluster.store.find("namespaces", "", NAMESPACE)
    assert "there is no release clearml-agent" in installed("uninstall", "--yes")


def test_queue_and_namespace_go_when_asked_for(installed):
    removed = installed.json("uninstall", "--yes", "--delete-queue", "--delete-namespace")["removed"]
    assert {f"queue {QUEUE}", f"namespace {NAMESPACE}"} <= set(removed)
    assert installed.cluster.store.find("namespaces", "", NAMESPACE) is None
    assert QUEUE not in queues(installed)


def test_a_worker_that_is_dead_keeps_no_queue(installed):
    queue = installed.api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"]
    installed.api("workers.register", worker="gone:0", queues=[queue])
    installed.cluster.faults.agent_silent = True
    installed.clock.ahead_s = 80
    assert f"queue {QUEUE}" in installed.json("uninstall", "--yes", "--delete-queue")["removed"]


def test_a_namespace_of_somebody_else_stays(installed):
    installed.cluster.change(
        "namespaces", "", NAMESPACE, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    )
    installed("uninstall", "--yes", "--delete-namespace")
    assert installed.cluster.store.find("namespaces", "", NAMESPACE)


def test_a_namespace_that_does_not_end_is_named_at_the_deadline(installed):
    installed.cluster.faults.namespace_hangs = True
    assert "is still ending after" in installed("uninstall", "--yes", "--delete-namespace", code=35)


def test_running_tasks_are_named_stopped_and_removed(installed):
    task = installed.enqueue(tags=HELD)
    said = installed("uninstall", "--yes")
    assert f"tasks that still run are stopped: clearml-id-{task}" in said
    assert installed.task(task)["status"] == "stopped"
    assert left(installed) == []


def test_a_dry_run_removes_nothing(installed):
    before = left(installed)
    assert "nothing was removed" in installed("uninstall", "--dry-run")
    assert left(installed) == before


def test_an_uninstall_without_the_server_removes_the_agent_all_the_same(installed):
    said = installed("uninstall", "--yes", CLEARML_API_HOST="http://127.0.0.1:9")
    assert "the ClearML server was not told" in said
    assert left(installed) == []


def test_what_does_not_go_is_named_at_the_deadline(installed):
    pod = installed.cluster.agent_pod(NAMESPACE)["metadata"]["name"]
    installed.cluster.change("pods", NAMESPACE, pod, {"metadata": {"finalizers": ["example.com/never"]}})
    said = installed("uninstall", "--yes", code=35)
    assert "still there" in said and f"pod/{pod}" in said and "finalizers" in said


def test_leftovers_without_a_release_are_removed_too(installed):
    installed.cluster.fake_helm.run(["uninstall", "clearml-agent", "--namespace", NAMESPACE], "")
    installed("uninstall", "--yes")
    assert left(installed) == []


def test_an_uninstall_waits_for_nobody_who_works_on_the_release(installed):
    installed.cluster.hold_lease("elsewhere:1")
    assert "elsewhere:1" in installed("uninstall", "--yes", code=24)
    assert "clearml-agent-keys" in left(installed)
