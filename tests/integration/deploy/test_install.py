"""Install, upgrade, dry run: what is asked, what is done, how it is proved, and what a failure leaves."""

from __future__ import annotations

import os
import signal

import pytest

from clearml_access.agent_values import AgentValues
from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE

pytestmark = pytest.mark.integration

MEMORY = "agentk8sglue.resources.limits.memory"
AGENT_IMAGE, TASK_IMAGE = AgentValues.load().agent_image, AgentValues.load().default_image


def memory(deploy):
    """Return the agent's memory limit, as the cluster has it."""
    deployment = deploy.cluster.store.get("deployments", NAMESPACE, "clearml-agent")
    return deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]


def other_settings(value):
    return ("--no-canary", "--set", f"{MEMORY}={value}")


def test_an_install_proves_itself_and_a_second_one_changes_nothing(deploy):
    first = deploy.json("install")
    assert (first["result"], first["revision"], first["queues"]) == ("installed", 1, [QUEUE])
    assert first["seconds"].keys() >= {"pod ready", "worker registered", "serves the queue", "canary pod", "canary"}
    assert first["canary"]["python"].startswith("3.")
    assert deploy.cluster.store.get("deployments", NAMESPACE, "clearml-agent")["spec"]["strategy"]["type"] == "Recreate"
    second = deploy.json("install")
    assert (second["result"], second["revision"]) == ("unchanged", 1)
    assert deploy.cluster.store.select("leases", NAMESPACE) == []
    assert [name for name in deploy.cluster.pods(NAMESPACE) if "probe" in name] == []


def test_an_upgrade_and_a_status_start_few_processes_of_helm(installed):
    """Each call of helm is a process that asks the cluster: half a second of somebody's time on a slow link."""
    calls = installed.cluster.fake_helm.calls
    calls.clear()
    installed("upgrade", *other_settings("600Mi"))
    asked = [" ".join(word for word in argv[:2] if not word.startswith(("-", "clearml"))) for argv, _ in calls]
    assert asked == ["version", "history", "template", "list", "history", "get values", "upgrade"]
    calls.clear()
    installed("status")
    assert [argv[0] for argv, _ in calls] == ["version", "list", "history", "get", "get"]


def test_an_upgrade_makes_a_revision_and_never_has_two_agents(installed):
    before = installed.cluster.agent_pod(NAMESPACE)["metadata"]["name"]
    outcome = installed.json("upgrade", *other_settings("600Mi"))
    assert (outcome["result"], outcome["revision"]) == ("upgraded", 2)
    assert installed.cluster.agent_pod(NAMESPACE)["metadata"]["name"] != before  # one, and a new one
    history = [entry for entry in installed.cluster.store.history if entry[2] == "pods"]
    old_gone = next(i for i, entry in enumerate(history) if entry[1] == "DELETED" and before in str(entry[4]))
    made = [i for i, entry in enumerate(history) if entry[1] == "ADDED" and "k8s-glue" in str(entry[4])]
    new_made = next(i for i in made if before not in str(history[i][4]))
    assert old_gone < new_made


def test_an_upgrade_wants_a_release_that_is_there(deploy):
    assert "there is no release clearml-agent" in deploy("upgrade", code=25)
    assert deploy.cluster.store.select("namespaces", "") == []


def test_a_dry_run_names_what_it_would_do_and_does_nothing(deploy):
    planned = deploy.json("install", "--dry-run")
    assert planned["result"] == "planned"
    assert planned["changes"] == [
        "make namespace clearml",
        "write Secret clearml-agent-keys",
        "write Secret clearml-agent-conf",
        "make ServiceAccount clearml-agent-tasks",
        f"make queue {QUEUE}",
        "install release clearml-agent to clearml-agent-5.3.99",
    ]
    assert deploy.cluster.store.select("namespaces", "") == []
    assert "would make namespace clearml" in deploy("install", "--dry-run")


def test_a_dry_run_of_an_upgrade_names_only_what_changes(installed):
    assert installed.json("install", "--dry-run")["changes"] == []
    assert "nothing would change" in installed("install", "--dry-run")
    planned = installed.json("install", "--dry-run", "--set", f"{MEMORY}=600Mi")
    assert planned["changes"] == ["upgrade release clearml-agent to clearml-agent-5.3.99"]
    assert memory(installed) == "512Mi"


def test_a_secret_of_ones_own_is_used_and_never_written(installed):
    store = installed.cluster.store
    keys = store.get("secrets", NAMESPACE, "clearml-agent-keys")
    store.create("secrets", NAMESPACE, {"metadata": {"name": "mine"}, "data": keys["data"]})
    installed("install", "--no-canary", "--set", "clearml.existingAgentk8sglueSecret=mine")
    env = installed.cluster.agent_pod(NAMESPACE)["spec"]["containers"][0]["env"]
    (reference,) = [item["valueFrom"]["secretKeyRef"] for item in env if item["name"] == "CLEARML_API_SECRET_KEY"]
    assert reference["name"] == "mine"
    assert installed.json("check")["ok"]


def test_task_pods_run_as_an_account_that_may_do_nothing(installed):
    account = installed.cluster.store.get("serviceaccounts", NAMESPACE, "clearml-agent-tasks")
    assert account["automountServiceAccountToken"] is False
    task = installed.enqueue(tags=HELD)
    spec = installed.cluster.store.get("pods", NAMESPACE, f"clearml-id-{task}")["spec"]
    assert spec["serviceAccountName"] == "clearml-agent-tasks"
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    (mount,) = [item for item in spec["containers"][0]["volumeMounts"] if item["mountPath"] == token]
    assert {"name": mount["name"], "emptyDir": {}} in spec["volumes"]


@pytest.mark.parametrize("command", [("install", *other_settings("600Mi")), ("rollback", "--no-canary")])
def test_the_agents_role_holds_what_it_uses_and_no_more_after_every_change(installed, command):
    """The chart's own Role lets it read all Secrets, and helm brings that back each time."""
    installed("install", *other_settings("601Mi"))
    installed.cluster.change("roles", NAMESPACE, "clearml-agent-kpa", {"rules": []})
    installed(*command)
    rules = installed.cluster.store.get("roles", NAMESPACE, "clearml-agent-kpa")["rules"]
    assert {(rule["apiGroups"][0], *rule["resources"]) for rule in rules} == {("", "pods"), ("", "pods/log")}
    assert installed.json("check")["ok"]


def test_a_new_key_starts_a_new_agent(installed, api):
    made = api("auth.create_credentials")["credentials"]
    keys = {"CLEARML_API_ACCESS_KEY": made["access_key"], "CLEARML_API_SECRET_KEY": made["secret_key"]}
    before = installed.cluster.agent_pod(NAMESPACE)["metadata"]["uid"]
    assert installed.json("install", "--no-canary", **keys)["result"] == "upgraded"
    assert installed.cluster.agent_pod(NAMESPACE)["metadata"]["uid"] != before
    api("auth.revoke_credentials", access_key=made["access_key"])


# -- an install that fails leaves what was there


def _agent_needs(deploy, megabytes):
    deploy.cluster.faults.image_needs_mb[AGENT_IMAGE] = megabytes


@pytest.mark.parametrize(
    ("prepare", "words", "code", "said"),
    [
        (None, ["agentk8sglue.defaultContainerImage=none:none"], 34, "ImagePullBackOff"),
        (None, ["agentk8sglue.image.tag=none"], 34, "ImagePullBackOff"),
        (None, ['agentk8sglue.resources.requests.cpu="900"'], 34, "Unschedulable"),
        (lambda deploy: _agent_needs(deploy, 100), [f"{MEMORY}=20Mi"], 34, "OOMKilled"),
        (None, ["clearml.existingAgentk8sglueSecret=none"], 10, "lacks agentk8sglue_key"),
        (None, ["agentk8sglue.queu=x"], 11, "did you mean agentk8sglue.queue"),
        (None, ["agentk8sglue.apiServerUrlReference=http://127.0.0.1:8008"], 10, "127.0.0.1"),
        (None, ["agentk8sglue.apiServerUrlReference=http://nowhere.pods.fake:9"], 41, "cannot be reached from a pod"),
    ],
    ids=["task image", "agent image", "no room", "memory", "secret", "key", "loopback", "unreachable"],
)
def test_what_cannot_work_is_refused_and_what_was_there_stays(installed, prepare, words, code, said):
    if prepare:
        prepare(installed)
    installed.cluster.faults.missing_images |= {"none:none", "docker.io/library/clearml-pods-agent:none"}
    sets = [part for word in words for part in ("--set", word)]
    assert said in installed("install", *sets, code=code)
    assert memory(installed) == "512Mi"
    assert installed.json("check")["ok"]
    assert [name for name in installed.cluster.pods(NAMESPACE) if "probe" in name] == []


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (lambda faults: faults.crashing_images.update({AGENT_IMAGE: "no such module"}), 34, "no such module"),
        (lambda faults: setattr(faults, "init_stuck", True), 34, "InitStuck"),
        (lambda faults: setattr(faults, "agent_silent", True), 43, "does not serve queue"),
        (lambda faults: setattr(faults, "pod_quota", 0), 36, "exceeded quota"),
    ],
    ids=["crash loop", "init container stuck", "worker never registers", "quota"],
)
def test_a_first_install_that_fails_leaves_nothing(deploy, fault, code, said):
    deploy.cluster.store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    failing_from = {"text": "/deployments/clearml-agent"}

    def switch_on(method, path):
        if code == 36 or failing_from["text"] in path:
            fault(deploy.cluster.faults)

    deploy.cluster.faults.before = switch_on
    assert said in deploy("install", code=code)
    for kind in ("deployments", "secrets", "leases", "configmaps", "serviceaccounts", "roles", "rolebindings"):
        assert deploy.cluster.store.select(kind, NAMESPACE) == [], kind


def test_a_quota_that_leaves_no_room_for_the_agent_is_named_and_undone(installed):
    quota = installed.cluster.faults
    quota.before = lambda method, path: setattr(quota, "pod_quota", 0 if "/helm/upgrade" in path else quota.pod_quota)
    said = installed("install", *other_settings("600Mi"), code=34)
    assert "no agent pod can be made" in said and "exceeded quota" in said
    assert "undo: rolled back to revision 1" in said
    quota.before, quota.pod_quota = None, None
    assert memory(installed) == "512Mi"
    assert installed.json("install")["result"] == "unchanged"


def test_an_upgrade_whose_agent_never_registers_goes_back_to_the_revision_before(installed):
    faults = installed.cluster.faults
    faults.before = lambda method, path: setattr(faults, "agent_silent", faults.agent_silent or "/helm/upgrade" in path)
    said = installed("install", *other_settings("600Mi"), code=43)
    assert "does not serve queue fake-pods" in said
    assert "undo: rolled back to revision 1" in said
    assert memory(installed) == "512Mi"


def test_a_canary_that_fails_undoes_the_upgrade_and_keeps_its_record(installed, api):
    installed.cluster.faults.task_exit_code = 3
    said = installed("install", "--set", f"{MEMORY}=600Mi", code=44)
    assert "ended as failed" in said
    assert "undo: rolled back to revision 1" in said
    assert "undo: its worker is registered after" in said
    failed = api("tasks.get_all", tags=["clearml-pods-canary"], status=["failed"])["tasks"]
    (record,) = [task["id"] for task in failed if task["id"] in said]  # others are of other tests
    api("tasks.delete", task=record, force=True)


def test_a_canary_that_is_never_taken_ends_at_its_deadline(installed):
    cluster = installed.cluster
    cluster.faults.agent_takes_nothing = True
    said = installed("install", code=44)
    assert "no pod was made for it" in said
    assert "Hint: ./task doctor -- --task " in said


def test_a_canary_whose_image_is_gone_is_named_by_its_cause(installed):
    installed.cluster.faults.missing_images.add(TASK_IMAGE)
    said = installed("install", code=34)
    assert "canary pod" in said and "ImagePull" in said


# -- an install that is disturbed


@pytest.mark.parametrize(
    "moment",
    ["/pods/clearml-agent-probe-task", "/helm/upgrade", "/pods"],
    ids=["while it asks from pods", "in helm", "while it waits for the agent"],
)
def test_an_install_that_is_interrupted_is_completed_by_the_next(installed, moment):
    faults = installed.cluster.faults

    def ctrl_c(method, path):
        if path.endswith(moment) and (moment != "/pods" or memory(installed) == "610Mi"):
            faults.before = None
            os.kill(os.getpid(), signal.SIGINT)

    faults.before = ctrl_c
    assert "the same command again completes" in installed("install", *other_settings("610Mi"), code=130)
    assert installed.cluster.store.select("leases", NAMESPACE) == []
    assert [name for name in installed.cluster.pods(NAMESPACE) if "probe" in name] == []
    assert installed.json("install", *other_settings("610Mi"))["result"] in ("unchanged", "upgraded")
    assert memory(installed) == "610Mi"
    assert installed.json("check")["ok"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("rollback", "--no-canary"), "./task agent-status shows the revision that is there"),
        (("uninstall", "--yes"), "the same command again removes what is left"),
    ],
)
def test_what_to_do_after_an_interrupt_follows_from_the_command(installed, words, hint):
    """An interrupted rollback that is repeated goes back from what it has gone back to."""
    installed("install", *other_settings("615Mi"))
    faults = installed.cluster.faults

    def ctrl_c(method, path):
        if "/helm/" in path and "list" not in path:
            faults.before = None
            os.kill(os.getpid(), signal.SIGINT)

    faults.before = ctrl_c
    assert hint in installed(*words, code=130)
    assert installed.cluster.store.select("leases", NAMESPACE) == []
    assert installed.json("install", *other_settings("615Mi"))["result"] in ("unchanged", "installed", "upgraded")
    assert installed.json("check")["ok"]


def test_another_worker_on_the_queue_is_a_warning_before_anything_is_changed(installed):
    said = installed("install", "--release", "other", "--dry-run")
    assert "! no other worker on the queue: also served by clearml-agent: tasks may go there instead" in said
    assert "also served" not in installed("install", "--dry-run")


def test_an_upgrade_that_was_killed_inside_helm_is_completed_by_the_next(installed, dead_process):
    installed("install", *other_settings("620Mi"))
    installed.cluster.fake_helm.mark_last(NAMESPACE, "pending-upgrade")
    installed.cluster.hold_lease(dead_process)  # killed, it could not give it back
    said = installed("install", *other_settings("620Mi"))
    assert "an earlier operation was interrupted" in said and "rolled back to revision 1" in said
    assert memory(installed) == "620Mi"
    assert installed.json("check")["ok"]


def test_a_first_install_that_was_killed_inside_helm_is_completed_by_the_next(installed):
    installed.cluster.fake_helm.mark_last(NAMESPACE, "pending-install")
    assert installed.results("check", code=25)["release"]["result"] == "fail"
    assert "its remains are removed" in installed("install", "--no-canary")
    assert installed.json("status")["revision"]["number"] == 1
    assert installed.json("check")["ok"]


def test_two_installs_at_once_do_not_meet(installed):
    installed.cluster.hold_lease("elsewhere:1")
    said = installed("install", *other_settings("640Mi"), code=24)
    assert "elsewhere:1" in said
    assert memory(installed) == "512Mi"
    assert len(installed.cluster.store.select("leases", NAMESPACE)) == 1  # it is still the other's


def test_a_lease_of_somebody_who_is_gone_runs_out(installed):
    installed.cluster.hold_lease("elsewhere:1", age_s=31)
    assert installed.json("install", *other_settings("641Mi"))["result"] == "upgraded"


def test_of_two_that_take_a_free_lease_the_slower_is_told(installed):
    def other_is_faster(method, path):
        if method == "POST" and path.endswith("/leases"):
            installed.cluster.faults.before = None
            installed.cluster.hold_lease("elsewhere:2")

    installed.cluster.faults.before = other_is_faster
    assert "release clearml-agent" in installed("install", *other_settings("642Mi"), code=24)


def test_a_restart_of_the_api_server_is_survived_while_the_install_waits(installed):
    def restart(method, path):
        if path.endswith("/pods") and memory(installed) == "650Mi":
            installed.cluster.faults.before = None
            installed.cluster.fail("GET", "", status=0, times=4)

    installed.cluster.faults.before = restart
    assert installed.json("install", *other_settings("650Mi"))["result"] == "upgraded"


def test_a_restart_of_the_api_server_inside_helm_is_said_and_what_was_there_stays(installed):
    installed.cluster.fail("HELM", "/helm/upgrade", status=0, times=1)
    said = installed("install", *other_settings("651Mi"), code=32)
    assert "unreachable" in said
    assert "undo: rolled back to revision 1" in said
    assert memory(installed) == "512Mi"
