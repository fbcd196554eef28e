"""The pytest plugin in a session of its own, as in another project's tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_access import processes
from tests.integration.test_clients import environment_of

pytestmark = pytest.mark.integration

TESTS = """
import os, pathlib

def test_one(clearml_server, record_property):
    assert os.environ["CLEARML_API_HOST"] == clearml_server.api_url
    pathlib.Path(os.environ["SEEN"], f"{os.getpid()} one").write_text(clearml_server.api_url)

def test_two(clearml_server):
    pathlib.Path(os.environ["SEEN"], f"{os.getpid()} two").write_text(clearml_server.api_url)
"""


WORKER_TESTS = """
import os, pathlib, signal
import pytest
from clearml import Task

def enqueue(code, queue):
    task = Task.create(project_name="tests", task_name="job", script="job.py")
    task.update_task({"script": {"diff": code, "entry_point": "job.py", "repository": "", "binary": "python3"}})
    Task.enqueue(task, queue_name=queue)
    return task.id

def test_a_worker_of_another_queue_runs_a_task_in_the_environment_of_the_tests(clearml_workers):
    worker = clearml_workers.start("gpu")
    assert (worker.queues, worker.process.poll()) == (("gpu",), None)
    task = enqueue("import beside, sys; print(beside.NAME, sys.executable)", "gpu")
    record = clearml_workers.wait(task)
    assert record["last_worker"] == worker.id
    assert "beside the tests " + __import__("sys").executable in clearml_workers.console(task)

def test_a_failed_task_is_told_with_its_last_lines(clearml_workers):
    with pytest.raises(RuntimeError, match="(?s)has ended with status failed.*ValueError: no such house"):
        clearml_workers.wait(enqueue("raise ValueError('no such house')", "default"))

def test_the_session_is_killed(clearml_workers):
    pids = "\\n".join(str(worker.process.pid) for worker in clearml_workers.workers)
    pathlib.Path(os.environ["SEEN"]).write_text(pids)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(
    folder: Path, *options: str, tests: str = TESTS, python: str = sys.executable, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder that is no part of this project."""
    (folder / "test_it.py").write_text(tests)
    (folder / "clearml_localserver.py").write_text("raise SystemExit('a file of the tests, not the server')")
    command = [python, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:socket", *options]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_processes_of_xdist_have_a_server_each(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    done = run(tmp_path, "-n", "2", "--dist", "each", SEEN=str(seen))
    assert done.returncode == 0, done.stdout
    by_process: dict[str, set[str]] = {}
    for path in seen.iterdir():
        by_process.setdefault(path.name.partition(" ")[0], set()).add(path.read_text())
    assert [len(addresses) for addresses in by_process.values()] == [1, 1]
    assert len(set.union(*by_process.values())) == 2


def test_a_server_that_cannot_start_fails_the_tests_with_its_own_message(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\")")
    done = run(tmp_path, PYTHONPATH=str(broken))
    assert done.returncode == 1
    assert "the ClearML server ended with exit code" in done.stdout
    assert "ModuleNotFoundError: No module named 'uvicorn'" in done.stdout
    assert "2 errors" in done.stdout
    assert "pytest_plugin.py" not in done.stdout, "where that was found out is of no use to the reader"


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_workers_run_tasks_and_end_with_the_session_even_if_it_is_killed(tmp_path: Path) -> None:
    beside = tmp_path / "src"
    beside.mkdir()
    (beside / "beside.py").write_text("NAME = 'beside the tests'")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    seen = tmp_path / "seen"
    python = str(environment_of("fixtures"))  # with the agent, as the extra installs it
    done = run(tmp_path, "-v", "-s", tests=WORKER_TESTS, python=python, SEEN=str(seen))
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert done.stdout.count("PASSED") == 2, done.stdout
    workers = [int(line) for line in seen.read_text().splitlines()]
    assert len(workers) == 4
    assert processes.wait_until(lambda: not any(map(processes.is_alive, workers)), 60, poll_s=0.1)
