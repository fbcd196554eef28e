"""The agent of a task pod as its image starts it, on a live server: the same as the agent's own way, sooner."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.fakes import agent_image

IMAGE = Path(__file__).parents[2] / "images/task"
PYTHON = str(agent_image.FOLDER / ".venv/bin/python")
OURS = [PYTHON, "-u", str(IMAGE / "start_agent.py")]
STOCK = [PYTHON, "-u", "-m", "clearml_agent"]
WAIT_S = 60

SCRIPT = """
import os, sys
print("script", os.getpid(), os.environ["CLEARML_TASK_ID"], flush=True)
sys.exit(3)
"""

STEP_PYTHON = """#!/bin/sh
[ "$2" = pip ] && exit 0
exec python3 "$@"
"""

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


def run(api, server, folder: Path, command: list[str]) -> tuple[str, str, int, set[int]]:
    """Run a task as a pod does; return its id, its console, the agent's exit code and the processes it forked."""
    folder.mkdir()
    step_python = folder / "step-python"
    step_python.write_text(STEP_PYTHON)
    step_python.chmod(0o755)
    queue = api("queues.create", name=f"agent {folder.name}")["id"]
    script = {"entry_point": "step.py", "working_dir": ".", "diff": SCRIPT, "requirements": {"pip": ""}}
    task = str(api("tasks.create", name="of a pod", type="testing", script=script)["id"])
    api("tasks.enqueue", task=task, queue=queue)
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "CLEARML_API_HOST": server.api_url,
        "CLEARML_WEB_HOST": server.api_url,
        "CLEARML_FILES_HOST": server.api_url,
        "CLEARML_API_ACCESS_KEY": server.credentials[0],
        "CLEARML_API_SECRET_KEY": server.credentials[1],
        "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": str(step_python),
        "CLEARML_WORKER_ID": "of-a-pod",
        "PYTHONWARNINGS": "ignore",
    }
    words = [*command, "execute", "--full-monitoring", "--require-queue", "--id", task]
    forks = set[int]()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(words, env=env, cwd=folder, stdout=output, stderr=output)
    deadline = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if child.cmdline()[: len(OURS)] == OURS:
                    forks.add(child.pid)
        time.sleep(0.01)
    process.kill()  # one that has not ended in time
    print((folder / "output").read_text())
    assert api("tasks.get_by_id", task=task)["task"]["status"] == "failed"
    events = api("events.get_task_log", task=task, order="asc", batch_size=5000)["events"]
    return task, "\n".join(str(event["msg"]) for event in events), process.returncode, forks


def alike(console: str, task: str, folder: Path) -> list[str]:
    """Return a console's words without what differs from one run to the next."""
    text = console.replace(task, "TASK").replace(str(folder), "HOME")
    return re.sub(r"\.clearml_agent[.\w]*", "FILE", re.sub(r"(script|process id) \d+", r"\1 PID", text)).split()


def test_a_task_runs_in_the_forked_process_as_in_the_agents_own(api, clearml_server, tmp_path):
    task, console, code, forks = run(api, clearml_server, tmp_path / "ours", OURS)
    assert any(f"script {pid} {task}" in console for pid in forks)
    stock_task, stock_console, stock_code, _ = run(api, clearml_server, tmp_path / "stock", STOCK)
    assert code == stock_code
    assert alike(console, task, tmp_path / "ours") == alike(stock_console, stock_task, tmp_path / "stock")
