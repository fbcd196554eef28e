"""Rows of the fault table in docs/deploy.md: each is named, in bounded time, and the next install repairs it."""

from __future__ import annotations

import pytest

from tests.fakes.kubernetes.faults import RequestFault
from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NOBODY = "http://127.0.0.1:9"


def agent_uid(deploy):
    return deploy.cluster.agent_pod(NAMESPACE)["metadata"]["uid"]


# -- the API server


def test_who_may_not_is_told_what_and_how_to_get_it(installed):
    installed.cluster.faults.forbidden = {("create", "secrets"), ("patch", "deployments")}
    said = installed("install", code=33)
    assert "create secrets" in said and "patch deployments.apps" in said
    assert "system:serviceaccount:ci:deployer lacks permissions in namespace clearml" in said
    assert "kubectl create rolebinding deployer --clusterrole=admin --serviceaccount=ci:deployer -n clearml" in said
    installed.cluster.faults.user = "jane@example.com"
    assert "--user=jane@example.com -n clearml" in installed("install", code=33)
    installed.cluster.faults.forbidden = {("get", "namespaces")}
    assert 'cannot get resource "namespaces"' in installed("status", code=33)


def test_who_may_not_give_the_agents_role_what_it_holds_is_told_before_helm(deploy):
    """Kubernetes lets nobody give more than they have; helm says so after the first objects are made."""
    deploy.cluster.faults.forbidden = {("escalate", "roles"), ("patch", "services"), ("patch", "secrets")}
    said = deploy("install", code=33)
    words = "system:serviceaccount:ci:deployer may not give the agent's Role what they do not have themselves: "
    assert words + "patch secrets, patch services" in said
    assert "--clusterrole=admin --serviceaccount=ci:deployer -n clearml" in said
    assert deploy.cluster.store.select("secrets", NAMESPACE) == []


@pytest.mark.parametrize("kind", ["serviceaccounts", "rolebindings", "services", "leases"])
def test_who_may_not_see_what_an_uninstall_removes_does_not_install(installed, kind):
    installed.cluster.faults.forbidden = {("list", kind)}
    assert f"list {kind}" in installed("install", code=33)


def test_what_an_undone_install_made_goes_also_where_helm_may_not_look_for_it(deploy):
    deploy.cluster.faults.requests = [RequestFault("HELM", "/helm/uninstall", message="cannot list serviceaccounts")]
    deploy.cluster.faults.task_exit_code = 3
    said = deploy("install", code=44)
    assert "undo: helm has not removed all of it: " in said and "cannot list serviceaccounts" in said
    assert [item["metadata"]["name"] for item in deploy.cluster.store.select("serviceaccounts", NAMESPACE)] == [
        "clearml-agent-sa"
    ]
    assert not [name for name in secret_names(deploy) if name in ("clearml-agent-keys", "clearml-agent-conf")]


def secret_names(deploy):
    return [item["metadata"]["name"] for item in deploy.cluster.store.select("secrets", NAMESPACE)]


@pytest.mark.parametrize("kind", ["roles", "rolebindings"])
def test_an_agent_whose_rights_are_gone_is_named_by_doctor_and_mended_by_an_install(installed, kind):
    installed.cluster.store.delete(kind, NAMESPACE, "clearml-agent-kpa")
    found = installed.results("doctor", code=33)["access"]
    name = {"roles": "Role", "rolebindings": "RoleBinding"}[kind]
    assert f"{name} clearml-agent-kpa is gone" in found["evidence"] and "./task deploy-agent" in found["fix"]
    said = installed("install", "--no-canary")
    assert f"gone from the cluster: {name.lower()}/clearml-agent-kpa" in said
    assert installed.results("doctor")["access"]["result"] == "ok"
    assert installed.json("install", "--no-canary")["result"] == "unchanged"


ACCOUNT = "agentk8sglue.serviceExistingAccountName"


def test_an_account_without_rights_gets_the_agents_and_one_that_is_not_there_is_refused_before_helm(deploy):
    deploy("install", "--no-canary")
    said = deploy("install", "--set", f"{ACCOUNT}=poor", code=36)
    assert 'serviceaccount "poor" not found' in said and "kubectl -n clearml create serviceaccount NAME" in said
    deploy.cluster.store.create("serviceaccounts", NAMESPACE, {"metadata": {"name": "poor"}})
    said = deploy("install", "--set", f"{ACCOUNT}=poor")
    assert "the agent runs as poor, tasks as poor" in said and "canary task went through" in said
    assert deploy.results("doctor", "--set", f"{ACCOUNT}=poor")["access"]["result"] == "ok"


def test_the_account_of_all_pods_is_a_warning(installed):
    said = installed("install", "--dry-run", "--set", f"{ACCOUNT}=default")
    assert "! accounts of agent and tasks: the agent's account is `default`, that of all pods" in said


def test_a_namespace_that_may_not_be_made_is_said_before_anything_else_is_done(deploy):
    deploy.cluster.faults.forbidden = {("create", "namespaces")}
    assert "kubectl create namespace clearml" in deploy("install", code=33)


def test_a_namespace_that_is_being_deleted_is_not_installed_into(installed):
    installed.cluster.faults.namespace_hangs = True
    installed.cluster.store.delete("namespaces", "", NAMESPACE)
    said = installed("install", code=30)
    assert "is being deleted" in said
    assert "kubectl wait --for=delete namespace/clearml" in said


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (0, 32, "does not answer"),
        (429, 30, "429"),
        (500, 32, "answered 500"),
        (503, 32, "answered 503"),
        (401, 33, "they may have expired"),
        (403, 33, "permission denied"),
        (410, 30, "410"),
    ],
)
def test_an_api_server_that_refuses_everything_is_named(installed, status, code, said):
    installed.cluster.fail("GET", "/api", status=status)
    words = installed("status", code=code)
    assert said in words
    assert words.count("Hint:") <= 1


def test_an_api_server_that_is_slow_is_waited_for(installed):
    installed.cluster.fail("GET", "/pods", status=200, delay_s=0.3, times=1)
    assert installed.json("status")["revision"]["status"] == "deployed"


def test_a_proxys_page_in_place_of_an_answer_is_not_printed_whole(installed, tmp_path):
    kubeconfig = installed.cluster.write_kubeconfig(tmp_path / "other", installed.server_url)
    said = installed("status", code=30, KUBECONFIG=str(kubeconfig))
    assert len(said) < 1000


def test_an_old_cluster_is_refused(deploy):
    deploy.cluster.version = "v1.20.4"
    assert "older than 1.21" in deploy("install", code=12)


def test_a_chart_that_shuts_out_the_cluster_names_the_version_that_does_not(deploy, tmp_path):
    chart = deploy.copy_chart(tmp_path / "chart", kubeVersion=">= 1.21.0-0 < 1.33.0-0")
    said = deploy("install", "--chart", str(chart), code=23)
    assert "requires Kubernetes >= 1.21.0-0 < 1.33.0-0, this is v1.34.2" in said
    assert "--chart-version 5.3.3" in said


# -- the ClearML server


def test_a_server_that_is_down_stops_an_install_before_it_changes_anything(deploy):
    said = deploy("install", code=41, CLEARML_API_HOST=NOBODY)
    assert f"{NOBODY} does not answer" in said
    assert deploy.cluster.store.select("namespaces", "") == []


def test_a_server_that_goes_down_later_is_said_by_check_and_status(installed):
    checks = installed.json("check", code=41, CLEARML_API_HOST=NOBODY)
    assert {check["id"] for check in checks["checks"] if check["result"] == "fail"} == {"server"}
    seen = installed.json("status", CLEARML_API_HOST=NOBODY)
    assert seen["revision"]["status"] == "deployed"
    assert "does not answer" in " ".join(seen["unknown"])
    assert "unknown: " in installed("status", CLEARML_API_HOST=NOBODY)


def test_wrong_keys_are_refused_before_anything_is_changed(deploy):
    keys = {"CLEARML_API_ACCESS_KEY": "wrong", "CLEARML_API_SECRET_KEY": "wrong-secret"}
    said = deploy("install", code=42, **keys)
    assert "refuses the access key" in said and "wrong-secret" not in said
    assert deploy.cluster.store.select("namespaces", "") == []


def test_keys_that_are_revoked_are_found_and_mended(installed, api):
    made = api("auth.create_credentials")["credentials"]
    keys = {"CLEARML_API_ACCESS_KEY": made["access_key"], "CLEARML_API_SECRET_KEY": made["secret_key"]}
    installed("install", "--no-canary", **keys)
    api("auth.revoke_credentials", access_key=made["access_key"])
    assert installed.results("check", code=42)["agent-keys"]["result"] == "fail"
    installed("install", "--no-canary")
    assert installed.json("check")["ok"]


def test_a_deleted_queue_is_found_and_mended(installed, api):
    before = agent_uid(installed)
    api("queues.delete", queue=api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"], force=True)
    results = installed.results("check", code=43)
    assert results["queue"]["result"] == "fail"
    assert results["agent-pod"]["result"] == "ok"  # Running and Ready, which is why that proves nothing
    said = installed("install")
    assert f"queue {QUEUE} is made" in said and "agent pod is restarted" in said
    assert agent_uid(installed) != before
    assert installed.json("check")["ok"]


# -- pods that die


def test_a_step_outlives_its_agent(installed):
    task = installed.enqueue(tags=HELD)
    assert installed.task(task)["status"] == "in_progress"
    agent = installed.cluster.agent_pod(NAMESPACE)["metadata"]["name"]
    installed.cluster.store.delete("pods", NAMESPACE, agent, {"gracePeriodSeconds": 0})
    installed.cluster.settle()
    assert installed.task(task)["status"] == "in_progress"
    assert agent not in installed.cluster.pods(NAMESPACE)
    assert installed.json("install", "--no-canary")["result"] == "unchanged"
    assert installed.json("check")["ok"]


@pytest.mark.parametrize("reason", ["Deleted", "OOMKilled", "Evicted"])
def test_why_a_pod_died_is_on_the_tasks_record(installed, reason):
    task = installed.enqueue(tags=HELD)
    if reason == "Deleted":
        installed.cluster.store.delete("pods", NAMESPACE, f"clearml-id-{task}")
    else:
        installed.cluster.end_task_pod(NAMESPACE, task, reason)
    installed.cluster.settle()
    assert installed.task(task)["status"] == "failed"
    assert reason in installed.task(task)["runtime"]["pod"]
    assert reason in installed("logs", task)
    assert reason in installed.results("doctor", "--task", task, code=43)["task"]["evidence"]


# -- a task that does not start


def test_a_task_that_finds_no_room_is_explained_and_starts_when_there_is_some(installed):
    installed.cluster.faults.cordoned = True
    task = installed.enqueue("print('room at last')")
    results = installed.results("doctor", "--task", task, code=34)
    assert results["task-pod"]["result"] == "fail" and "Unschedulable" in results["task-pod"]["evidence"]
    assert results["nodes"]["result"] == "warn" and "cordoned" in results["nodes"]["evidence"]
    installed.cluster.faults.cordoned = False
    installed.cluster.settle()
    assert installed.task(task)["status"] == "completed"


def test_a_task_that_names_an_image_which_does_not_exist_is_explained(installed):
    installed.cluster.faults.missing_images.add("clearml-pods-none:none")
    task = installed.enqueue(container={"image": "clearml-pods-none:none"})
    results = installed.results("doctor", "--task", task, code=34)
    assert "ImagePullBackOff" in results["task-pod"]["evidence"]
    assert "clearml-pods-none:none (named by the task, not the default" in results["task-image"]["evidence"]
    assert results["task-pods"]["result"] == "fail"
