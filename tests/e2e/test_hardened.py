"""The journey in a company's namespace, with two queues of different pods, beside a release of somebody else.

Pod Security "restricted", a ResourceQuota, a LimitRange, a NetworkPolicy that denies all but what is needed, and a node
with a taint. The cluster enforces the policies: what runs here has all that it needs,
and a pod to which none allows anything reaches nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access.agent_values import AgentValues
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli, stage, until
from tests.e2e.deployer import Deployer, Pipeline, run_task, status
from tests.integration.pipeline_cli import BATCH_ROWS, review_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_200)]

NAMESPACE = f"hardened-{os.getpid()}"
QUEUE, LARGE_QUEUE, FOREIGN_QUEUE = "hardened", "hardened-large", "foreign"
FOREIGN = ("--release", "clearml-agent-gpu", "--set", f"agentk8sglue.queue={FOREIGN_QUEUE}")

LIMITS = {
    "type": "Container",
    "min": {"cpu": "10m", "memory": "16Mi"},
    "max": {"memory": "8Gi"},
    "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
    "default": {"cpu": "2", "memory": "1Gi"},
}
QUOTA = {"pods": "12", "requests.memory": "8Gi", "limits.memory": "40Gi", "limits.cpu": "24"}
TOLERATIONS = [{"key": "dedicated", "operator": "Equal", "value": "agents", "effect": "NoSchedule"}]

LOOKS_FOR_A_TOKEN = """\
import glob, os
print("tokens:", glob.glob("/var/run/secrets/kubernetes.io/serviceaccount/*"), "uid:", os.getuid(), flush=True)
"""
CONNECTS_UNTIL_IT_CANNOT = """\
import socket, sys, time
end = time.monotonic() + 120
while time.monotonic() < end:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()
    except TimeoutError:
        sys.exit("the server cannot be reached")
    time.sleep(0.5)
"""
"""A policy is in force about a second after a pod has its address."""

UNTRUSTED = "untrusted"
"""The label of pods to which no policy allows anything."""

WAITS = "import time\nprint('here', flush=True)\ntime.sleep(900)\n"


def rules(server: ClearmlServer, api_server: str) -> Iterator[dict]:
    """Yield the namespace and all that restricts it."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    yield {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": QUOTA}}
    yield {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "sizes"}, "spec": {"limits": [LIMITS]}}
    host = server.api_url.rpartition(":")[0].rpartition("/")[2]
    needed = [
        {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        {"to": [{"ipBlock": {"cidr": f"{host}/32"}}]},
        {"to": [{"ipBlock": {"cidr": f"{api_server}/32"}}]},
    ]
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    trusted = {"matchExpressions": [{"key": UNTRUSTED, "operator": "DoesNotExist"}]}
    allow = {"podSelector": trusted, "policyTypes": ["Egress"], "egress": needed}
    for name, spec in (("deny", deny), ("needed", allow)):
        yield {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": spec,
        }


@pytest.fixture
def hardened(cluster_with_images: ClusterCli, reachable_server: ClearmlServer, tmp_path: Path) -> Iterator[Deployer]:
    """The command line in that namespace; the node is tainted while the test runs."""
    cluster = cluster_with_images
    # Beside an agent of the same name this one would be called otherwise on the server.
    own = Deployer(cluster, reachable_server)
    if cluster.kubectl("get", "namespace", own.namespace, "--ignore-not-found"):
        own.run("uninstall", "--yes")
    (node,) = json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]
    address = next(item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP")
    namespace, *others = rules(reachable_server, address)
    cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(namespace))
    cluster.kubectl("apply", f"--namespace={NAMESPACE}", "--filename=-", stdin=yaml.safe_dump_all(others))
    taint = f"{TOLERATIONS[0]['key']}={TOLERATIONS[0]['value']}:{TOLERATIONS[0]['effect']}"
    cluster.kubectl("taint", "nodes", node["metadata"]["name"], taint)
    values = {"agentk8sglue": {"tolerations": TOLERATIONS, "basePodTemplate": {"tolerations": TOLERATIONS}}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    try:
        yield Deployer(cluster, reachable_server, NAMESPACE, QUEUE, (tmp_path / "values.yaml",))
    finally:
        cluster.kubectl("taint", "nodes", node["metadata"]["name"], f"{taint}-")
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def untrusted_pod(server: ClearmlServer) -> dict[str, Any]:
    """Return a pod that asks for the server, and has no policy that allows it."""
    host, _, port = server.api_url.rpartition("/")[2].rpartition(":")
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    container = {
        "name": "main",
        "image": AgentValues.load().default_image,
        "command": ["python3", "-c", CONNECTS_UNTIL_IT_CANNOT, host, port],
        "securityContext": {**context, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    spec = {"restartPolicy": "Never", "tolerations": TOLERATIONS, "containers": [container]}
    metadata = {"name": UNTRUSTED, "labels": {UNTRUSTED: ""}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pod_phase(deploy: Deployer, task: str) -> str:
    found = [pod for pod in deploy.pods() if pod["metadata"]["name"] == f"clearml-id-{task}"]
    return str(found[0]["status"]["phase"]) if found else "gone"


def test_install_run_and_uninstall_beside_a_foreign_release(hardened: Deployer, api: ApiClient, tmp_path: Path) -> None:
    none = replace(hardened, values=())
    said = none.run("install", code=34)
    assert "untolerated taint" in said
    words = ("--set", "agentk8sglue.basePodTemplate.containerSecurityContext=null")
    said = hardened.run("install", *words, code=36)
    assert 'violates PodSecurity "restricted:latest"' in said and "allowPrivilegeEscalation != false" in said

    with stage("a pod without a policy"):
        hardened.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(untrusted_pod(hardened.server)))
        ended = "{.status.containerStatuses[0].state.terminated.exitCode}"
        words = ("get", "pod", UNTRUSTED, f"--output=jsonpath={ended}")
        until("the pod has ended", lambda: bool(hardened.kubectl(*words)))
        assert "the server cannot be reached" in hardened.kubectl("logs", UNTRUSTED)
        hardened.kubectl("delete", "pod", UNTRUSTED)

    with stage("a foreign release with a task"):
        hardened.run("install", "--no-canary", *FOREIGN)
        foreign = run_task(api, WAITS, queue=FOREIGN_QUEUE)
        until("the foreign task runs", lambda: status(api, foreign) == "in_progress")

    queues = {"AGENT_QUEUES": str(tmp_path / "queues")}
    (tmp_path / "queues").mkdir()
    large = {"queue": LARGE_QUEUE, "basePodTemplate": {"resources": {"requests": {"memory": "300Mi"}}}}
    (tmp_path / "queues/large.yaml").write_text(yaml.safe_dump({"agentk8sglue": large}))
    with stage("install with canary"):
        installed = hardened.json("install", **queues)["releases"]
    assert [(each["release"], each["result"]) for each in installed] == [
        ("clearml-agent", "installed"),
        ("clearml-agent-large", "installed"),
    ]
    doctor = hardened.json("doctor")
    found = {check["id"]: check for check in doctor["checks"]}
    assert doctor["ok"], found
    enforced = found["namespace-rules"]["evidence"]
    for text in ("enforce restricted", "ResourceQuota team", "LimitRange sizes", "deny denies all pods"):
        assert text in enforced
    assert (found["access"]["result"], found["admission"]["result"]) == ("ok", "ok")

    with stage("DataPrepare"):
        pipeline = Pipeline(hardened, tmp_path)
        pipeline("dataset", "upload", str(review_file(tmp_path / "train.csv")), "--batch-size", str(BATCH_ROWS))
        words = ("--queue", QUEUE, "--step-queue", f"train_processing={LARGE_QUEUE}")
        document, _ = pipeline("run", *words, "--no-cache", "--follow")
    assert document["status"] == "completed"
    tasks = {step["name"]: step["task_id"] for step in document["steps"]}
    agents = {name: api("tasks.get_by_id", task=task)["task"]["runtime"]["pod_agent"] for name, task in tasks.items()}
    assert [name for name, agent in agents.items() if agent.startswith("clearml-agent-large/")] == ["train_processing"]

    task = run_task(api, LOOKS_FOR_A_TOKEN, queue=QUEUE)
    assert "tokens: [] uid: 1000" in hardened.run("logs", task, "--follow")
    account = f"system:serviceaccount:{NAMESPACE}:clearml-agent"
    assert rights(hardened, f"{account}-tasks") == rights(hardened, f"system:serviceaccount:{NAMESPACE}:default")
    assert not {
        line for line in rights(hardened, f"{account}-sa") if line.startswith(("secrets", "events", "services"))
    }

    own = run_task(api, WAITS, queue=QUEUE)
    until("the release's own task runs", lambda: status(api, own) == "in_progress")
    assert [pod["name"] for pod in hardened.json("status")["task_pods"]] == [f"clearml-id-{own}"]
    assert "Error: releases clearml-agent and clearml-agent-large in namespace" in hardened.run("uninstall", code=4)
    with stage("uninstall"):
        hardened.run("uninstall", "--yes", "--delete-queue", "--delete-namespace", **queues)
    assert (status(api, own), status(api, foreign)) == ("stopped", "in_progress")
    assert (pod_phase(hardened, own), pod_phase(hardened, foreign)) == ("gone", "Running")
    kinds = "pods,deployments,leases,roles,rolebindings,secrets,serviceaccounts"
    listed = hardened.kubectl("get", kinds, "--output=name").split()
    assert [name for name in listed if "clearml-agent" in name and "clearml-agent-gpu" not in name] == []
    time.sleep(6)  # a round of the foreign agent: it sees its own task's pod, and leaves it
    assert hardened.json("check", *FOREIGN)["ok"]
    assert status(api, foreign) == "in_progress"

    hardened.run("uninstall", "--yes", "--delete-queue", *FOREIGN)
    assert status(api, foreign) == "stopped"


def rights(deploy: Deployer, user: str) -> set[str]:
    """Return what a user may do in the namespace, a line for each kind."""
    lines = deploy.kubectl("auth", "can-i", "--list", f"--as={user}", "--no-headers").splitlines()
    return {" ".join(line.split()) for line in lines}
