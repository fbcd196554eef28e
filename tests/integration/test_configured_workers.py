"""`python -m pipeline workers up|status|down`: agents of this machine on a server that it did not start itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access import credentials, processes
from pipeline import preflight
from pipeline.clearml_server import ClearmlServer as PipelineServer
from pipeline.local_stack.configuration import WORKER_VARIABLE
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import PipelineCli

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

TASK_TIMEOUT_S = 240
"""Of a hang, and not of a busy machine: with eight processes beside it, a task takes two minutes."""
UP = ("workers", "up", "--steps", "1", "--controllers", "1", "--queue", "more steps", "--json")


@pytest.fixture(scope="module")
def server(clearml_server_factory: Callable[[], ClearmlServer]) -> ClearmlServer:
    return clearml_server_factory()


@pytest.fixture(scope="module")
def client(server: ClearmlServer) -> Iterator[ApiClient]:
    with closing(ApiClient(server.api_url, server.credentials)) as client:
        yield client


@pytest.fixture(scope="module")
def cli(server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineCli]:
    folder = tmp_path_factory.mktemp("workers")
    cli = PipelineCli({**os.environ, **server.environment, "CLEARML_PODS_STATE": str(folder / "state")}, folder)
    yield cli
    assert cli("workers", "down", "--all").code == 0
    assert ours(folder) == []


def ours(folder: Path) -> list[psutil.Process]:
    """Return what runs of the workers in a state folder below `folder`."""
    found = processes.families(WORKER_VARIABLE)
    return [process for place, family in found.items() if place.startswith(str(folder)) for process in family]


def wait(client: ApiClient, task: str, status: str) -> None:
    deadline = time.monotonic() + TASK_TIMEOUT_S
    while (found := client("tasks.get_by_id", task=task)["task"]["status"]) != status:
        assert time.monotonic() < deadline, f"task {task} is {found}"
        time.sleep(0.2)


def enqueue(client: ApiClient, code: str) -> str:
    script = {"diff": code, "entry_point": "probe.py", "working_dir": ".", "binary": "python3.11"}
    script["requirements"] = {"pip": "clearml\n"}
    task: str = client("tasks.create", name="probe", type="data_processing", script=script)["id"]
    client("tasks.enqueue", task=task, queue_name="more steps")
    return task


def last_worker(client: ApiClient, task: str) -> str | None:
    return client("tasks.get_by_id", task=task)["task"].get("last_worker")  # type: ignore[no-any-return]


def test_workers_are_started_once_run_our_package_and_end_with_their_tasks(cli, client, server):
    assert cli("workers", "status", "--json").code == 3
    first = cli(*UP)
    assert first.code == 0, first.stderr
    assert first.document["started"] == ["controllers", "steps-1"]
    assert first.document["made_queues"] == ["more steps", "services"]
    assert first.document["api"] == server.api_url
    again = cli(*UP).document
    assert (again["started"], again["made_queues"], again["workers"]) == ([], [], first.document["workers"])

    task = enqueue(client, "import pipeline\nfrom pipeline.amazon_reviews import step_work\nprint('done')\n")
    wait(client, task, "completed")
    found = cli("workers", "status", "--json")
    assert found.code == 0, found.stderr
    assert [(row["name"], row["queue"], row["live"]) for row in found.document["workers"]] == [
        ("controllers", "services", True),
        ("steps-1", "more steps", True),
    ]
    assert {row["id"] for row in found.document["workers"]} == set(first.document["workers"])
    assert {(row["name"], row["waiting"], row["workers"]) for row in found.document["queues"]} == {
        ("more steps", 0, 1),
        ("services", 0, 1),
    }

    configured = PipelineServer.of(credentials.find(cli.environ))
    assert preflight.unfit_workers(configured, "more steps") == ()
    broken = enqueue(client, f"raise ModuleNotFoundError({preflight.NO_PACKAGE!r})\n")
    wait(client, broken, "failed")
    (warning,) = preflight.unfit_workers(configured, "more steps")
    steps = next(row["id"] for row in found.document["workers"] if row["name"] == "steps-1")
    assert f"worker {steps} of queue 'more steps' cannot run these tasks: task {broken}" in warning

    running = enqueue(client, "import time\ntime.sleep(300)\n")
    wait(client, running, "in_progress")
    assert cli("workers", "down", "--json").document == {"stopped": ["controllers", "steps-1"]}
    assert ours(cli.folder) == []
    assert client("tasks.get_by_id", task=running)["task"]["status"] in ("stopped", "failed")
    assert cli("workers", "down").stdout == "No worker was running.\n"
    assert "./task workers-up" in cli("workers", "status").stdout


def test_a_task_of_a_killed_worker_ends_with_the_workers(cli, client):
    """Its agent reports nothing. The same holds for one that is ended between taking a task and starting it."""
    up = cli("workers", "up", "--steps", "1", "--controllers", "0", "--queue", "more steps", "--json")
    running = enqueue(client, "import time\ntime.sleep(300)\n")
    (worker,) = up.document["workers"]
    assert processes.wait_until(lambda: last_worker(client, running) == worker, TASK_TIMEOUT_S)

    def nothing_is_left() -> bool:
        left = ours(cli.folder)  # also what was just being started
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return not left

    assert processes.wait_until(nothing_is_left, TASK_TIMEOUT_S)
    assert cli("workers", "down", "--json").document == {"stopped": []}
    task = client("tasks.get_by_id", task=running)["task"]
    assert (task["status"], task["status_reason"]) == ("stopped", f"its worker {worker} was ended")


def test_workers_of_two_servers_run_side_by_side(cli, clearml_server_factory):
    other = clearml_server_factory()
    elsewhere = other.environment
    assert cli("workers", "up", "--steps", "0", "--controllers", "1").code == 0
    assert cli("workers", "up", "--steps", "0", "--controllers", "1", **elsewhere).code == 0
    assert cli("workers", "down", "--json", **elsewhere).document == {"stopped": ["controllers"]}
    assert cli("workers", "status").code == 0
    assert cli("workers", "down", "--all", "--json").document == {"stopped": ["controllers"]}


def test_a_refused_key_is_said_before_anything_starts(cli):
    done = cli("workers", "up", "--json", CLEARML_API_SECRET_KEY="wrong")
    assert (done.code, done.document["exit_code"]) == (30, 30)
    assert "refuses the access key" in done.stderr
    assert ours(cli.folder) == []


def test_status_says_why_the_server_could_not_be_asked(cli):
    done = cli("workers", "status", CLEARML_API_HOST="http://127.0.0.1:1")
    assert done.code == 3
    assert "Problem:     ClearML server http://127.0.0.1:1 does not answer" in done.stdout


def test_without_a_configured_server_nothing_starts(cli, tmp_path):
    unset = dict.fromkeys(("CLEARML_CONFIG_FILE", "CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY"), "")
    done = cli("workers", "up", HOME=str(tmp_path), CLEARML_API_SECRET_KEY="", **unset)
    assert done.code == 30
    assert "the ClearML server is not known" in done.stderr


def test_the_workers_of_this_machines_own_server_are_those_of_server_up(cli, server):
    """Where the configured server is that one, there are no two sets of workers with the same ids."""
    state = cli.folder / "own"
    own = state / "server" / "clearml.conf"
    own.parent.mkdir(parents=True)
    own.write_bytes((server.data / "clearml.conf").read_bytes())
    changes = {"CLEARML_PODS_STATE": str(state)}
    try:
        assert cli("workers", "up", "--steps", "0", "--controllers", "1", **changes).code == 0
        assert [path.name for path in (state / "workers").iterdir()] == ["controllers"]
        assert cli("workers", "status", **changes).code == 0
    finally:
        assert cli("workers", "down", "--json", **changes).document == {"stopped": ["controllers"]}
