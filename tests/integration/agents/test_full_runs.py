"""Full runs by agents: the inner pipeline, its controllers, and what goes on from a failure."""

from __future__ import annotations

import contextlib
import json

import psutil
import pytest

from pipeline.local_stack import status
from tests.integration.agents.records import (
    PATIENCE_S,
    inner_of,
    newest_run,
    steps_of,
    unfinished_of,
    wait_for,
)

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(300)]


def test_a_model_is_fitted_by_an_agent(cli, client, queue_run):
    done = cli("fit-model", "--json")
    assert done.code == 0, done.stderr
    task = client("tasks.get_by_id", task=done.document["task_id"])["task"]
    assert (task["status"], task["last_worker"].rpartition(":")[2].startswith("steps-")) == ("completed", True)
    model = client("models.get_by_id", model=done.document["model_id"])["model"]
    assert (model["ready"], model["task"]) == (True, task["id"])
    assert client("tasks.get_by_id", task=done.document["dataset_id"])["task"]["runtime"]["version"] == "1.2.4"


def test_a_full_run_by_agents_ends_with_a_model(cli, client, queue_run):
    done = cli("run-full", "--json")
    assert done.code == 0, done.stderr
    data_prepare, fit = done.document["steps"]
    assert [step["status"] for step in data_prepare["steps"]] == ["cached"] * 3
    assert done.document["models"][0]["published"]
    workers = {
        task: client("tasks.get_by_id", task=task)["task"]["last_worker"].rpartition(":")[2]
        for task in (done.document["run_id"], data_prepare["task_id"], fit["task_id"])
    }
    outer, inner, last = workers.values()
    assert {outer, inner} == {"controllers", "controllers-2"}
    assert last.startswith("steps-")


@pytest.mark.timeout(600)
def test_more_full_runs_than_workers_for_controllers_get_through(cli, client, queue_run):
    """Both outer controllers take a worker; the inner ones run beside them."""
    processes = [cli.start("run-full", "--json", "--no-cache", "--set", f"alpha={alpha}") for alpha in (2, 3)]
    for process in processes:
        stdout, stderr = process.communicate(timeout=4 * PATIENCE_S)
        assert process.returncode == 0, stderr
        assert '"status": "completed"' in stdout


@pytest.fixture
def busy_controllers_worker(client, settings):
    """One of the two workers for controllers has a task, so that a pipeline inside a run goes beside its controller."""
    script = {"diff": "import time\ntime.sleep(300)\n", "entry_point": "sleeper.py", "working_dir": "."}
    script["requirements"] = {"pip": ""}
    task = client("tasks.create", name="sleeper", type="training", script=script)["id"]
    client("tasks.enqueue", task=task, queue_name=settings.controllers_queue)
    wait_for(lambda: status_of(client, task) == "in_progress", "the sleeper's start")
    yield
    client("tasks.stop", task=task)
    wait_for(lambda: status_of(client, task) == "stopped", "the sleeper's end")


def status_of(client, task):
    return client("tasks.get_by_id", task=task)["task"]["status"]


def test_a_full_run_stopped_on_the_web_takes_the_inner_pipeline_with_it(
    cli, client, queue_run, busy_controllers_worker
):
    """The agent kills the controller's process tree, the inner pipeline included: nobody is left to tell of it."""
    before = newest_run(client)
    process = cli.start("run-full", "--no-cache", "--json")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    inner = wait_for(lambda: inner_of(client, run), "the inner run")["id"]
    wait_for(lambda: "in_progress" in {t["status"] for t in steps_of(client, inner).values()}, "the first inner step")
    assert "last_worker" not in client("tasks.get_by_id", task=inner)["task"]
    client("tasks.stop", task=run)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 40
    assert unfinished_of(client, run, inner) == []
    assert status_of(client, inner) == "stopped"


def kill_script(name, settings):
    """Kill the process in which an agent runs a script; return whether there was one."""
    for worker in status(settings).workers:
        for child in psutil.Process(worker.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if "".join(child.cmdline()[-1:]).endswith(f"/code/{name}"):
                    child.kill()
                    return True
    return False


def test_a_full_run_goes_on_from_the_step_that_failed(cli, client, settings, queue_run):
    """Its inner pipeline finds its steps in the cache though the run was told to use none; only the model is made."""
    before = newest_run(client)
    process = cli.start("run-full", "--no-cache", "--json", "--set", "max_features=60")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    wait_for(lambda: kill_script("fitting.py", settings), "the last step")
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 40, stderr
    failed = json.loads(stdout.splitlines()[-1])
    done = cli("run-full", "--from-failed", "--json")
    assert done.code == 0, done.stderr
    assert f"from run {run}" in done.stderr
    assert "run: fit_model\n" in done.stderr
    (prepared, fit), (again, fit_again) = failed["steps"], done.document["steps"]
    assert [step["status"] for step in again["steps"]] == ["cached"] * 3
    assert [step["task_id"] for step in again["steps"]] == [step["task_id"] for step in prepared["steps"]]
    assert (fit_again["status"], fit_again["task_id"] != fit["task_id"]) == ("completed", True)
    assert done.document["models"][0]["published"]
    once_more = cli("run-full", "--from-failed", "--dry-run")  # what was made good is no failure any more
    assert f"from run {run}" not in once_more.stdout
