"""From the server's documents to a run's state: a table of situations."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from clearml_access import run_records
from clearml_access.run_records import as_json, read_run, step_task_ids
from clearml_access.tasks import as_seen
from pipeline.amazon_reviews.definitions import DATA_PREPARE

SPLIT, TRAIN, TEST = "train_test_split", "train_processing", "test_processing"


def read(document, tasks):
    return read_run(document, tasks, DATA_PREPARE)


def dag(**jobs):
    nodes = {
        name: {"job_id": jobs.get(name), "parents": [] if name == SPLIT else [SPLIT]} for name in (SPLIT, TRAIN, TEST)
    }
    return {"Pipeline": {"value": json.dumps(nodes)}}


def controller(status, **fields):
    begun = {} if status in ("created", "queued") else {"runtime": {"_pipeline_hash": "x:1.0"}}
    return {"id": "run", "name": "DataPrepare", "project": "p", "status": status, **begun, **fields}


def task(name, status, parent="run", **fields):
    return {"id": f"id-{name}", "name": name, "status": status, "parent": parent, **fields}


@pytest.mark.parametrize(
    ("run", "tasks", "statuses", "ended", "outcome"),
    [
        ("created", [], ["pending"] * 3, False, "running"),
        ("queued", [], ["pending"] * 3, False, "running"),
        ("in_progress", [task(SPLIT, "queued")], ["queued", "pending", "pending"], False, "running"),
        (
            "in_progress",
            [task(SPLIT, "completed"), task(TRAIN, "in_progress"), task(TEST, "queued")],
            ["completed", "running", "queued"],
            False,
            "running",
        ),
        (
            "completed",
            [task(SPLIT, "completed"), task(TRAIN, "completed"), task(TEST, "published")],
            ["completed"] * 3,
            True,
            "completed",
        ),
        ("failed", [task(SPLIT, "failed")], ["failed", "skipped", "skipped"], True, "failed"),
        # The controller ends while a step that it no longer waits for goes on.
        ("failed", [task(SPLIT, "in_progress")], ["running", "skipped", "skipped"], False, "running"),
        ("stopped", [task(SPLIT, "stopped")], ["aborted", "skipped", "skipped"], True, "aborted"),
        ("stopped", [], ["skipped"] * 3, True, "aborted"),
        # The SDK calls a controller completed although nothing ran: the steps decide.
        ("completed", [], ["skipped"] * 3, True, "failed"),
        (
            "completed",
            [task(SPLIT, "completed"), task(TRAIN, "completed"), task(TEST, "failed")],
            ["completed", "completed", "failed"],
            True,
            "failed",
        ),
    ],
)
def test_a_runs_state_is_its_tasks_statuses(run, tasks, statuses, ended, outcome):
    state = read(controller(run), tasks)
    assert [step.name for step in state.steps] == [SPLIT, TRAIN, TEST]
    assert [step.status for step in state.steps] == statuses
    assert (state.ended, state.outcome) == (ended, outcome)


def test_a_step_from_the_cache_is_known_by_the_controllers_own_notes():
    cached = task(SPLIT, "completed", parent="an earlier run")
    document = controller("in_progress", configuration=dag(**{SPLIT: cached["id"]}))
    assert step_task_ids(document) == [cached["id"]]
    split, train, _ = read(document, [cached]).steps
    assert (split.status, split.cached, split.task_id) == ("cached", True, cached["id"])
    assert (train.status, train.parents) == ("pending", (SPLIT,))


@pytest.mark.parametrize("text", [None, "", "no json", "[]", "{"])
def test_a_controller_without_notes_has_the_pipelines_steps(text):
    document = controller("in_progress", configuration={"Pipeline": {"value": text}})
    assert [step.name for step in read(document, []).steps] == [SPLIT, TRAIN, TEST]


def timed():
    marks = {"process": 1005.0, "function": 1006.0, "work": 1007.5, "returned": 1010.0}
    return task(
        SPLIT,
        "completed",
        started="1970-01-01T00:16:42.000000+00:00",
        completed="1970-01-01T00:16:51.000000+00:00",
        hyperparams={
            "properties": {"launched": {"value": "1000.5"}, "timeline": {"value": json.dumps(marks)}},
            "return": {"split_dataset_id": {"value": "abc"}},
            "Datasets": {"input": {"value": "def"}},
        },
    )


def test_times_come_from_the_server_and_from_the_steps_own_notes():
    step = read(controller("in_progress"), [timed()]).steps[0]
    assert (step.queue_wait_s, step.startup_s, step.run_s) == (1.5, 5.5, 3.5)
    assert step.phases() == {
        "queue wait": 1.5,
        "process start": 3.0,
        "imports": 2.5,
        "user code": 2.5,
        "exit": 1.0,
    }
    assert (step.results, step.inputs) == ({"split_dataset_id": "abc"}, {"input": "def"})


@pytest.mark.parametrize(
    ("value", "attempts"),
    [('["pod: Evicted", "worker lost"]', ("pod: Evicted", "worker lost")), ("{}", ()), ("no json", ()), (None, ())],
)
def test_earlier_attempts_are_read_from_the_step(value, attempts):
    again = timed()
    again["hyperparams"]["properties"]["earlier_attempts"] = {"value": value}
    run = read(controller("in_progress"), [again])
    assert run.steps[0].earlier_attempts == attempts
    document = as_json(run, mode="queue", outcome="running", datasets={}, report=None)["steps"][0]
    assert document.get("earlier_attempts", []) == list(attempts)


def test_the_phases_of_its_pod_are_read_from_the_step():
    assert (
        "pod_phases"
        not in as_json(
            read(controller("in_progress"), [timed()]), mode="queue", outcome="running", datasets={}, report=None
        )["steps"][0]
    )
    in_a_pod = timed() | {"runtime": {"pod_phases": "schedule 0 s, pull 12 s, run 3 s"}}
    run = read(controller("in_progress"), [in_a_pod])
    document = as_json(run, mode="queue", outcome="running", datasets={}, report=None)["steps"][0]
    assert document["pod_phases"] == {"schedule": 0, "pull": 12, "run": 3}


def test_a_pod_leaves_no_moment_of_its_start_so_its_wait_lasts_until_its_first_line():
    in_a_pod = timed() | {"started": None, "last_worker": f"clearml-agent-0:id-{SPLIT}"}
    step = read(controller("in_progress"), [in_a_pod]).steps[0]
    assert (step.queue_wait_s, step.startup_s, step.run_s) == (4.5, 2.5, 3.5)
    assert step.pod == f"clearml-id-id-{SPLIT}"


def test_a_step_without_notes_has_no_times_but_those_of_the_server():
    bare = task(SPLIT, "in_progress", started="1970-01-01T00:16:42Z")
    step = read(controller("in_progress"), [bare]).steps[0]
    assert (step.queue_wait_s, step.startup_s, step.run_s) == (None, None, None)
    assert step.started == 1002


def test_a_step_of_somebody_elses_script_waits_from_its_creation_on():
    bare = task(SPLIT, "completed", created="1970-01-01T00:16:40Z", started="1970-01-01T00:16:42Z")
    step = read(controller("in_progress"), [bare | {"completed": "1970-01-01T00:16:51Z"}]).steps[0]
    assert (step.queue_wait_s, step.startup_s, step.run_s) == (2.0, None, 9.0)
    assert read(controller("in_progress"), [bare | {"status": "created"}]).steps[0].launched is None


def test_the_json_has_the_keys_that_scripts_rely_on():
    state = read(controller("failed"), [timed()])
    document = as_json(state, mode="queue", outcome="failed", datasets={"1.2": "def"}, report="/r.html")
    assert set(document) == {"status", "run_id", "mode", "steps", "datasets", "report"}
    assert document["steps"][0] == {
        "name": SPLIT,
        "task_id": f"id-{SPLIT}",
        "status": "completed",
        "cached": False,
        "queue_wait_s": 1.5,
        "startup_s": 5.5,
        "run_s": 3.5,
    }
    assert document["steps"][1] == {
        "name": TRAIN,
        "task_id": None,
        "status": "skipped",
        "cached": False,
        "queue_wait_s": None,
        "startup_s": None,
        "run_s": None,
    }
    json.dumps(document)


def test_a_cached_step_has_no_times_in_the_json():
    cached = timed() | {"parent": "an earlier run"}
    document = controller("completed", configuration=dag(**{SPLIT: cached["id"]}))
    step = as_json(read(document, [cached]), mode="queue", outcome="", datasets={}, report=None)["steps"][0]
    assert (step["status"], step["cached"], step["queue_wait_s"], step["run_s"]) == ("cached", True, None, None)


def test_every_status_of_a_task_has_a_meaning():
    from clearml import Task

    known = {str(getattr(Task.TaskStatusEnum, name)) for name in dir(Task.TaskStatusEnum) if not name.startswith("_")}
    assert known - set(run_records._FROM_TASK) <= {"unknown", "publishing"}


@pytest.mark.parametrize(("ago_s", "status"), [(1, "queued"), (500, "aborted")])
def test_a_step_that_its_agent_dropped_on_the_way_has_ended_and_is_explained(ago_s, status):
    changed = datetime.now(UTC) - timedelta(seconds=ago_s)
    moved = {"status": "stopped", "status_reason": "moving to k8s pending queue", "status_changed": changed.isoformat()}
    seen = as_seen({"id": "t", "name": SPLIT, "parent": "run", "type": "data_processing", **moved}, time.time())
    run = read(controller("in_progress", configuration=dag(**{SPLIT: "t"})), [seen])
    (step,) = (step for step in run.steps if step.name == SPLIT)
    assert step.status == status
    assert ("made no pod of it" in step.reason) is (status == "aborted")
