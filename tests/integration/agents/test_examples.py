"""`examples/`: scripts that know of the ClearML SDK alone run on this machine's own workers, as they are.

Retried, aborted, and repeated from the web page with other parameters, as the pipelines of this repository are.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_access.processes import wait_until
from tests.integration.pipeline_cli import COMMAND_TIMEOUT_S
from tests.integration.test_agent_tasks import console
from tests.integration.web.pages import Web, filled

ROOT = Path(__file__).parents[3]
SCRIPTS = {"Function steps": "function_steps.py", "Decorated": "decorated.py"}

RETRIED = {
    "function_steps.py": {'version="1.0")': 'version="1.0", retry_on_failure=1)', '"limit", 11': '"limit", 9'},
    "decorated.py": {'(return_values=["mean"])': '(return_values=["mean"], retry_on_failure=1)', "rows=1000": "rows=0"},
}
"""What makes each script fail in one step, which the SDK is told to run once more."""

OTHERS = {"Function steps": {"limit": "11"}, "Decorated": {}}
"""What the newest run may have otherwise than the script says."""

ROWS_FOR_SECONDS = "5000000"

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(cli):
    """A folder outside this repository with the scripts, and workers."""
    cli("server", "up")
    folder = cli.folder / "elsewhere"
    shutil.copytree(ROOT / "examples", folder)
    return folder


@pytest.fixture(scope="module")
def start(cli, settings, folder):
    """Start a script as its author does."""
    environ = cli.environ | {"CLEARML_CONFIG_FILE": str(settings.configuration)}

    def start(script: str) -> None:
        done = subprocess.run(
            [sys.executable, script], cwd=folder, env=environ, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        assert done.returncode == 0, done.stderr

    return start


@pytest.fixture(scope="module")
def submitted(start):
    """Both scripts, started."""
    for script in SCRIPTS.values():
        start(script)


@pytest.fixture
def new_run(settings):
    """Press *New run* on the page of a run, change parameters, and send the form; return the id of the new run."""
    web = Web(f"http://{settings.host}:{settings.port_base + 80}")

    def press(run: str, **values: str) -> str:
        form = filled(web.get(f"/tasks/{run}/run"), f"/tasks/{run}/run")
        for name, value in values.items():
            [field] = [field for field in form if field.endswith(f"/{name}")]
            form[field] = value
        reply = web.post(f"/tasks/{run}/run", **form)
        assert reply.status_code == 303, reply.text[-600:]
        return reply.headers["Location"].split("/")[2].partition("?")[0]

    yield press
    web.http.close()


def steps(document: dict) -> dict[str, str]:
    return {step["name"]: step["status"] for step in document["steps"]}


def test_function_steps_run_and_run_again_with_another_parameter(cli, submitted):
    done = cli("watch", "Function steps", "--json")
    assert done.code == 0, done.stderr
    assert [step["name"] for step in done.document["steps"]] == ["make_numbers", "summarise", "check"]
    again = cli("rerun", done.document["run_id"], "--set", "limit=9", "--json")
    assert again.code == 40
    assert "step check: ValueError: mean 10.04 is over 9" in again.document["error"]
    assert steps(again.document) == {"make_numbers": "cached", "summarise": "cached", "check": "failed"}


def test_a_decorated_pipeline_runs(cli, submitted):
    done = cli("watch", "Decorated", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "completed"
    assert "[controller] mean 10.04" in cli("logs", "Decorated").stdout.splitlines()


@pytest.mark.thorough
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_web_page_repeats_a_run_with_another_parameter(cli, submitted, new_run, name):
    first = cli("watch", name, "--json")
    again = new_run(first.document["run_id"], rows="500", **OTHERS[name])
    done = cli("watch", again, "--json")
    assert done.code == 0, done.stderr
    assert done.document["run_id"] == again != first.document["run_id"]
    assert steps(done.document) == dict.fromkeys(steps(first.document), "completed"), "nothing of the first is reused"
    assert "] mean 9.99" in cli("logs", again).stdout


@pytest.mark.thorough
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_aborted_run_stops_with_its_step_and_frees_the_workers(cli, submitted, new_run, client, name):
    first = cli("watch", name, "--json")
    run = new_run(first.document["run_id"], rows=ROWS_FOR_SECONDS)

    def of_run(*status: str) -> list[dict]:
        fields = {"only_fields": ["name", "status"], "search_hidden": True}
        return client("tasks.get_all", parent=run, status=list(status), **fields)["tasks"]

    assert wait_until(lambda: of_run("in_progress"), 120)
    done = cli("abort", run)
    assert (done.code, f"Run {run} was aborted" in done.stdout) == (0, True), done.stderr
    assert client("tasks.get_by_id", task=run)["task"]["status"] == "stopped"
    assert {task["status"] for task in of_run()} == {"stopped"}

    def busy() -> list[str]:
        workers = client("workers.get_all", last_seen=120)["workers"]
        return [worker["id"] for worker in workers if worker.get("task")]

    assert wait_until(lambda: not busy(), 60), busy()
    watched = cli("watch", run, "--json")
    assert (watched.code, watched.document["status"]) == (40, "aborted")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "step", "error"),
    [
        ("Function steps", "check", "ValueError: mean 10.04 is over 9"),
        ("Decorated", "mean_of", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_step_that_fails_is_retried_as_its_script_says(cli, start, folder, client, name, step, error):
    text = (folder / SCRIPTS[name]).read_text().replace(f'name="{name}"', f'name="Retried {name}"')
    for before, after in RETRIED[SCRIPTS[name]].items():
        assert before in text
        text = text.replace(before, after)
    (folder / "retried.py").write_text(text)
    start("retried.py")
    done = cli("watch", f"Retried {name}", "--json")
    assert done.code == 40
    assert steps(done.document)[step] == "failed"
    tasks = client("tasks.get_all", parent=done.document["run_id"], name=f"^{step}$", search_hidden=True)["tasks"]
    [task] = tasks  # the SDK puts the same task into its queue again
    said = console(client, task["id"])
    assert f"Node '{step}' failed. Retrying... (this is retry number 1)" in said
    assert said.count(error) == 2, "it ran twice"
    assert task["status"] == "failed"
