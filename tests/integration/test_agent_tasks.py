"""What becomes of tasks in the hands of a real clearml-agent 1.9.2: run, stopped, lost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.web.pages import FROM_PAGE, Web, filled

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

AGENT_PYTHON = Path(__file__).resolve().parents[2] / "images" / "agent" / ".venv" / "bin" / "python"
DEADLINE_S = 240
"""Of a hang, and not of a busy machine: with eight processes beside it, a task takes two minutes."""

PRINTS = "from clearml import Task\nTask.init()\nprint('the task', 'speaks')\n"
SLEEPS = "import time\nprint('the task', 'sleeps', flush=True)\ntime.sleep(600)\n"
SLEEPS_A_WHILE = "import time\ntime.sleep(8)\nprint('the task', 'has slept', flush=True)\n"


@contextmanager
def agent(
    server: ClearmlServer,
    queue: str,
    home: Path,
    *,
    agent_python: Path = AGENT_PYTHON,
    task_python: Path = Path(sys.executable),
) -> Iterator[psutil.Process]:
    """Run an agent daemon on a queue; end it and all that it has started afterwards."""
    home.mkdir()
    environment = os.environ | server.environment
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "CLEARML_WORKER_ID": f"worker-{uuid4().hex[:8]}",
        "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": str(task_python),
        "PIP_NO_INDEX": "1",
    }
    command = [str(agent_python), "-m", "clearml_agent", "daemon", "--foreground", "--queue", queue]
    with (home / "agent.log").open("w") as log:
        process = psutil.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        kill(process)


def kill(process: psutil.Process) -> None:
    """End a daemon and its tasks as a power cut would."""
    family = [process, *process.children(recursive=True)] if process.is_running() else []
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)


def draft(api: ApiClient, code: str) -> str:
    script = {"binary": "python3", "entry_point": "job.py", "working_dir": ".", "diff": code}
    task = api("tasks.create", name="an agent's task", type="training", script=script | {"requirements": {"pip": ""}})
    return str(task["id"])


def enqueue(api: ApiClient, queue: str, code: str) -> str:
    task = draft(api, code)
    api("tasks.enqueue", task=task, queue=queue)
    return task


def edit_on_its_page(server: ClearmlServer, task: str, old: str, new: str) -> None:
    """Change the text of a draft's script as a person does in a browser."""
    with closing(Web(server.web_url).http) as http:
        page = http.get(f"/tasks/{task}/edit").text
        form = filled(page, "/tasks/")
        changed = form | {"s:diff": form["s:diff"].replace(old, new)}
        assert http.post(f"/tasks/{task}/edit", data=changed, headers=FROM_PAGE).status_code == 303


def wait_for(api: ApiClient, task: str, wanted: Callable[[dict[str, Any]], bool], home: Path) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found: dict[str, Any] = api("tasks.get_by_id", task=task)["task"]
        if wanted(found):
            return found
        time.sleep(0.3)
    raise AssertionError(f"{found['status']} {found.get('status_message')}: {(home / 'agent.log').read_text()[-3000:]}")


def console(api: ApiClient, task: str) -> str:
    events = api("events.get_task_log", task=task, batch_size=1000, navigate_earlier=False)["events"]
    return "".join(event["msg"] for event in events)


def in_hand(api: ApiClient, task: str) -> bool:
    """Whether a worker still has the task in hand: it looks at its process every 5 s."""
    return any((worker.get("task") or {}).get("id") == task for worker in api("workers.get_all")["workers"])


@pytest.fixture
def queue(api: ApiClient) -> str:
    return str(api("queues.create", name=f"queue {uuid4().hex[:8]}")["id"])


def test_a_task_is_run_and_one_that_runs_is_stopped(
    api: ApiClient, queue: str, clearml_server: ClearmlServer, tmp_path: Path
) -> None:
    home = tmp_path / "agent"
    with agent(clearml_server, queue, home):
        first = draft(api, PRINTS.replace("speaks", "is a draft"))
        edit_on_its_page(clearml_server, first, "is a draft", "speaks")
        api("tasks.enqueue", task=first, queue=queue)
        second = enqueue(api, queue, SLEEPS)
        done = wait_for(api, first, lambda task: task["status"] not in ("queued", "in_progress"), home)
        assert (done["status"], done["status_reason"]) == ("completed", "worker execution done")
        assert "the task speaks" in console(api, first)
        assert done["runtime"]["_exec_agent_hostname"]
        assert "clearml" in str(done["script"]["requirements"])

        wait_for(api, second, lambda task: "the task sleeps" in console(api, second), home)
        assert api("tasks.stop", task=second)["fields"]["status_message"] == "stopping"
        stopped = wait_for(api, second, lambda task: task["status"] != "in_progress", home)
        assert (stopped["status"], stopped["status_reason"]) == ("stopped", "task was stopped by tasks.stop")


def test_a_task_stopped_in_its_first_seconds_does_not_run_to_its_end(
    api: ApiClient, queue: str, clearml_server: ClearmlServer, tmp_path: Path
) -> None:
    home = tmp_path / "agent"
    with agent(clearml_server, queue, home):
        task = enqueue(api, queue, SLEEPS_A_WHILE)
        wait_for(api, task, lambda task: task["status"] == "in_progress", home)
        time.sleep(0.3)  # between the agent's first word and its last
        api("tasks.stop", task=task)
        stopped = wait_for(api, task, lambda found: found["status"] != "in_progress" and not in_hand(api, task), home)
    assert stopped["status"] == "stopped"
    assert "the task has slept" not in console(api, task)


def test_the_task_of_a_lost_worker_fails_and_says_why(
    clearml_server_factory: Callable[[], ClearmlServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVER_WORKER_LOST_S", "12")
    server = clearml_server_factory()
    api = ApiClient(server.api_url, server.credentials)
    queue, home = str(api("queues.get_default")["id"]), tmp_path / "agent"
    with agent(server, queue, home) as daemon:
        task = enqueue(api, queue, SLEEPS)
        wait_for(api, task, lambda task: bool(task.get("last_worker")) and task["status"] == "in_progress", home)
        kill(daemon)
        lost = wait_for(api, task, lambda task: task["status"] != "in_progress", home)
    assert (lost["status"], lost["status_reason"]) == ("failed", "Forced stop (non-responsive)")
    assert lost["last_worker"] in lost["status_message"]
    api.close()
