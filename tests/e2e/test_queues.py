"""Two queues with different pods on a real cluster: one run uses both; each is changed and removed by itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster_cli import stage
from tests.e2e.deployer import QUEUE, Deployer
from tests.e2e.test_pods import POD, Pipeline
from tests.integration.pipeline_cli import BATCH_ROWS, review_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BASE, LARGE = "clearml-agent", "clearml-agent-large"
LARGE_QUEUE = "Large pods (größe 2/3) for steps that take long: a name that fits into no label of Kubernetes"


def write(folder: Path, memory: str) -> None:
    template = {"resources": {"requests": {"memory": memory}}, "env": [{"name": "SIZE", "value": "large"}]}
    glue = {"queue": LARGE_QUEUE, "basePodTemplate": template}
    (folder / "large.yaml").write_text(yaml.safe_dump({"agentk8sglue": glue}, allow_unicode=True))


def did(body: dict[str, Any]) -> dict[str, str]:
    return {each["release"]: each["result"] for each in body["releases"]}


def test_one_run_uses_two_queues_and_each_is_changed_and_removed_by_itself(deploy: Deployer, tmp_path: Path) -> None:
    folder = tmp_path / "queues"
    folder.mkdir()
    env = {"AGENT_QUEUES": str(folder)}
    write(folder, "300Mi")
    with stage("two queues installed"):
        deploy.run("install", "--no-canary", **env)
    assert deploy.json("check", **env)["ok"]

    pipeline = Pipeline(deploy, tmp_path)
    pipeline("dataset", "upload", str(review_file(tmp_path / "train.csv")), "--batch-size", str(BATCH_ROWS))
    seen: dict[str, dict[str, Any]] = {}
    words = ("run", "--queue", QUEUE, "--step-queue", f"train_processing={LARGE_QUEUE}", "--no-cache")
    with stage("a run on both queues"), ThreadPoolExecutor(1) as pool:
        run = pool.submit(pipeline, *words)
        while not run.done():
            seen |= {pod["metadata"]["name"]: pod for pod in deploy.pods() if pod["metadata"]["name"].startswith(POD)}
            time.sleep(0.5)
    document, _ = run.result()
    tasks = {step["name"]: step["task_id"] for step in document["steps"]} | {"controller": document["run_id"]}
    for name, task in tasks.items():
        pod = seen[POD + task]
        is_large = name == "train_processing"
        assert pod["metadata"]["labels"]["clearml-pods/release"] == (LARGE if is_large else BASE), name
        container = pod["spec"]["containers"][0]
        assert container["resources"]["requests"]["memory"] == ("300Mi" if is_large else "256Mi")
        assert ("SIZE" in {item["name"] for item in container["env"]}) is is_large
    assert len(tasks) == 4

    write(folder, "310Mi")
    with stage("one file changed"):
        assert did(deploy.json("install", "--no-canary", **env)) == {BASE: "unchanged", LARGE: "upgraded"}
    said = deploy.run("status", **env)
    assert f"worker: {LARGE} serves {LARGE_QUEUE}," in said and "requests cpu 50m, memory 310Mi" in said

    (folder / "large.yaml").unlink()
    with stage("one file removed"):
        assert did(deploy.json("install", "--no-canary", **env)) == {BASE: "unchanged", LARGE: "removed"}
    assert deploy.kubectl("get", "deployments", "--output=name").split() == [f"deployment.apps/{BASE}"]
    assert LARGE not in deploy.kubectl("get", "secrets,configmaps,serviceaccounts,roles,leases", "--output=name")
    assert deploy.json("check", **env)["ok"]
