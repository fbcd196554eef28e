"""What goes wrong around a deployed agent, done for real: each fault is named, in bounded time, and mended.

The others of the list are beside what they belong to: values, images, chart, kubeconfig and keys in test_deploy.py;
a missing or old helm in tests/integration/test_deploy_cli.py.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from clearml_access.agent_values import AgentValues, python_of
from tests.e2e.cluster_cli import until
from tests.e2e.deployer import COMMAND_TIMEOUT_S, Deployer, run_task, status

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

TASK_TIMEOUT_S = 300


def other_settings(memory: str) -> tuple[str, ...]:
    """An install that has something to do."""
    return ("--no-canary", "--set", f"agentk8sglue.resources.limits.memory={memory}")


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read the command's account until `text` comes."""
    for line in process.stderr or ():
        if text in line:
            return
    raise AssertionError(f"it ended with {process.wait()} before it said {text!r}")


def task_pod(deploy: Deployer, task: str) -> dict[str, object] | None:
    return next((pod for pod in deploy.pods() if pod["metadata"]["name"] == f"clearml-id-{task}"), None)


# -- rights


@pytest.fixture
def nobody(installed: Deployer, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of somebody who may do nothing."""
    installed.kubectl("create", "serviceaccount", "nobody")
    token = installed.kubectl("create", "token", "nobody").strip()
    config = yaml.safe_load(installed.cluster.layout.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    yield path
    installed.kubectl("delete", "serviceaccount", "nobody")


def test_who_may_not_is_told_what_and_how_to_get_it(installed, nobody):
    said = installed.run("install", code=33, KUBECONFIG=str(nobody))
    assert "create secrets" in said
    assert f"--clusterrole=admin --serviceaccount={installed.namespace}:nobody" in said
    assert "permission denied" in installed.run("status", code=33, KUBECONFIG=str(nobody))
    assert installed.json("check")["ok"]


# -- the ClearML server


def test_a_server_that_is_down_stops_an_install_before_it_changes_anything(deploy):
    host = deploy.server.api_url.rpartition(":")[0]
    said = deploy.run("install", code=41, CLEARML_API_HOST=f"{host}:9")
    assert f"{host}:9 does not answer" in said


def test_an_agent_outlives_its_server(installed, api):
    installed.server.stop()
    try:
        assert "server" in installed.failed(installed.json("check", code=41))
        assert "does not answer" in installed.run("install", code=41)
        seen = installed.json("status")
        assert seen["revision"]["status"] == "deployed"
        assert "does not answer" in " ".join(seen["unknown"])
    finally:
        installed.server.restart()
    until("the agent works again, by itself", installed.works)
    again = installed.json("install")
    assert again["result"] == "unchanged"
    assert again["canary"]["python"].startswith(f"{python_of(AgentValues.load().default_image)}.")


# -- pods that die


def test_a_step_outlives_its_agent(installed, api):
    task = run_task(api, "import time\nprint('begun', flush=True)\ntime.sleep(15)\nprint('done', flush=True)\n")
    until("the task runs", lambda: status(api, task) == "in_progress", TASK_TIMEOUT_S)
    (agent,) = installed.agents()
    installed.kubectl("delete", "pod", agent["metadata"]["name"], "--grace-period=0", "--force")
    until("the task completed", lambda: status(api, task) == "completed", TASK_TIMEOUT_S)
    said = installed.run("logs", task).splitlines()
    assert [line for line in said if line in ("begun", "done")] == ["begun", "done"]  # once
    until("the next agent has removed its pod", lambda: task_pod(installed, task) is None)
    assert installed.json("install")["result"] == "unchanged"  # the Deployment made another one, and it works
    assert installed.json("check")["ok"]


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
    if end:
        until("the task runs", lambda: status(api, task) == "in_progress", TASK_TIMEOUT_S)
        installed.kubectl("delete", "pod", f"clearml-id-{task}", "--grace-period=1", "--wait=false")
    until("the task failed", lambda: status(api, task) == "failed", TASK_TIMEOUT_S)
    until(
        "its record says why",
        lambda: reason in (api("tasks.get_by_id", task=task)["task"].get("runtime") or {}).get("pod", ""),
    )
    assert reason in installed.run("logs", task)


# -- a task that does not start


def test_a_task_that_finds_no_room_is_explained_and_starts_when_there_is_some(installed, api):
    (node,) = installed.cluster.kubectl("get", "nodes", "--output=name").split()
    installed.cluster.kubectl("cordon", node)
    try:
        task = run_task(api, "print('room at last')")
        until("its pod waits", lambda: task_pod(installed, task) is not None)
        found = installed.json("doctor", "--task", task, code=34)
        assert "task-pod" in installed.failed(found)
        assert "Unschedulable" in str(found)
    finally:
        installed.cluster.kubectl("uncordon", node)
    until("the task completed", lambda: status(api, task) == "completed", TASK_TIMEOUT_S)


def test_a_task_that_names_an_image_which_does_not_exist_fails_and_says_so(installed, api):
    task = run_task(api, "print('never')", container={"image": "clearml-pods-none:none"})
    until("the task failed", lambda: status(api, task) == "failed", TASK_TIMEOUT_S)
    record = api("tasks.get_by_id", task=task)["task"]
    assert "ImagePull" in record["status_reason"]
    assert "clearml-pods-none:none" in record["status_message"]
    until("its pod is gone", lambda: task_pod(installed, task) is None)
    assert "clearml-pods-none:none" in str(installed.json("doctor", "--task", task, code=43))


# -- an install that is disturbed


@pytest.mark.parametrize(
    ("line", "memory"),
    [("agent image in a pod", "610Mi"), ("task image in a pod", "615Mi"), ("has revision", "620Mi")],
    ids=["while it asks from pods", "in helm", "while it waits for the agent"],
)
def test_an_install_that_is_interrupted_is_completed_by_the_next(present, line, memory):
    words = other_settings(memory)
    first = present.start("install", *words)
    wait_for_line(first, line)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: helm gets it too
    _, said = first.communicate(timeout=COMMAND_TIMEOUT_S)
    assert first.returncode == 130, said
    assert present.json("install", *words)["result"] in ("unchanged", "upgraded")
    assert present.json("check", *words[1:])["ok"]
    assert [pod for pod in present.pods() if "probe" in pod["metadata"]["name"]] == []


def test_an_install_that_was_killed_inside_helm_is_completed_by_the_next(present):
    words = other_settings("625Mi")
    first = present.start("install", *words)
    wait_for_line(first, "has revision")
    os.killpg(first.pid, signal.SIGKILL)  # no time to give back its lease
    first.communicate(timeout=COMMAND_TIMEOUT_S)
    _mark_as_unfinished(present)
    outcome = present.run("install", *words)
    assert "an earlier operation was interrupted" in outcome
    assert present.json("check", *words[1:])["ok"]


def _mark_as_unfinished(deploy: Deployer) -> None:
    """Leave the release's last record as helm leaves it when it is killed at work."""
    secrets = json.loads(deploy.kubectl("get", "secrets", "--selector=owner=helm", "--output=json"))["items"]
    last = max(secrets, key=lambda secret: int(secret["metadata"]["labels"]["version"]))
    record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(last["data"]["release"]))))
    record["info"]["status"] = last["metadata"]["labels"]["status"] = "pending-upgrade"
    packed = base64.b64encode(gzip.compress(json.dumps(record).encode()))
    last["data"]["release"] = base64.b64encode(packed).decode()
    deploy.kubectl("replace", "--filename=-", stdin=json.dumps(last))


@pytest.mark.parametrize(
    ("line", "memory"),
    [("task image in a pod", "630Mi"), ("has revision", "635Mi")],
    ids=["in helm", "while it waits for the agent"],
)
def test_a_restart_of_the_api_server_is_survived_or_named(present, line, memory):
    words = other_settings(memory)
    first = present.start("install", *words)
    wait_for_line(first, line)
    (api_server,) = [row for row in present.cluster.run("status")["components"] if row["name"] == "kube-apiserver"]
    os.kill(api_server["pid"], signal.SIGKILL)
    _, said = first.communicate(timeout=COMMAND_TIMEOUT_S)
    assert first.returncode in (0, 32), said
    if first.returncode:
        assert "Error:" in said
        assert "Hint:" in said
    until("the cluster is back", lambda: present.cluster.state() == "running")
    assert present.json("install", *words)["result"] in ("unchanged", "upgraded", "installed")
    assert present.json("check", *words[1:])["ok"]


def test_two_installs_at_once_do_not_meet(present):
    words = other_settings("640Mi")
    first = present.start("install", *words)
    until("the first holds the lease", lambda: "lease" in present.kubectl("get", "leases", "--output=name"))
    os.killpg(first.pid, signal.SIGSTOP)  # so that it does not end before the second one asks
    try:
        assert "has been changing release" in present.run("install", *words, code=24)
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    said = first.communicate(timeout=COMMAND_TIMEOUT_S)
    assert first.returncode == 0, said
