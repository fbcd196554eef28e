"""`watch`, `logs`, `report`, `rerun` and `abort`: runs of pipelines that other projects made, by their tasks alone."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access.errors import UserFacingError
from clearml_access.run_records import DAG_CONFIGURATION, STARTED_MARK
from pipeline import clearml_server as adapter
from pipeline import cli
from pipeline.runs.copies import run_again
from pipeline.runs.states import fetch
from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

QUEUE, WORKER = "theirs", "their worker"
NAME = "their pipeline"
TYPES = {"rows": "int"}


@pytest.fixture
def queue(api: ApiClient) -> Iterator[str]:
    """A queue that a live worker serves."""
    made: str = api("queues.create", name=QUEUE)["id"]
    api("workers.register", worker=WORKER, queues=[made])
    yield made
    api("workers.unregister", worker=WORKER)
    api("queues.delete", queue=made, force=True)


@pytest.fixture
def unserved_queue(api: ApiClient) -> Iterator[str]:
    """A queue that no worker serves."""
    made: str = api("queues.create", name="unserved")["id"]
    yield made
    api("queues.delete", queue=made, force=True)


@pytest.fixture
def make_run(api: ApiClient, queue: str) -> Iterator[Callable[..., str]]:
    """Make a run of two steps that has ended, as the SDK writes it down; the second step failed, or all completed."""
    projects: list[str] = []

    def make(*, good: bool = True, options: dict[str, str] | None = None, name: str = NAME) -> str:
        if not projects:
            projects.append(api("projects.create", name="their project", description="")["id"])
        sections = {"Args": {"rows": "100", "path": "a/b"}, "return": {"mean": "0.5"}} | (
            {"Options": options} if options else {}
        )
        hyperparams = {
            section: {
                key: {"section": section, "name": key, "value": value, "type": TYPES.get(key, "")}
                for key, value in items.items()
            }
            for section, items in sections.items()
        }
        controller: str = api(
            "tasks.create", name=name, type="controller", project=projects[0], hyperparams=hyperparams
        )["id"]
        api("tasks.enqueue", task=controller, queue=queue)
        api("tasks.started", task=controller, force=True)
        steps = {}
        for step, ended in (("make", "completed"), ("use", "completed" if good else "failed")):
            steps[step] = api(
                "tasks.create", name=step, type="data_processing", project=projects[0], parent=controller
            )["id"]
            api("tasks.started", task=steps[step])
            lines = ["numbers made"] if step == "make" or good else ["Traceback", "ValueError: mean is over 0.1"]
            now = int(time.time() * 1000)
            for place, line in enumerate(lines):
                api(
                    "events.add",
                    type="log",
                    task=steps[step],
                    worker="w",
                    level="info",
                    msg=line,
                    timestamp=now + place,
                )
            api(f"tasks.{ended}", task=steps[step], force=True)
        nodes = {
            "make": {"parents": [], "job_id": steps["make"], "status": "completed"},
            "use": {"parents": ["make"], "job_id": steps["use"], "status": "completed" if good else "failed"},
        }
        graph = {DAG_CONFIGURATION: {"name": DAG_CONFIGURATION, "value": json.dumps(nodes)}}
        api("tasks.edit", task=controller, force=True, configuration=graph, runtime={STARTED_MARK: "1"})
        api("tasks.completed" if good else "tasks.failed", task=controller, force=True)
        return controller

    yield make
    api("projects.delete", project=projects[0], force=True, delete_contents=True)


@pytest.fixture
def pipeline(
    clearml_server: ClearmlServer, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[str, str]]]:
    """The command line, in this process: what it wrote to stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0) -> tuple[str, str]:
        assert cli.main(words) == code, capfd.readouterr()
        said = capfd.readouterr()
        return said.out, said.err

    yield run
    logging.disable(logging.NOTSET)


def test_a_run_is_watched_to_its_end_by_its_pipelines_name(make_run, pipeline, tmp_path):
    make_run()
    newest = make_run(name=f"{NAME} #2")
    out, _ = pipeline("watch", NAME, "--report", "theirs.html")
    assert f"Run {newest} completed in" in out
    assert "Dataset versions" not in out
    page = (tmp_path / "theirs.html").read_text()
    assert "rows" in page and "what it is" not in page, "nobody knows what their parameters mean"


def test_why_a_run_failed_is_said_and_what_to_do_next(make_run, pipeline):
    run = make_run(good=False)
    out, err = pipeline("watch", run, "--json", code=40)
    document = json.loads(out)
    assert (document["status"], document["run_id"], document["exit_code"]) == ("failed", run, 40)
    assert "step use: ValueError: mean is over 0.1" in err
    assert f"Hint: run it again: .venv/bin/python -m pipeline rerun {run}" in err


def test_logs_and_report_of_a_run(make_run, pipeline, tmp_path):
    run = make_run(good=False)
    out, _ = pipeline("logs", run)
    assert "[make] numbers made" in out.splitlines()
    assert "[use] ValueError: mean is over 0.1" in out.splitlines()
    out, _ = pipeline("report", run)
    assert f"Report of run {run} ({NAME}, failed): {tmp_path}/report.html" in out
    assert "ValueError: mean is over 0.1" in (tmp_path / "report.html").read_text()
    _, err = pipeline("report", run, str(tmp_path / "report.html" / "x"), code=24)
    assert "the report cannot be written to" in err


@pytest.mark.parametrize("command", ["watch", "logs", "report", "rerun", "abort"])
def test_what_is_not_a_run_is_named(command, api, pipeline):
    task = api("tasks.create", name="a training", type="training")["id"]
    _, err = pipeline(command, task, code=40)
    assert f"task {task} (a training) is not a run of a pipeline" in err
    assert f"Hint: its console: CLEARML_CONFIG_FILE={os.environ['CLEARML_CONFIG_FILE']} ./task logs -- {task}" in err
    _, err = pipeline(command, "f" * 32, code=40)
    assert f"run {'f' * 32} does not exist on http" in err
    _, err = pipeline(command, "no.such [pipeline", code=40)
    assert "a run of a pipeline called 'no.such [pipeline' does not exist" in err
    api("tasks.delete", task=task, force=True)


def test_a_run_is_aborted_by_its_pipelines_name_with_its_steps(api, make_run, pipeline):
    run = make_run()
    steps = [
        step["id"] for step in api("tasks.get_all", parent=[run], only_fields=["id"], order_by=["created"])["tasks"]
    ]
    for task in (run, steps[1]):
        api("tasks.reset", task=task, force=True)
        api("tasks.started", task=task)
    out, _ = pipeline("abort", NAME)
    assert out.splitlines()[-1] == f"Run {run} was aborted"
    status = {task["id"]: task["status"] for task in api("tasks.get_all", id=[run, *steps])["tasks"]}
    assert status == {run: "stopped", steps[0]: "completed", steps[1]: "stopped"}
    out, _ = pipeline("abort", run)
    assert f"Run {run} has ended already" in out


def test_a_run_that_waits_in_a_queue_that_nobody_serves_says_so(api, make_run, queue, pipeline, monkeypatch):
    from pipeline.commands import existing_runs

    run = make_run()
    api("workers.unregister", worker=WORKER)
    api("tasks.reset", task=run, force=True)
    api("tasks.enqueue", task=run, queue=queue)
    monkeypatch.setattr(existing_runs, "LOOK_AT_QUEUES_EVERY_S", 0.0)
    out, err = pipeline("watch", run, "--timeout", "1", code=42)
    assert out.count(f"waiting in queue '{QUEUE}', which no live worker serves: the controller; on this machine:") == 1
    assert f"run {run} has not ended after 1 s; it continues" in err
    assert api("tasks.get_by_id", task=run)["task"]["status"] == "queued"


def hyperparams(api: ApiClient, task: str) -> dict[str, dict[str, str]]:
    sections: dict[str, Any] = api("tasks.get_by_id", task=task)["task"]["hyperparams"]
    return {section: {key: item["value"] for key, item in items.items()} for section, items in sections.items()}


def test_a_copy_has_the_changes_and_not_the_results(api, make_run, queue):
    run = make_run()
    copy = run_again(adapter.ClearmlServer.connect(), run, changes={"rows": "7", "Args/path": "c/d"})
    task = api("tasks.get_by_id", task=copy)["task"]
    assert (task["name"], task["status"], task["execution"]["queue"]) == (f"{NAME} #2", "queued", queue)
    assert hyperparams(api, copy) == {"Args": {"rows": "7", "path": "c/d"}}
    assert hyperparams(api, run)["return"] == {"mean": "0.5"}


def test_a_run_of_this_project_is_continued_by_its_own_options(api, make_run, pipeline):
    run = make_run(good=False, options={"from_run": "", "from_step": ""})
    out, _ = pipeline("rerun", run, "--from-step", "use", "--no-wait", "--json")
    document = json.loads(out)
    assert (document["status"], document["copy_of"]) == ("queued", run)
    assert hyperparams(api, document["run_id"])["Options"] == {"from_run": run, "from_step": "use"}


def test_a_copy_does_not_show_the_steps_of_the_run_that_it_was_made_of(api, make_run, pipeline):
    """From its start until it has written its graph anew, a controller has the graph that was copied with it."""
    out, _ = pipeline("rerun", make_run(), "--no-wait", "--json")
    copy = json.loads(out)["run_id"]
    api("tasks.started", task=copy, force=True)
    api("tasks.edit", task=copy, force=True, runtime={STARTED_MARK: "1"})
    steps = fetch(adapter.ClearmlServer.connect(), copy).steps
    assert [(step.name, step.status, step.parents, step.task_id) for step in steps] == [
        ("make", "pending", (), None),
        ("use", "pending", ("make",), None),
    ]
    api("tasks.stopped", task=copy, force=True)


REFUSED = [
    ({"changes": {"rows": "many"}}, f"({NAME}) is of type int, which 'many' is not"),
    ({"changes": {"rows": ""}}, f"({NAME}) is of type int, which '' is not"),
    ({"changes": {"row": "7"}}, f"({NAME}) has no parameter Args/row"),
    ({"changes": {"Other/row": "7"}}, f"({NAME}) has no parameter Other/row"),
    ({"changes": {}, "queue": "gpu"}, "queue 'gpu' does not exist"),
    ({"changes": {}, "queue": "unserved"}, "queue 'unserved' has no live worker"),
    ({"changes": {}, "from_failed": True}, "it is not a run of this repository's pipelines"),
    ({"changes": {}, "from_step": "nope"}, "has no step 'nope'"),
]


@pytest.mark.parametrize(("told", "words"), REFUSED)
def test_what_cannot_be_run_again_is_refused_and_leaves_nothing(api, make_run, unserved_queue, told, words):
    run = make_run()
    with pytest.raises(UserFacingError) as refused:
        run_again(adapter.ClearmlServer.connect(), run, **told)
    assert words in refused.value.message and refused.value.hint
    project = api("tasks.get_by_id", task=run)["task"]["project"]
    found = api("tasks.get_all", project=[project], type=["controller"], only_fields=["id"])["tasks"]
    assert [task["id"] for task in found] == [run]


def test_a_run_whose_queue_is_gone_needs_another_one(api, make_run, queue):
    run = make_run()
    api("tasks.edit", task=run, force=True, execution={"queue": "0" * 32})
    with pytest.raises(UserFacingError, match="was in no queue that exists now") as refused:
        run_again(adapter.ClearmlServer.connect(), run, changes={})
    assert "say --queue NAME; queues: " in refused.value.hint


@pytest.mark.parametrize("told", [{}, {"from_step": "use"}])
def test_a_run_whose_controller_had_a_pod_goes_into_the_queue_that_it_was_put_into(api, make_run, queue, told):
    """The agent's glue moves a task to its own queue while it makes the pod, and the task keeps that queue."""
    run = make_run(options={"from_run": "", "from_step": ""})
    (name,) = (item["name"] for item in api("queues.get_all")["queues"] if item["id"] == queue)
    pods = api("queues.get_all", name="^k8s_scheduler$", search_hidden=True)["queues"]
    pods_queue = pods[0]["id"] if pods else api("queues.create", name="k8s_scheduler")["id"]
    api("tasks.edit", task=run, force=True, execution={"queue": pods_queue})
    noted = {"section": "properties", "name": "k8s-queue", "value": name}
    api("tasks.edit_hyper_params", task=run, hyperparams=[noted], force=True)
    copy = run_again(adapter.ClearmlServer.connect(), run, changes={}, **told)
    assert api("tasks.get_by_id", task=copy)["task"]["execution"]["queue"] == queue
    if not pods:
        api("queues.delete", queue=pods_queue)


def test_a_set_without_a_value_is_refused(pipeline):
    _, err = pipeline("rerun", NAME, "--set", "rows", code=10)
    assert "--set 'rows' is not of the form NAME=VALUE" in err
