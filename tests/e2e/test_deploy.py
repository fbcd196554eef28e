"""The agent deployed for real: a cluster, our chart, both images, a live server; by the command line, as people do."""

from __future__ import annotations

import base64
import json
import signal
import time

import pytest

from tests.e2e.cluster_cli import until
from tests.e2e.deployer import COMMAND_TIMEOUT_S, QUEUE, run_task, status

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]


def test_an_install_proves_itself_and_a_second_one_changes_nothing(deploy):
    first = deploy.json("install")
    assert (first["result"], first["revision"]) == ("installed", 1)
    assert first["seconds"].keys() >= {"pod ready", "worker registered", "serves the queue", "canary pod", "canary"}
    assert first["canary"]["python"].startswith("3.11")
    second = deploy.json("install")
    assert (second["result"], second["revision"]) == ("unchanged", 1)
    assert deploy.json("check")["ok"]
    doctor = deploy.json("doctor")
    assert doctor["ok"]
    assert len(doctor["checks"]) >= 15
    assert deploy.json("diff")["changed"] is False


def test_a_dry_run_changes_nothing(installed):
    before = installed.kubectl("get", "deployments,secrets", "--output=name")
    planned = installed.json("install", "--dry-run", "--set", "agentk8sglue.resources.limits.memory=640Mi")
    assert planned["result"] == "planned"
    assert any("upgrade release" in change for change in planned["changes"])
    assert installed.kubectl("get", "deployments,secrets", "--output=name") == before


def test_an_upgrade_never_has_two_agents(installed):
    upgrade = installed.start("upgrade", "--no-canary", "--set", "agentk8sglue.resources.limits.memory=600Mi")
    most = 0
    while upgrade.poll() is None:
        most = max(most, len(installed.agents()))
        time.sleep(0.3)
    assert upgrade.returncode == 0, upgrade.communicate()
    assert most == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["agentk8sglue.defaultContainerImage=clearml-pods-task:none"], 34, "ImagePullBackOff"),
        (["agentk8sglue.image.tag=none"], 34, "ImagePullBackOff"),
        (['agentk8sglue.resources.requests.cpu="900"'], 34, "Unschedulable"),
        (
            ["agentk8sglue.resources.limits.memory=20Mi", "agentk8sglue.resources.requests.memory=10Mi"],
            34,
            "OOMKilled",
        ),
        (["clearml.existingAgentk8sglueSecret=none"], 10, "lacks agentk8sglue_key"),
        (["agentk8sglue.queu=x"], 11, "did you mean agentk8sglue.queue"),
        (["agentk8sglue.apiServerUrlReference=http://127.0.0.1:8008"], 10, "a pod would ask itself"),
        (["agentk8sglue.apiServerUrlReference=http://192.0.2.1:8008"], 41, "cannot be reached from a pod"),
    ],
    ids=["task image", "agent image", "no room", "memory", "secret", "key", "loopback", "unreachable"],
)
def test_what_cannot_work_is_refused_and_what_was_there_stays(installed, words, code, said):
    sets = [part for word in words for part in ("--set", word)]
    assert said in installed.run("install", *sets, code=code)
    assert installed.json("check")["ok"]
    pods = installed.pods()
    assert [pod["metadata"]["name"] for pod in pods if "probe" in pod["metadata"]["name"]] == []


def test_a_deleted_queue_is_found_and_mended(installed, api):
    queue = api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"]
    api("queues.delete", queue=queue, force=True)
    assert "queue" in installed.failed(installed.json("check", code=43))
    assert [pod["status"]["phase"] for pod in installed.agents()] == ["Running"]  # which is why that proves nothing
    installed.run("install")
    assert installed.json("check")["ok"]


def test_revoked_keys_are_found_and_mended(installed, api):
    made = api("auth.create_credentials")["credentials"]
    keys = {"CLEARML_API_ACCESS_KEY": made["access_key"], "CLEARML_API_SECRET_KEY": made["secret_key"]}
    installed.run("install", "--no-canary", **keys)
    everything = installed.kubectl("get", "all,configmaps,events,serviceaccounts,leases", "--output=yaml")
    assert made["secret_key"] not in everything
    api("auth.revoke_credentials", access_key=made["access_key"])
    assert "agent-keys" in installed.failed(installed.json("check", code=42))
    installed.run("install", "--no-canary")
    assert installed.json("check")["ok"]


def test_no_object_but_the_secret_holds_the_secret_key(installed, api):
    task = run_task(api, "import time; print('here'); time.sleep(6)")
    until("the task runs", lambda: status(api, task) == "in_progress")
    everything = installed.kubectl("get", "pods,deployments,replicasets,configmaps,events,leases", "--output=yaml")
    secret = installed.server.credentials[1]
    assert secret not in everything
    for word in everything.split("'"):  # the agent's scripts stand in the pod's arguments, encoded
        if len(word) > 40 and word.replace("\n", "").isalnum():
            assert secret.encode() not in base64.b64decode(word + "=" * (-len(word) % 4), validate=False)
    for pod in installed.pods():
        assert secret not in installed.kubectl("logs", pod["metadata"]["name"], "--all-containers")
    until("the task ended", lambda: status(api, task) == "completed", timeout_s=120)


def test_logs_follow_a_task_to_its_end_without_a_gap(installed, api):
    task = run_task(api, "import time\nfor i in range(8):\n    print('number', i, flush=True)\n    time.sleep(0.5)\n")
    lines = installed.run("logs", task, "--follow").splitlines()
    assert [line for line in lines if line.startswith("number ")] == [f"number {i}" for i in range(8)]
    until("its pod is gone", lambda: not any(task in pod["metadata"]["name"] for pod in installed.pods()), timeout_s=90)
    later = installed.run("logs", task).splitlines()
    assert [line for line in later if line.startswith("number ")] == [f"number {i}" for i in range(8)]


@pytest.mark.parametrize(
    ("code", "end", "reason"),
    [
        ("import time; print('alive', flush=True); time.sleep(300)", "delete", "Deleted"),
        ("x = []\nwhile True:\n    x.append(bytearray(2**26))", "", "OOMKilled"),
    ],
    ids=["deleted", "out of memory"],
)
def test_why_a_pod_died_is_on_the_tasks_record(installed, api, code, end, reason):
    task = run_task(api, code, name=reason)
    pod = f"clearml-id-{task}"
    if end:
        until("the task runs", lambda: status(api, task) == "in_progress", timeout_s=90)
        installed.kubectl("delete", "pod", pod, "--grace-period=1", "--wait=false")
    until("the task failed", lambda: status(api, task) == "failed", timeout_s=150)
    until(
        "its record says why",
        lambda: reason in (api("tasks.get_by_id", task=task)["task"].get("runtime") or {}).get("pod", ""),
        timeout_s=30,
    )
    assert reason in installed.run("logs", task)


def test_an_install_that_is_interrupted_is_completed_by_the_next(installed):
    words = ("--no-canary", "--set", "agentk8sglue.resources.limits.memory=620Mi")
    first = installed.start("install", *words)
    for line in first.stderr or ():
        if "has revision" in line:
            break
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == 130
    assert installed.json("install", *words)["result"] == "unchanged"
    assert installed.json("check", *words[1:])["ok"]


def test_two_installs_at_once_do_not_meet(installed):
    words = ("--set", "agentk8sglue.resources.limits.memory=630Mi")
    first = installed.start("install", *words)
    until("the first holds the lease", lambda: "lease" in installed.kubectl("get", "leases", "--output=name"))
    assert "works on release" in installed.run("install", *words, code=24)
    said = first.communicate(timeout=COMMAND_TIMEOUT_S)
    assert first.returncode == 0, said


def test_a_rollback_goes_back_and_proves_it(installed):
    installed.run("install", "--no-canary", "--set", "agentk8sglue.resources.limits.memory=650Mi")
    outcome = installed.json("rollback", "--no-canary")
    assert outcome["result"] == "rolled back"
    limits = json.loads(installed.kubectl("get", "deployment", "clearml-agent", "--output=json"))["spec"]["template"]
    assert limits["spec"]["containers"][0]["resources"]["limits"]["memory"] != "650Mi"


@pytest.mark.parametrize(
    ("env", "words", "code", "said"),
    [
        ({"KUBECONFIG": "/nowhere"}, [], 31, "no kubeconfig"),
        ({}, ["--context", "nobody"], 31, "has no context nobody"),
        ({}, ["--chart", "/nowhere.tgz"], 22, "does not exist"),
        ({"CLEARML_API_HOST": "http://127.0.0.1:9"}, [], 10, "a pod would ask itself"),
        ({"CLEARML_API_SECRET_KEY": "wrong", "CLEARML_API_ACCESS_KEY": "wrong"}, [], 42, "refuses the access key"),
    ],
    ids=["no kubeconfig", "context", "chart", "server", "keys"],
)
def test_bad_surroundings_are_named(deploy, env, words, code, said):
    assert said in deploy.run("install", *words, code=code, **env)


def test_an_uninstall_leaves_nothing(installed):
    installed.run("uninstall", "--yes")
    left = installed.kubectl(
        "get", "pods,deployments,replicasets,services,leases,roles,rolebindings,secrets", "--output=name"
    )
    assert left == ""
    assert "no release" in installed.run("uninstall", "--yes")
