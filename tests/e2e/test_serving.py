"""`deploy serve` on the real cluster, in a namespace with Pod Security "restricted", a quota and a LimitRange."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access.own_server import STATE_VARIABLE
from pipeline.amazon_reviews.definitions import PROJECT
from pipeline.amazon_reviews.training.model import FILE_NAME, Model
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli, stage
from tests.e2e.deployer import ROOT, Deployer
from tests.e2e.images import build_images, load_images

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

NAMESPACE = f"serve-{os.getpid()}"
NAME = "clearml-serving"
QUOTA = {"pods": "8", "requests.memory": "4Gi", "limits.memory": "12Gi", "limits.cpu": "16"}
LIMITS = {
    "type": "Container",
    "min": {"cpu": "10m", "memory": "16Mi"},
    "max": {"memory": "8Gi"},
    "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
    "default": {"cpu": "2", "memory": "1Gi"},
}
TOO_LITTLE = "resources={requests: {memory: 48Mi}, limits: {memory: 64Mi}}"
"""Less than the process takes until it is ready."""


def rules() -> Iterator[dict[str, Any]]:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    where = {"namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", **where}, "spec": {"hard": QUOTA}}
    yield {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "sizes", **where},
        "spec": {"limits": [LIMITS]},
    }
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody-elses", **where}, "data": {}}


def publish(server: ClearmlServer, api: ApiClient, folder: Path, lean: float) -> str:
    """Put a published model onto the server; return its id."""
    model = Model(
        kind="bernoulli-nb",
        terms=("awful", "book", "great"),
        idf=np.ones(3),
        weights=np.array([[lean, -1.0], [0.1, 0.2], [-1.0, lean]]),
        intercepts=np.array([0.1, 0.2]),
    )
    model.save(folder / FILE_NAME)
    name = f"models/{lean}/{FILE_NAME}"
    httpx.post(
        f"{server.files_url}/",
        files={name: (name, (folder / FILE_NAME).read_bytes())},
        headers={"Authorization": f"Bearer {api('auth.login')['token']}"},
        trust_env=False,
    ).raise_for_status()
    found = api("projects.get_all", name=f"^{PROJECT}$")["projects"] or [api("projects.create", name=PROJECT)]
    made = api("models.create", name="TF-IDF", uri=f"{server.files_url}/{name}", project=found[0]["id"], ready=True)
    return str(made["id"])


@pytest.fixture
def serving(
    cluster_with_images: ClusterCli, reachable_server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployer]:
    """The command line, in that namespace, with the image on the node."""
    if not os.environ.get("E2E_CLUSTER"):
        load_images(cluster_with_images, build_images(tmp_path_factory.mktemp("serving-image"), "serving"))
    cluster_with_images.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(rules()))
    found = replace(Deployer(cluster_with_images, reachable_server), namespace=NAMESPACE)
    # clearml-serving's own environment is made by uv.
    tools = [str(path) for path in ROOT.glob(".tools/*/bin")]
    found.env = found.env | {
        STATE_VARIABLE: str(tmp_path_factory.mktemp("state")),
        "PATH": os.pathsep.join([*tools, os.environ["PATH"]]),
    }
    yield found
    cluster_with_images.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def counted(serving: Deployer) -> set[tuple[str, str]]:
    """Return which models have answered which status, by the metrics of the pod."""
    path = f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}:8080/proxy/metrics"
    text = serving.kubectl("get", f"--raw={path}")
    return set(re.findall(r'serving_requests_total\{.*model_id="(\w*)".*status="(\d+)"', text))


def test_a_model_is_served_left_alone_rolled_back_and_removed(
    serving: Deployer, reachable_server: ClearmlServer, api: ApiClient, tmp_path: Path
) -> None:
    first = publish(reachable_server, api, tmp_path, 2.0)
    with stage("install"):
        done = serving.json("serve")
    assert (done["result"], done["model_id"], done["paths"]) == ("installed", first, ["reviews/1", "reviews"])
    assert counted(serving) == {(first, "200")}, "the pods that asked"
    (pod,) = serving.pods()
    (service,) = api("tasks.get_all", name="^Serving$", type=["service"], only_fields=["id", "status"])["tasks"]
    assert (service["id"], service["status"]) == (done["service_id"], "in_progress")
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "serviceaccount" not in json.dumps(container["volumeMounts"])

    with stage("again"):
        assert serving.json("serve")["result"] == "unchanged"
    assert [item["metadata"]["uid"] for item in serving.pods()] == [pod["metadata"]["uid"]]

    second = publish(reachable_server, api, tmp_path, 3.0)
    with stage("a newer model"):
        done = serving.json("serve", "--model", second)
    assert (done["result"], done["version"]) == ("upgraded", "2")
    assert [item["metadata"]["uid"] for item in serving.pods()] == [pod["metadata"]["uid"]], "no new pod"

    with stage("a process that runs out of memory"):
        said = serving.run("serve", "--set", TOO_LITTLE, code=34)
    assert "OOMKilled" in said and "--set resources.limits.memory" in said
    assert "undo: what was there before is back" in said
    status = serving.json("serve", "--status")
    assert (status["ready"], [item["state"] for item in status["pods"]]) == (1, ["ready"])
    with stage("what was there before answers"):
        assert serving.json("serve", "--model", second)["result"] == "unchanged"

    with stage("removal"):
        removed = serving.json("unserve", "--yes")["removed"]
    assert removed == [f"deployment/{NAME}", f"service/{NAME}", f"secret/{NAME}-keys"]
    assert api("tasks.get_by_id", task=service["id"])["task"]["status"] == "stopped"
    left = serving.kubectl("get", "pods,deployments,services,secrets,configmaps,leases", "--output=name").split()
    assert left == ["configmap/kube-root-ca.crt", "configmap/somebody-elses"]

    with stage("the same service, taken up again"):
        again = serving.json("serve", "--model", second)
    assert (again["result"], again["service_id"], again["version"]) == ("installed", service["id"], "2")
    assert api("tasks.get_by_id", task=service["id"])["task"]["status"] == "in_progress"
