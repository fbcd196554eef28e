"""Search and schedules by agents."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest

from tests.integration.agents.records import (
    wait_for,
)
from tests.integration.pipeline_cli import review_file

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def search(cli, queue_run):
    done = cli(
        "tune", "--jobs", "2", "--minutes", "2", "--set", "max_features=20,200", "--set", "ngram_max=1", "--json"
    )
    assert done.code == 0, done.stderr
    assert "Best model" in done.stderr
    return done.document


def test_a_search_tags_and_publishes_the_best_of_its_trials(client, search):
    found = search
    assert [trial["status"] for trial in found["trials"]] == ["completed"] * 2
    assert found["best"] == max(found["trials"], key=lambda trial: trial["metrics"]["accuracy"])
    models = {
        trial["model_id"]: client("models.get_by_id", model=trial["model_id"])["model"] for trial in found["trials"]
    }
    best = models.pop(found["best"]["model_id"])
    assert (best["tags"], best["ready"]) == (["best"], True)
    assert [(model["tags"], model["ready"]) for model in models.values()] == [([], False)]
    search = client("tasks.get_by_id", task=found["task_id"])["task"]
    assert (search["type"], search["status"]) == ("optimizer", "completed")
    plots = {plot["metric"] for plot in client("events.get_task_plots", task=found["task_id"])["plots"]}
    assert {"Parallel Coordinates", "Optimization Objective", "summary"} <= plots
    drafts = client("tasks.get_all", name="TF-IDF trial", status=["created"], search_hidden=True)["tasks"]
    assert drafts == []


def test_the_tag_goes_on_to_the_best_model_of_the_newest_search(cli, client, search):
    def best():
        return {model["id"]: model for model in client("models.get_all", tags=["best"])["models"]}

    before = search["best"]["model_id"]
    assert before in best()
    arguments = {"dataset_project": "Amazon reviews", "dataset_name": "another"}
    items = {name: {"section": "Args", "name": name, "value": value} for name, value in arguments.items()}
    maker = client("tasks.create", name="TF-IDF", type="training", hyperparams={"Args": items})["id"]
    others = client("models.create", name="another", uri="file:///x", tags=["best"], task=maker)["id"]
    done = cli("tune", "--jobs", "1", "--set", "max_features=40", "--set", "ngram_max=1", "--set", "alpha=1", "--json")
    assert done.code == 0, done.stderr
    assert set(best()) == {done.document["best"]["model_id"], others}
    loser = client("models.get_by_id", model=before)["model"]
    assert (loser["tags"], loser["ready"]) == ([], True)


def test_an_interrupted_search_stops_its_trials(cli, client, queue_run):
    process = cli.start("tune", "--jobs", "8", "--minutes", "2", "--set", "max_features=30,31,32,33,34,35,36,37")
    search = wait_for(
        lambda: next(iter(client("tasks.get_all", type=["optimizer"], status=["in_progress"])["tasks"]), None),
        "the search",
    )["id"]

    def trials():
        return client("tasks.get_all", parent=[search])["tasks"]

    wait_for(lambda: any(task["status"] in ("queued", "in_progress") for task in trials()), "the first trial")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert client("tasks.get_by_id", task=search)["task"]["status"] == "stopped"
    assert not {task["status"] for task in trials()} & {"queued", "in_progress"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tune", "--set", "metric=speed"], 10, "none of accuracy, f1, auc"),
        (["tune", "--set", "dataset_name=Nothing"], 26, "./task run-full-pipeline"),
        (["tune", "--set", "train_dataset_version=9.9.2"], 26, "9.9.2"),
        (["tune", "--queue", "nowhere"], 33, "queue 'nowhere' does not exist"),
        (["schedule", "--cron", "0 3 31 2 *"], 10, "cannot be kept"),
        (["schedule", "--at", "3"], 10, "--at 03:00"),
        (["schedule", "--at", "25:00"], 10, "from 00:00 to 23:59"),
        (["retrain", "--set", "max_feature=3"], 10, "did you mean max_features"),
        (["retrain", "--queue", "nowhere"], 33, "queue 'nowhere' does not exist"),
    ],
)
def test_what_cannot_be_searched_or_scheduled_is_refused(cli, client, arguments, code, words):
    done = cli(*arguments)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_version_starts_one_full_run_and_its_own_versions_none(cli, client, queue_run):
    name = "growing"
    whole = review_file(cli.folder / "growing.csv", rows=400)
    part = cli.folder / "part.csv"
    part.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:200]))
    assert cli("dataset", "upload", str(part), "--name", name, "--batch-size", "100").code == 0
    process = cli.start("retrain", "--dataset-name", name, "--every", "1")
    lines = []

    def printed(text):
        while not any(text in line for line in lines):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)

    printed("Waiting for a new version")
    assert cli("dataset", "upload", str(whole), "--name", name, "--batch-size", "100").code == 0
    printed("completed")
    time.sleep(3)  # versions 1.4.1 to 1.4.4 have been seen by now
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    lines += rest.splitlines()
    assert process.returncode == 143
    started = [line for line in lines if line.startswith("Started run")]
    assert len(started) == len({re.search(r"new version (1\.[34])", line)[1] for line in started}) <= 2
    assert "new version 1.4" in started[-1]
    run = re.search(r"run ([0-9a-f]{32})", started[-1])[1]
    # Of two that were started only one is sure to have ended: the other goes on without its scheduler.
    wait_for(lambda: client("tasks.get_by_id", task=run)["task"]["models"]["output"], "its model")


def test_a_schedule_starts_a_run_on_the_newest_version(cli, client, queue_run):
    done = cli("schedule", "--now", "--runs", "1", "--at", "03:00", "--on", "monday", "--json")
    assert done.code == 0, done.stderr
    assert "Next run: now, then" in done.stderr
    run = re.search(r"Started run ([0-9a-f]{32})", done.stderr)[1]
    task = client("tasks.get_by_id", task=run)["task"]
    assert task["status"] == "completed"
    assert task["name"] == "FullPipeline (schedule 0 3 * * monday)"
    assert task["hyperparams"]["Args"]["dataset_version"]["value"] == "1.2"


def test_a_detached_scheduler_is_a_task_of_the_controllers_queue(cli, client, queue_run):
    done = cli("schedule", "--detach", "--json")
    assert done.code == 0, done.stderr
    task = done.document["task_id"]

    def console():
        events = client("events.get_task_log", task=task, batch_size=500)["events"]
        return "".join(event["msg"] for event in events)

    wait_for(lambda: "Next run: " in console(), "the schedule")
    configuration = client("tasks.get_by_id", task=task)["task"]["configuration"]["schedule"]
    shown = json.loads(configuration["value"])
    assert (shown["cron"], shown["time_zone"]) == ("0 3 * * *", "UTC")
    assert shown["next_run"].endswith("T03:00Z")
    client("tasks.stop", task=task)
    wait_for(lambda: client("tasks.get_by_id", task=task)["task"]["status"] == "stopped", "its end")


@pytest.mark.parametrize("endpoint", ["tasks.stop", "tasks.stopped"])
def test_a_scheduler_of_this_machine_can_be_aborted_from_its_page(cli, client, queue_run, endpoint):
    process = cli.start("schedule", "--at", "03:00")
    task = re.search(r"experiments/([0-9a-f]{32})", process.stdout.readline())[1]
    while "Next run" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    client(endpoint, task=task)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 45, errors
    assert "Schedule FullPipeline was aborted" in errors
    assert client("tasks.get_by_id", task=task)["task"]["status"] == "stopped"


def test_ctrl_c_stops_a_scheduler_of_this_machine(cli, client, queue_run):
    process = cli.start("schedule", "--cron", "0 4 L * *")
    task = re.search(r"experiments/([0-9a-f]{32})", process.stdout.readline())[1]
    while "Next run" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert client("tasks.get_by_id", task=task)["task"]["status"] == "stopped"
