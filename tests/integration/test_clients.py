"""Older and the newest SDKs and agents against a live server: a task, a dataset, a local pipeline, a task from a queue.

Which ones they are stands in `tests/clients/pyproject.toml`, locked; each has an environment of its own, which uv makes
in `.local/clients` and keeps for the next time.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.test_agent_tasks import agent, console, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"
PAIRS = {"sdk-1-16": "agent-1-9", "sdk-1-18": "agent-2-0", "sdk-newest": "agent-newest"}
MAKE_TIMEOUT_S = 120
RUN_TIMEOUT_S = 180


def environment_of(group: str) -> Path:
    """Return the interpreter of a dependency group's environment, which is made if it is not there."""
    folder = ROOT / ".local" / "clients" / group
    subprocess.run(
        ["uv", "sync", "--quiet", "--frozen", "--compile-bytecode", "--project", str(CLIENTS), "--only-group", group],
        env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder)},
        check=True,
        timeout=MAKE_TIMEOUT_S,
    )
    return folder / "bin" / "python"


@dataclass
class Outcome:
    """What came of one pair."""

    found: dict[str, Any]
    """What the scenario says: ids of a task, a dataset and a pipeline, and the dataset's rows."""

    from_queue: dict[str, Any]
    """The task that the agent has run."""

    printed: str
    """Its console."""


def run_pair(server: ClearmlServer, sdk: str, agent_group: str, folder: Path) -> Outcome:
    """Run the scenario with an SDK; then have an agent run a task in its environment, which lists the dataset."""
    python, agent_python = environment_of(sdk), environment_of(agent_group)
    folder.mkdir()
    configuration = folder / "clearml.conf"
    # As a subprocess, reporting is looked at every 5 s, twice: 10 s more at the end of each process.
    configuration.write_text("sdk { development { report_use_subprocess: false } }\n")
    environment = os.environ | server.environment | {"HOME": str(folder), "TMPDIR": str(folder)}
    environment |= {"CLEARML_CONFIG_FILE": str(configuration), "CLEARML_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [str(python), str(CLIENTS / "scenario.py")],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    with closing(ApiClient(server.api_url, server.credentials)) as api:
        queue = api("queues.create", name=f"queue of {agent_group}")["id"]
        code = (
            "from clearml import Dataset, Task\n"
            "task = Task.init()\n"
            f"files = Dataset.get(dataset_id={found['dataset']!r}).list_files()\n"
            "task.get_logger().report_scalar('numbers', 'one', value=1.0, iteration=3)\n"
            "print('read', *files)\n"
        )
        script = {"binary": "python3", "entry_point": "job.py", "working_dir": ".", "diff": code}
        script |= {"requirements": {"pip": "clearml\n"}}
        project = api("tasks.get_by_id", task=found["task"])["task"]["project"]
        task = api("tasks.create", name="from a queue", type="training", project=project, script=script)["id"]
        api("tasks.enqueue", task=task, queue=queue)
        with agent(server, queue, folder / "agent", agent_python=agent_python, task_python=python):
            ended = wait_for(
                api, task, lambda found: found["status"] not in ("queued", "in_progress"), folder / "agent"
            )
        return Outcome(found, ended, console(api, task))


@pytest.fixture(scope="module", params=PAIRS)
def outcome(
    request: pytest.FixtureRequest, clearml_server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    """Run one pair, once for all its tests."""
    return run_pair(clearml_server, request.param, PAIRS[request.param], tmp_path_factory.mktemp("clients") / "pair")


@pytest.fixture
def get(api: ApiClient) -> Callable[[str], dict[str, Any]]:
    return lambda task: api("tasks.get_by_id", task=task)["task"]


def test_an_sdk_runs_a_task_a_dataset_and_a_local_pipeline(outcome, get, api):
    found = outcome.found
    task, dataset, pipeline = (get(found[name]) for name in ("task", "dataset", "pipeline"))
    assert [item["status"] for item in (task, dataset, pipeline)] == ["completed"] * 3
    assert task["hyperparams"]["General"]["rate"]["value"] == "0.5"
    assert task["last_iteration"] == 2
    assert "the task speaks" in console(api, found["task"])
    assert found["rows"] == ["number", "7"]
    steps = api("tasks.get_all", parent=[found["pipeline"]], search_hidden=True)["tasks"]
    results = {step["name"]: step["hyperparams"]["return"]["result"]["value"] for step in map(get, ids(steps))}
    assert (results, {step["status"] for step in steps}) == ({"first": "8", "second": "16"}, {"completed"})


def ids(tasks: list[dict[str, Any]]) -> list[str]:
    return [task["id"] for task in tasks]


def test_an_agent_runs_a_task_of_its_queue(outcome):
    task = outcome.from_queue
    assert (task["status"], task["last_iteration"]) == ("completed", 3), outcome.printed
    assert "read numbers.csv" in outcome.printed
    assert "clearml==" in str(task["script"]["requirements"]["pip"])
