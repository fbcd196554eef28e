"""`examples/` and a project of `pipeline new` as pods, each started as its page says.

One file of values serves the queue `default`, where scripts that know of the SDK alone go; the project has its own.
"""

from __future__ import annotations

import re
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


def start(script: str, *words: str, folder: Path, env: dict[str, str]) -> str:
    """Start a pipeline as its author does; return what it prints."""
    command = [sys.executable, script, *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_examples_and_a_new_project_run_as_pods(
    deploy: Deployer, api: ApiClient, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    queues = tmp_path / "queues"
    queues.mkdir()
    request.addfinalizer(lambda: deploy.run("uninstall", "--yes", AGENT_QUEUES=str(queues)))
    (queues / "default.yaml").write_text(yaml.safe_dump({"agentk8sglue": {"queue": "default"}}))
    project = tmp_path / "house-prices"
    subprocess.run(
        [sys.executable, "-m", "pipeline", "new", "house-prices", "--folder", str(tmp_path)],
        env=deploy.env, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    shutil.copy(project / "queue.yaml", queues / "house-prices.yaml")
    with stage("queues default and house-prices installed"):
        deploy.run("install", "--no-canary", AGENT_QUEUES=str(queues))
    folder = tmp_path / "elsewhere"  # in a repository, the SDK records where its remote is, and pods clone it
    shutil.copytree(EXAMPLES, folder)
    for script in sorted(folder.glob("*.py")):
        start(script.name, folder=folder, env=deploy.env)
    (script,) = project.glob("*.py")
    said = start(script.name, "--queue", "house-prices", folder=project, env=deploy.env)
    [run] = re.findall(r"^run (\w{32})$", said, re.MULTILINE)

    pipeline = Pipeline(deploy, tmp_path)
    with stage("both examples and the project in pods"):
        documents = {name: pipeline("watch", name)[0] for name in ("Function steps", "Decorated")}
        documents["House prices"] = pipeline("watch", run)[0]
    with stage("the project's run repeated with another parameter"):
        again, _ = pipeline("rerun", run, "--set", "limit=12")
    assert {step["name"]: step["cached"] for step in again["steps"]} == {"make_numbers": True, "check_mean": False}
    steps = {name: [step["name"] for step in document["steps"]] for name, document in documents.items()}
    assert steps == {
        "Function steps": ["make_numbers", "summarise", "check"],
        "Decorated": ["make_numbers", "mean_of"],
    } | {"House prices": ["make_numbers", "check_mean"]}
    for document in documents.values():
        tasks = [document["run_id"], *(step["task_id"] for step in document["steps"])]
        for task in api("tasks.get_all", id=tasks, only_fields=["id", "last_worker"], search_hidden=True)["tasks"]:
            assert task["last_worker"].endswith(f":{task['id']}"), "each ran in a pod of its own"
