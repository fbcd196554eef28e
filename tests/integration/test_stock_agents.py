"""`examples/` run by plain `clearml-agent daemon`s, as they are elsewhere: nothing of this machine's workers is in it.

Such an agent makes an environment for each task by pip, from the package index: a minute, and its own cache after that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access import processes
from pipeline.local_stack import MachineSettings
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import Done, PipelineCli

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1800)]

EXAMPLES = Path(__file__).parents[2] / "examples"
AGENT = MachineSettings.from_environ({}).agent_python
QUEUE = "default"
AGENTS = ("stock:1", "stock:2")
"""A controller holds one of them."""

RUN_TIMEOUT_S = 1_500


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The shell of somebody who has the agent and no configuration."""
    home = {"HOME": str(tmp_path_factory.mktemp("home"))}
    foreign = ("CLEARML_", "TRAINS_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | home


@pytest.fixture(scope="module")
def agents(
    server: ClearmlServer, client: ApiClient, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Two daemons; yields their log."""
    folder = tmp_path_factory.mktemp("agents")
    key, secret = server.credentials
    api = {
        "api_server": server.api_url,
        "web_server": server.web_url,
        "files_server": server.files_url,
        "credentials": {"access_key": key, "secret_key": secret},
    }
    if QUEUE not in {queue["name"] for queue in client("queues.get_all", only_fields=["name"])["queues"]}:
        client("queues.create", name=QUEUE)
    log, started = folder / "agents.log", []
    for name in AGENTS:
        # The cache is what its documentation advises: environments are kept.
        own = {"venvs_dir": str(folder / f"venvs-{name[-1]}"), "venvs_cache": {"path": str(folder / "cache")}}
        file = folder / f"clearml-{name[-1]}.conf"
        file.write_text(json.dumps({"api": api, "agent": own}))
        with log.open("ab") as output:
            agent = subprocess.Popen(
                [AGENT, "-m", "clearml_agent", "--config-file", file, "daemon", "--foreground", "--queue", QUEUE],
                env=environ | {"CLEARML_WORKER_ID": name}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        started.append(agent)
    try:
        known = processes.wait_until(
            lambda: set(AGENTS) <= {worker["id"] for worker in client("workers.get_all")["workers"]}, 120
        )
        assert known, log.read_text()
        yield log
    finally:
        families = [psutil.Process(process.pid) for process in started if process.poll() is None]
        families += [child for process in list(families) for child in process.children(recursive=True)]
        processes.end(families)
        for process in started:
            process.wait(30)


def test_both_examples_run_and_one_runs_again_with_another_parameter(
    server: ClearmlServer, client: ApiClient, environ: dict[str, str], agents: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(EXAMPLES, folder)
    shell = environ | server.environment
    cli = PipelineCli(shell, tmp_path)

    def run(*words: str) -> Done:
        command = cli.start(*words, "--json", "--timeout", str(RUN_TIMEOUT_S))
        stdout, stderr = command.communicate(timeout=RUN_TIMEOUT_S + 60)
        return Done(command.returncode, stdout, stderr)

    documents = {}
    for script, name in (("function_steps.py", "Function steps"), ("decorated.py", "Decorated")):
        started = subprocess.run(
            [sys.executable, script], cwd=folder, env=shell, capture_output=True, text=True, timeout=300, check=False
        )
        assert started.returncode == 0, started.stderr
        done = run("watch", name)
        assert done.code == 0, (done.stderr, agents.read_text()[-3000:])
        documents[name] = done.document
    assert "[controller] mean 10.04" in cli("logs", "Decorated").stdout.splitlines()
    for document in documents.values():
        tasks = [document["run_id"], *(step["task_id"] for step in document["steps"])]
        found = client("tasks.get_all", id=tasks, only_fields=["last_worker"], search_hidden=True)["tasks"]
        assert {task["last_worker"] for task in found} <= set(AGENTS)

    again = run("rerun", documents["Function steps"]["run_id"], "--set", "limit=9")
    assert again.code == 40, again.stderr
    assert "step check: ValueError: mean 10.04 is over 9" in again.document["error"]
    assert {step["name"]: step["status"] for step in again.document["steps"]} == {
        "make_numbers": "cached",
        "summarise": "cached",
        "check": "failed",
    }
