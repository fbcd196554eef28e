"""Three modes with one result, reruns from the web, and what a crash does to a run."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest

from pipeline.local_stack import status
from tests.integration.agents.records import (
    PATIENCE_S,
    artifact_hashes,
    newest_run,
    steps_of,
    wait_for,
)
from tests.integration.pipeline_cli import LIKE_GENUINE, made_by, rows_digest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_the_queue_takes_controller_and_steps(client, queue_run):
    assert (queue_run["status"], queue_run["mode"]) == ("completed", "queue")
    workers = {
        client("tasks.get_by_id", task=task)["task"]["last_worker"].rpartition(":")[2].partition("-")[0]
        for task in (queue_run["run_id"], *(step["task_id"] for step in queue_run["steps"]))
    }
    assert workers == {"controllers", "steps"}


@pytest.mark.slow
@pytest.mark.parametrize("cli", [LIKE_GENUINE], indirect=True)
def test_agents_run_it_on_a_server_that_is_like_a_genuine_one(cli, queue_run):
    again = cli("run", "--json")
    assert again.code == 0, again.stderr
    assert queue_run["status"] == "completed"
    assert all(step["cached"] for step in again.document["steps"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["controller", pytest.param("in-process", marks=pytest.mark.thorough)])
def test_every_mode_gives_the_same_results(cli, client, queue_run, mode):
    done = cli("run", "--mode", mode, "--no-cache", "--json")
    assert done.code == 0, done.stderr
    expected = artifact_hashes(client, queue_run)
    assert len(expected) == 4
    assert artifact_hashes(client, done.document) == expected
    assert not any(step["cached"] for step in done.document["steps"])


def test_a_run_is_reused_across_modes(cli, queue_run):
    done = cli("run", "--mode", "in-process", "--json")
    assert done.code == 0, done.stderr
    assert all(step["cached"] for step in done.document["steps"])


def test_the_parameters_keep_their_types_and_descriptions(client, queue_run):
    arguments = client("tasks.get_by_id", task=queue_run["run_id"])["task"]["hyperparams"]["Args"]
    assert {name: item["type"] for name, item in arguments.items()} == {
        "dataset_name": "str",
        "dataset_project": "str",
        "dataset_version": "str",
        "test_size": "float",
        "random_state": "int",
        "stratify": "bool",
    }
    assert all(item["description"] for item in arguments.values())


@pytest.mark.slow
def test_a_run_is_repeated_from_the_web_with_another_version(client, queue_run):
    """What the web page's "clone, edit, enqueue" calls: version 1.1 instead of 1.2."""
    run = client("tasks.clone", task=queue_run["run_id"])["id"]
    version = {"section": "Args", "name": "dataset_version", "value": "1.1"}
    client("tasks.edit_hyper_params", task=run, hyperparams=[version])
    client("tasks.enqueue", task=run, queue_name="services")
    ended = ("completed", "failed", "stopped")
    task = wait_for(
        lambda: next((t for t in [client("tasks.get_by_id", task=run)["task"]] if t["status"] in ended), None),
        "the end",
    )
    assert task["status"] == "completed", task.get("status_reason")
    split = steps_of(client, run)["train_test_split"]
    assert split["hyperparams"]["kwargs"]["dataset_version"]["value"] == "1.1"
    made = client("tasks.get_by_id", task=split["hyperparams"]["return"]["split_dataset_id"]["value"])["task"]
    assert made["runtime"]["version"] == "1.1.1"


def run_a_clone(client, run, **options):
    """Clone a run, edit its options, enqueue it and wait for its end; what the web page does, too."""
    clone = client("tasks.clone", task=run)["id"]
    items = [{"section": "Options", "name": name, "value": value} for name, value in options.items()]
    client("tasks.edit_hyper_params", task=clone, hyperparams=items)
    client("tasks.enqueue", task=clone, queue_name="services")
    ended = ("completed", "failed", "stopped")
    return wait_for(
        lambda: next((t for t in [client("tasks.get_by_id", task=clone)["task"]] if t["status"] in ended), None),
        "the end",
    )


def wait_for_line(client, run, text):
    """Wait for a text in a console: the agent sends the last lines after the run has said that it failed."""
    query = {"task": run["id"], "batch_size": 5_000}
    wait_for(
        lambda: text in "".join(event["msg"] for event in client("events.get_task_log", **query)["events"]),
        f"{text!r} in the console",
    )


@pytest.mark.thorough
def test_a_run_is_repeated_from_the_web_with_another_number_of_shards(client, queue_run):
    """The step that preprocesses becomes one that joins, though its stored definition says otherwise; and back."""
    run = run_a_clone(client, queue_run["run_id"], shards="2")
    assert run["status"] == "completed", run.get("status_reason")
    made = steps_of(client, run["id"])
    assert set(made) == {f"{part}_processing{suffix}" for part in ("train", "test") for suffix in ("", "_1", "_2")}
    for part in ("train_processing", "test_processing"):
        (whole,) = (step["task_id"] for step in queue_run["steps"] if step["name"] == part)
        _, one = made_by(client, whole)
        _, two = made_by(client, made[part]["id"])
        assert (len(one), len(two)) == (1, 2)
        assert rows_digest(two.values()) == rows_digest(one.values())
    back = run_a_clone(client, run["id"], shards="1")
    assert back["status"] == "completed", back.get("status_reason")
    assert steps_of(client, back["id"]) == {}  # all as in the first run: found in the cache


def test_an_option_that_is_no_number_ends_the_run_with_its_reason(client, queue_run):
    run = run_a_clone(client, queue_run["run_id"], shards="many")
    assert run["status"] == "failed"
    wait_for_line(client, run, "shards many: expected a whole number from 1 to 64")


@pytest.mark.slow
def test_the_queue_that_is_set_on_the_page_is_the_one_that_steps_go_to(client, queue_run):
    run = run_a_clone(client, queue_run["run_id"], queue="nowhere", cache="False")
    assert run["status"] == "failed"
    wait_for_line(client, run, "nowhere")


@pytest.mark.thorough
def test_killing_the_server_in_the_middle_loses_nothing(cli, client, settings, queue_run):
    before = newest_run(client)
    process = cli.start("run", "--no-cache", "--json")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    wait_for(lambda: "in_progress" in {t["status"] for t in steps_of(client, run).values()}, "the first step")
    os.kill(status(settings).server_pid, signal.SIGKILL)
    assert cli("server", "up").code == 0
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert '"status": "completed"' in stdout


@pytest.mark.thorough
def test_a_step_whose_agent_was_killed_is_run_again(cli, client, settings, queue_run):
    before = newest_run(client)
    daemons = {worker.id: worker.pid for worker in status(settings).workers}  # the step ends within seconds
    process = cli.start("run", "--no-cache", "--json")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")

    def worker():
        split = steps_of(client, run).get("train_test_split", {})
        return split.get("last_worker") if split.get("status") == "in_progress" else None

    os.kill(daemons[wait_for(worker, "the first step")], signal.SIGKILL)
    assert cli("server", "up").code == 0  # finds the dead worker, says so on its task, and starts it again
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    document = json.loads(stdout.splitlines()[-1])
    assert document["status"] == "completed"
    (ended,) = document["steps"][0]["earlier_attempts"]
    assert "had died" in ended
    console = client("events.get_task_log", task=run, batch_size=500)["events"]
    assert re.search("train_test_split' failed. Retrying", "".join(event["msg"] for event in console))


@pytest.mark.thorough
def test_steps_that_a_k8s_glue_moves_are_not_taken_for_aborted(cli, client, settings, queue_run):
    """It stops each task before it puts it into the queue for pods; a controller that looks just then sees that."""
    queues = {"glue": client("queues.create", name="glue")["id"]}
    queues |= {queue["name"]: queue["id"] for queue in client("queues.get_all")["queues"]}
    client("workers.register", worker="glue:0", queues=[queues["glue"]], timeout=600)
    process = cli.start("run", "--mode", "controller", "--queue", "glue", "--no-cache", "--json")
    moved = 0
    while process.poll() is None:
        if client("queues.get_by_id", queue=queues["glue"])["queue"]["entries"]:  # else the next call would wait
            entry = client("queues.get_next_task", queue=queues["glue"])["entry"]
            client("tasks.stop", task=entry["task"], force=True, status_reason="moving to k8s pending queue")
            time.sleep(2.5)
            client("tasks.enqueue", task=entry["task"], queue=queues[settings.steps_queue])
            moved += 1
        time.sleep(0.1)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert '"status": "completed"' in stdout
    assert moved == 3


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_can_be_aborted(cli, client, queue_run):
    before = newest_run(client)
    process = cli.start("run", "--no-cache")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    wait_for(lambda: client("tasks.get_by_id", task=run)["task"].get("last_worker"), "the controller's start")
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert f"python -m pipeline abort {run}" in stdout
    done = cli("abort", run)
    assert done.code == 0, done.stderr
    time.sleep(6)  # an agent that was starting a task would have brought it back by now
    tasks = [client("tasks.get_by_id", task=run)["task"], *steps_of(client, run).values()]
    assert {task["status"] for task in tasks} <= {"stopped", "completed"}
    unfinished = client("tasks.get_all", system_tags=["dataset"], status=["in_progress"], search_hidden=True)["tasks"]
    assert unfinished == []
