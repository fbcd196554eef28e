"""`examples/` as pods: one file of values serves the queue `default`, where scripts that know of the SDK alone go."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.api_client import ApiClient
from tests.e2e.cluster_cli import stage
from tests.e2e.deployer import Deployer, Pipeline

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_both_examples_run_as_pods(
    deploy: Deployer, api: ApiClient, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    queues = tmp_path / "queues"
    queues.mkdir()
    request.addfinalizer(lambda: deploy.run("uninstall", "--yes", AGENT_QUEUES=str(queues)))
    (queues / "default.yaml").write_text(yaml.safe_dump({"agentk8sglue": {"queue": "default"}}))
    with stage("queue default installed"):
        deploy.run("install", "--no-canary", AGENT_QUEUES=str(queues))
    folder = tmp_path / "elsewhere"  # in a repository, the SDK records where its remote is, and pods clone it
    shutil.copytree(EXAMPLES, folder)
    for script in sorted(folder.glob("*.py")):
        command = [sys.executable, script.name]
        done = subprocess.run(command, cwd=folder, env=deploy.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    pipeline = Pipeline(deploy, tmp_path)
    with stage("both examples in pods"):
        documents = {name: pipeline("watch", name)[0] for name in ("Function steps", "Decorated")}
    steps = {name: [step["name"] for step in document["steps"]] for name, document in documents.items()}
    assert steps == {"Function steps": ["make_numbers", "summarise", "check"], "Decorated": ["make_numbers", "mean_of"]}
    for document in documents.values():
        tasks = [document["run_id"], *(step["task_id"] for step in document["steps"])]
        for task in api("tasks.get_all", id=tasks, only_fields=["id", "last_worker"], search_hidden=True)["tasks"]:
            assert task["last_worker"].endswith(f":{task['id']}"), "each ran in a pod of its own"
