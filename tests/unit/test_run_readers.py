"""Two programs read a run, and say the same: localserver's pages and the pipeline's own live view and report.

The server is a distribution of its own and shares no code with the pipeline. What both read is compared here, on
documents that were recorded from real runs (`tests/data/runs.jsonl`) and on what may become of them afterwards.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver.web import dag, runs

from clearml_access import run_records
from pipeline.runs import report

Json = dict[str, Any]

RECORDED = [json.loads(line) for line in (Path(__file__).parents[1] / "data" / "runs.jsonl").open()]
ENDED_RUNS = {item["run"]: item for item in RECORDED if not item["run"].endswith("running")}


def seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def as_the_server_reads(controller: Json, tasks: list[Json]) -> list[Json]:
    children = {task["id"]: task for task in tasks}
    return [
        {
            "name": step.name,
            "status": step.status,
            "cached": step.status == "cached",
            "parents": list(step.parents),
            "task": step.task_id,
            "started": seconds(step.started),
            "ended": seconds(step.ended),
            "inner": as_the_server_reads(child, tasks)
            if (child := children.get(step.task_id or "")) and runs.is_pipeline(child)
            else [],
        }
        for step in runs.read_run(controller, tasks).steps
    ]


def as_the_pipeline_reads(steps: tuple[run_records.StepState, ...]) -> list[Json]:
    return [
        {
            "name": step.name,
            "status": step.status,
            "cached": step.cached,
            "parents": list(step.parents),
            "task": step.task_id,
            "started": step.started,
            "ended": step.completed,
            "inner": as_the_pipeline_reads(step.inner),
        }
        for step in steps
    ]


def compare(controller: Json, tasks: list[Json]) -> list[Json]:
    """Check that both read the same; return it."""
    state = run_records.read_run(controller, tasks)
    found = as_the_server_reads(controller, tasks)
    assert as_the_pipeline_reads(state.steps) == found
    run = runs.read_run(controller, tasks)
    assert run.completed_steps == sum(step.status in (run_records.COMPLETED, "cached") for step in state.steps)
    assert sorted(runs.step_ids(controller)) == sorted(run_records.step_task_ids(controller))
    return found


@pytest.mark.parametrize("item", RECORDED, ids=lambda item: item["run"])
def test_a_recorded_run_is_read_alike(item: Json) -> None:
    assert compare(item["controller"], item["tasks"]) != []


def test_the_recorded_runs_hold_what_may_happen() -> None:
    def statuses(run: str) -> set[str]:
        return {step["status"] for step in compare(ENDED_RUNS[run]["controller"], ENDED_RUNS[run]["tasks"])}

    assert statuses("plain") == statuses("sharded") == statuses("nested") == {"completed"}
    assert statuses("cached") == {"cached"}
    assert statuses("failed") == {"completed", "failed"}
    assert statuses("aborted") == {"aborted", "skipped"}
    nested = compare(ENDED_RUNS["nested"]["controller"], ENDED_RUNS["nested"]["tasks"])
    assert [len(step["inner"]) for step in nested] == [3, 0]


def cloned(controller: Json, tasks: list[Json]) -> list[Json]:
    controller |= {"id": "the copy", "status": "queued", "runtime": {}}
    return tasks


def cloned_and_taken_by_a_worker(controller: Json, tasks: list[Json]) -> list[Json]:
    controller |= {"id": "the copy", "status": "in_progress", "runtime": {}}
    return tasks


def reset(controller: Json, tasks: list[Json]) -> list[Json]:
    controller |= {"status": "created", "runtime": {}}
    return tasks


def without_its_steps_tasks(controller: Json, tasks: list[Json]) -> list[Json]:
    return []


def without_a_steps_task(controller: Json, tasks: list[Json]) -> list[Json]:
    return tasks[1:]


def in_status(status: str) -> Callable[[Json, list[Json]], list[Json]]:
    def change(controller: Json, tasks: list[Json]) -> list[Json]:
        for task in tasks:
            task["status"] = status
        return tasks

    change.__name__ = f"steps {status}"
    return change


def with_steps_noted_as_skipped(controller: Json, tasks: list[Json]) -> list[Json]:
    nodes = json.loads(controller["configuration"]["Pipeline"]["value"])
    for node in nodes.values():
        node |= {"status": "skipped", "job_id": None}
    controller["configuration"]["Pipeline"]["value"] = json.dumps(nodes)
    controller["status"] = "in_progress"
    return []


def with_a_namesake(controller: Json, tasks: list[Json]) -> list[Json]:
    """A step was run a second time, and the graph does not name the second task yet."""
    nodes = json.loads(controller["configuration"]["Pipeline"]["value"])
    for node in nodes.values():
        node["job_id"] = None
    controller["configuration"]["Pipeline"]["value"] = json.dumps(nodes)
    later = [task | {"id": f"{task['id']}-2", "created": "2099-01-01T00:00:00Z"} for task in tasks]
    return [*later, *tasks]


CHANGES = [
    cloned, cloned_and_taken_by_a_worker, reset, without_its_steps_tasks, without_a_steps_task,
    with_steps_noted_as_skipped, with_a_namesake, *map(in_status, sorted(runs.OF_TASK)),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("run", sorted(ENDED_RUNS))
def test_a_changed_run_is_read_alike(run: str, change: Callable[[Json, list[Json]], list[Json]]) -> None:
    item = copy.deepcopy(ENDED_RUNS[run])
    compare(item["controller"], change(item["controller"], item["tasks"]))


@pytest.mark.parametrize("change", [cloned, cloned_and_taken_by_a_worker, reset], ids=lambda change: change.__name__)
def test_a_graph_of_an_earlier_run_is_a_plan(change: Callable[[Json, list[Json]], list[Json]]) -> None:
    item = copy.deepcopy(ENDED_RUNS["plain"])
    found = compare(item["controller"], change(item["controller"], item["tasks"]))
    assert {step["status"] for step in found} == {"pending"}


def test_steps_whose_tasks_were_deleted_stay_completed() -> None:
    item = ENDED_RUNS["plain"]
    assert {step["status"] for step in compare(item["controller"], [])} == {"completed"}
    assert run_records.read_run(item["controller"], []).outcome == "completed"


def test_an_aborted_step_has_an_end() -> None:
    item = ENDED_RUNS["aborted"]
    (aborted,) = [s for s in compare(item["controller"], item["tasks"]) if s["status"] == "aborted"]
    assert aborted["ended"] > aborted["started"]


@pytest.mark.parametrize("run", sorted(ENDED_RUNS))
def test_both_draw_the_same_columns_and_edges(run: str) -> None:
    item = ENDED_RUNS[run]
    steps = run_records.read_run(item["controller"], item["tasks"]).steps
    page = dag.layout({step.name: step.parents for step in runs.read_run(item["controller"], item["tasks"]).steps})
    assert page is not None
    drawing = report.lay_out([run_records.StepState(step.name, parents=step.parents) for step in steps])
    assert columns(page.boxes, "name") == columns([Named(box) for box in drawing.boxes], "name")
    assert len(page.edges) == len(drawing.lines)


class Named:
    """A box of the report under its step's name."""

    def __init__(self, box: report.Box) -> None:
        self.name, self.x = box.step.name, box.x


def columns(boxes: Any, name: str) -> list[set[str]]:
    """Return the names of boxes, column by column from the left."""
    ordered = sorted(boxes, key=lambda box: box.x)
    return [{getattr(box, name) for box in column} for _, column in groupby(ordered, key=lambda box: box.x)]
