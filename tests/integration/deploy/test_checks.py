"""Each check of `check` and `doctor`, once well and once not: its verdict, its evidence, its fix, its exit code.

A check of your own is tested by one more `Case`: break one thing in the fake cluster or on the server, and name what
the check says then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from clearml_access.agent_values import AgentValues
from clearml_access.credentials import VARIABLES
from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE, Deployer

pytestmark = pytest.mark.integration

GLUE = "clearml-agent"
SECRETS = {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}


@dataclass(frozen=True)
class Case:
    """One way in which a check is not ok."""

    check: str
    breaks: Callable[[Deployer], object]
    result: str
    says: str
    code: int = 0
    words: tuple[str, ...] = ()


def cluster(**faults):
    return lambda deploy: [setattr(deploy.cluster.faults, name, value) for name, value in faults.items()]


def change(kind, name, patch):
    return lambda deploy: deploy.cluster.change(kind, NAMESPACE, name, patch)


def remove(kind, name):
    return lambda deploy: deploy.cluster.store.remove(kind, NAMESPACE, name)


def mark(status):
    return lambda deploy: deploy.cluster.fake_helm.mark_last(NAMESPACE, status)


def second_agent(deploy):
    deploy.cluster.change("deployments", NAMESPACE, GLUE, {"spec": {"replicas": 2}})
    deploy.cluster.settle()


def restarted(deploy):
    pod = deploy.cluster.agent_pod(NAMESPACE)
    (container,) = pod["status"]["containerStatuses"]
    status = {**pod["status"], "containerStatuses": [{**container, "restartCount": 1}]}
    deploy.cluster.store.set_status("pods", NAMESPACE, pod["metadata"]["name"], status)


def other_worker(deploy):
    queue = deploy.api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"]
    deploy.api("workers.register", worker="somebody:0", queues=[queue])


def other_queue(deploy):
    deploy.cluster.faults.agent_silent = True
    deploy.api("queues.create", name="another")
    queue = deploy.api("queues.get_all", name="^another$")["queues"][0]["id"]
    deploy.api("workers.unregister", worker=GLUE)
    deploy.api("workers.register", worker=GLUE, queues=[queue])


def no_worker(deploy):
    deploy.cluster.faults.agent_silent = True
    deploy.api("workers.unregister", worker=GLUE)


def silent(deploy):
    deploy.cluster.faults.agent_silent = True
    deploy.clock.ahead_s = 80


def silent_log(deploy):
    deploy.cluster.faults.agent_silent = True
    pod = deploy.cluster.agent_pod(NAMESPACE)["metadata"]["name"]
    deploy.cluster.container(NAMESPACE, pod).lines.clear()


def lost_task(deploy):
    deploy.cluster.faults.agent_takes_nothing = True
    task = deploy.enqueue()
    pending = deploy.api("queues.get_all", name="^k8s_scheduler$", search_hidden=True)["queues"]
    queue = pending[0]["id"] if pending else deploy.api("queues.create", name="k8s_scheduler")["id"]
    deploy.api("tasks.enqueue", task=task, queue=queue)


def no_queue(deploy):
    deploy.api("queues.delete", queue=deploy.api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"], force=True)


CASES = [
    Case("kubernetes", lambda d: setattr(d.cluster, "version", "v1.20.1"), "fail", "older than 1.21", 12),
    Case("rights", cluster(forbidden={("delete", "secrets")}), "fail", "delete secrets", 33),
    Case("chart", lambda d: None, "fail", "does not exist", 22, ("--chart", "/nowhere.tgz")),
    Case("values", lambda d: None, "fail", "did you mean", 11, ("--set", "agentk8sglue.queu=x")),
    Case(
        "server-address",
        lambda d: None,
        "fail",
        "127.0.0.1",
        10,
        ("--set", "agentk8sglue.apiServerUrlReference=http://127.0.0.1:8008"),
    ),
    Case(
        "agent-version",
        lambda d: None,
        "fail",
        "the same value",
        12,
        ("--set", "agentk8sglue.extraEnvs=[{name: CLEARML_AGENT_UPDATE_VERSION, value: ==1.9.2}]"),
    ),
    Case(
        "agent-version",
        lambda d: None,
        "fail",
        "does not work with an open-source server",
        12,
        (
            "--set",
            "agentk8sglue.extraEnvs=[{name: CLEARML_AGENT_UPDATE_VERSION, value: ==2.0.0}, "
            "{name: K8S_GLUE_POD_AGENT_INSTALL_ARGS, value: ==2.0.0}]",
        ),
    ),
    Case(
        "agent-version", lambda d: None, "warn", "no agent version is pinned", 0, ("--set", "agentk8sglue.extraEnvs=[]")
    ),
    Case("secret", lambda d: None, "fail", "lacks", 10, ("--set", "clearml.existingAgentk8sglueSecret=none")),
    Case("clock", lambda d: setattr(d.clock, "ahead_s", 45), "warn", "s apart"),
    Case("release", mark("pending-upgrade"), "fail", "interrupted", 25),
    Case("release", mark("failed"), "fail", "is failed", 25),
    Case("agent-pod", remove("deployments", GLUE), "fail", "there is no agent pod", 34),
    Case("agent-pod", second_agent, "fail", "2 agents take tasks at once", 34),
    Case("agent-pod", restarted, "warn", "restarted 1 times"),
    Case("agent-keys", remove("secrets", f"{GLUE}-keys"), "fail", "is not there", 10),
    Case("agent-keys", change("secrets", f"{GLUE}-keys", {"data": {"agentk8sglue_key": ""}}), "fail", "lacks", 10),
    Case("queue", no_queue, "fail", f"queue {QUEUE} does not exist", 43),
    Case("agent-log", no_queue, "fail", "its queue was deleted", 43),
    Case("agent-log", silent_log, "fail", "has written nothing for 90 s", 43),
    Case("worker", no_worker, "fail", "no worker clearml-agent is registered", 43),
    Case("worker", silent, "fail", "has been silent for", 43),
    Case("serves", other_queue, "fail", f"worker serves another, not {QUEUE}", 43),
    Case(
        "strategy", change("deployments", GLUE, {"spec": {"strategy": {"type": "RollingUpdate"}}}), "warn", "two agents"
    ),
    Case("strategy", remove("deployments", GLUE), "fail", "is not there", 34),
    Case("access", change("roles", f"{GLUE}-kpa", {"rules": [SECRETS]}), "warn", "gives the agent secrets too"),
    Case("access", remove("serviceaccounts", f"{GLUE}-tasks"), "fail", "no task pod can be made", 34),
    Case("alone", other_worker, "warn", "also served by somebody:0"),
    Case("lost-tasks", lost_task, "warn", "without a pod here"),
    Case("nodes", cluster(node_conditions={"MemoryPressure": "True"}), "warn", "MemoryPressure=True"),
    Case("nodes", cluster(cordoned=True), "warn", "is cordoned"),
    Case("nodes", cluster(forbidden={("list", "nodes")}), "warn", "nodes"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check} {case.says}"[:40])
def test_what_is_wrong_is_found_by_its_check(installed, case):
    case.breaks(installed)
    try:
        found = installed.results("doctor", *case.words, code=case.code)[case.check]
    finally:
        installed.api("workers.unregister", worker="somebody:0") if case.breaks is other_worker else None
    assert (found["result"], case.says in found["evidence"] + str(found["fix"])) == (case.result, True), found
    assert found["fix"]


def test_every_check_is_ok_where_all_is_well(installed):
    results = installed.results("doctor")
    assert {check: found["evidence"] for check, found in results.items() if found["result"] != "ok"} == {}
    assert {case.check for case in CASES} <= results.keys()


def test_a_check_that_has_not_been_broken_here_is_tested_elsewhere(installed):
    """Whoever adds a check adds its case, or names here where else it is tested."""
    elsewhere = {
        "chart-kubernetes",
        "kubeconfig",
        "helm",
        "namespace",
        "python",
        "server-known",
        "server",
        "keys",
        "server-version",
        "kubectl",
        "task-pods",
        "admission",
        "grants",
        "account",
        "namespace-rules",
    }
    assert set(installed.results("doctor")) - {case.check for case in CASES} == elsewhere


def test_check_asks_what_a_live_agent_answers_and_ends_with_the_code_of_what_is_broken(installed):
    no_worker(installed)
    body = installed.json("check", code=43)
    assert (body["ok"], body["exit_code"]) == (False, 43)
    assert {check["id"]: check["result"] for check in body["checks"]}["serves"] == "skip"
    said = installed("check", code=43)
    assert "✗ worker is registered and alive" in said
    assert re.search(r"^\d+ ok, 1 failed, \d+ not checked$", said, re.MULTILINE)


def test_doctor_on_an_empty_cluster_says_what_to_install(deploy):
    results = deploy.results("doctor", code=43)
    assert results["release"]["fix"] and results["namespace"]["evidence"] == "namespace clearml will be made"


def test_without_a_kubeconfig_only_that_fails_and_what_needs_it_is_left_out(installed):
    env = {"KUBECONFIG": "/nowhere"}
    body = installed.json("doctor", code=31, **env)
    assert {check["id"] for check in body["checks"] if check["result"] == "fail"} == {"kubeconfig"}
    left_out = {check["id"]: check["evidence"] for check in body["checks"] if check["result"] == "skip"}
    assert left_out["agent-keys"] == left_out["alone"] == "needs: kubeconfig and context"
    said = installed("doctor", code=31, **env)
    assert (
        f"- {len(left_out)} more are not checked: needs: kubeconfig and context (--verbose lists them)"
        in said.splitlines()
    )
    assert "clocks agree" not in said
    assert "- clocks agree: needs: kubeconfig and context" in installed("doctor", "--verbose", code=31, **env)
    asked = {check["id"]: check["result"] for check in body["checks"]}
    assert asked["queue"] == asked["worker"] == asked["serves"] == "ok", "ClearML says so without the cluster"
    body = installed.json("doctor", "--task", "0" * 32, code=31, **env)
    assert {check["id"] for check in body["checks"] if check["result"] == "fail"} == {"kubeconfig", "task"}


@pytest.mark.parametrize("command", ["diff", "rollback", "status", "install", "uninstall"])
def test_without_a_kubeconfig_every_command_says_so(deploy, command):
    assert "kubeconfig /nowhere does not exist" in deploy(command, code=31, KUBECONFIG="/nowhere")


def without_server(tmp_path):
    """The environment of somebody who has not configured a server."""
    unset = [f"CLEARML_{name}" for name, _ in VARIABLES.values()]
    return dict.fromkeys((*unset, "CLEARML_CONFIG_FILE"), "") | {"HOME": str(tmp_path)}


def test_without_a_server_one_check_says_so_and_the_values_are_still_checked(installed, tmp_path):
    env = without_server(tmp_path)
    body = installed.json("doctor", code=10, **env)
    assert [check["title"] for check in body["checks"] if check["result"] == "fail"] == ["ClearML server is known"]
    said = installed("install", "--set", "agentk8sglue.queu=x", code=11, **env)
    assert "✗ values are known to the chart" in said and "did you mean" in said
    assert "the ClearML server is not known" in said


# -- doctor --task


def test_a_task_in_its_queue_is_told_its_place(installed):
    installed.cluster.faults.agent_takes_nothing = True
    installed.enqueue()
    task = installed.enqueue()
    results = installed.results("doctor", "--task", task)
    assert results["task-queued"]["evidence"] == f"task is number 2 of 2 in queue {QUEUE}"
    assert results["task-served"]["evidence"] == f"queue {QUEUE} is served by clearml-agent"


def test_a_task_that_was_run_again_says_how_its_earlier_attempts_ended(installed):
    task = installed.enqueue()
    noted = {"section": "properties", "name": "earlier_attempts", "value": '["pod: Evicted; low on memory"]'}
    installed.api("tasks.edit_hyper_params", task=task, force=True, hyperparams=[noted])
    installed.api("tasks.edit", task=task, force=True, runtime={"pod_phases": "pull 12 s, run 3 s"})
    text = installed("doctor", "--task", task)
    assert "; attempt 1: pod: Evicted; low on memory; its last pod: pull 12 s, run 3 s" in text


def test_a_draft_waits_in_no_queue(installed):
    task = installed.api("tasks.create", name="draft", type="testing")["id"]
    results = installed.results("doctor", "--task", task, code=43)
    assert "waits in no queue" in results["task-queued"]["evidence"]


def test_a_queue_that_nobody_serves_is_named_with_those_that_are(installed):
    queue = installed.api("queues.create", name="deserted")["id"]
    task = installed.api("tasks.create", name="waits", type="testing")["id"]
    installed.api("tasks.enqueue", task=task, queue=queue)
    results = installed.results("doctor", "--task", task, code=43)
    assert f"no live worker serves queue deserted; served are: {QUEUE}" in results["task-served"]["evidence"]
    installed.api("queues.delete", queue=queue, force=True)


def test_a_running_task_is_ok(installed):
    task = installed.enqueue(tags=HELD)
    results = installed.results("doctor", "--task", task)
    assert f"clearml-id-{task} is ready" in results["task-pod"]["evidence"]
    assert "no limit" in results["task-slot"]["evidence"]


def test_a_task_that_was_taken_and_got_no_pod_is_explained(installed):
    lost_task(installed)
    (task,) = installed.api("queues.get_all", name="^k8s_scheduler$", search_hidden=True)["queues"][0]["entries"]
    results = installed.results("doctor", "--task", task["task"], code=34)
    assert "took the task and made no pod" in results["task-pod"]["evidence"]


def test_a_task_whose_pod_vanished_is_explained(installed):
    task = installed.enqueue(tags=HELD, container={"image": AgentValues.load().default_image})
    installed.cluster.vanish(NAMESPACE, f"clearml-id-{task}")
    results = installed.results("doctor", "--task", task, code=34)
    assert "marked as in_progress, but has no pod here" in results["task-pod"]["evidence"]


def limited_to(deploy, number):
    """Install an agent that makes so many task pods at a time."""
    envs = deploy.results("check") and [
        {"name": "CLEARML_AGENT_UPDATE_VERSION", "value": "==1.9.2"},
        {"name": "K8S_GLUE_POD_AGENT_INSTALL_ARGS", "value": "==1.9.2"},
        {"name": "K8S_GLUE_MAX_PODS", "value": str(number)},
    ]
    words = ("--set", f"agentk8sglue.extraEnvs={json.dumps(envs)}")
    deploy("install", "--no-canary", *words)
    return words


def test_a_full_cluster_is_a_warning_with_what_holds_its_slots(installed):
    words = limited_to(installed, 1)
    running = installed.enqueue(tags=HELD)
    results = installed.results("doctor", *words, "--task", installed.enqueue())
    assert results["task-slot"]["result"] == "warn" and running in results["task-slot"]["evidence"]
    assert results["task-deadlock"]["result"] == "ok"


def test_controllers_that_hold_every_slot_that_their_steps_wait_for_are_named(installed):
    words = limited_to(installed, 1)
    controller = installed.enqueue(tags=HELD, type="controller")
    results = installed.results("doctor", *words, "--task", installed.enqueue(parent=controller), code=43)
    assert f"{controller} is a controller and hold the last slot" in results["task-deadlock"]["evidence"]


def test_a_task_that_does_not_exist_is_said_so(installed):
    results = installed.results("doctor", "--task", "0" * 32, code=45)
    assert results["task"]["result"] == "fail" and results["task-pod"]["result"] == "skip"
