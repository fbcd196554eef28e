"""Pipeline runs as read from a controller and its steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clearml_localserver.web import runs

BEGUN = {"_pipeline_hash": "x:1.0"}


def controller(nodes: dict[str, Any], status: str = "in_progress", runtime: dict[str, str] | None = None) -> Any:
    return {
        "id": "run",
        "status": status,
        "type": "controller",
        "system_tags": ["pipeline"],
        "runtime": BEGUN if runtime is None else runtime,
        "configuration": {"Pipeline": {"name": "Pipeline", "value": json.dumps(nodes)}},
    }


def node(**fields: Any) -> dict[str, Any]:
    return {"parents": [], "job_id": None, "status": "pending", "queue": "default", "parameters": {}} | fields


def step(id: str, status: str, name: str = "a", parent: Any = "run", **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": name, "status": status, "parent": parent} | fields


def only(run: runs.Run) -> runs.Step:
    (found,) = run.steps
    return found


@pytest.mark.parametrize(
    ("task_status", "shown"),
    [
        ("created", "pending"),
        ("queued", "queued"),
        ("in_progress", "running"),
        ("stopped", "aborted"),
        ("failed", "failed"),
        ("completed", "completed"),
        ("published", "completed"),
    ],
)
def test_the_steps_own_task_knows_better_than_the_stored_graph(task_status: str, shown: str) -> None:
    run = runs.read_run(controller({"a": node(job_id="s1", status="queued")}), [step("s1", task_status)])
    assert only(run).status == shown
    assert only(run).task_id == "s1"


def test_a_cached_step_is_marked_though_its_task_belongs_to_an_earlier_run() -> None:
    earlier = step("s1", "completed", parent="other", started="2026-11-23T10:00:00Z", completed="2026-11-23T10:00:09Z")
    found = only(runs.read_run(controller({"a": node(job_id="s1", status="cached")}), [earlier]))
    assert (found.status, found.task_id) == ("cached", "s1")
    assert found.seconds(runs.moment("2026-11-23T11:00:00Z")) is None  # type: ignore[arg-type]


def test_a_running_step_is_found_by_name_before_the_graph_names_its_task() -> None:
    old, new = (
        step("s1", "stopped", created="2026-11-23T10:00Z"),
        step("s2", "in_progress", created="2026-11-23T11:00Z"),
    )
    found = only(runs.read_run(controller({"a": node()}), [new, old]))
    assert (found.task_id, found.status) == ("s2", "running")


def test_a_namesake_of_another_run_is_not_taken() -> None:
    stranger = step("s1", "in_progress", parent={"id": "other"})
    assert only(runs.read_run(controller({"a": node()}), [stranger])).task_id is None


@pytest.mark.parametrize(
    ("status", "runtime", "begun"),
    [
        ("created", {}, False),
        ("queued", {}, False),
        ("in_progress", {}, False),
        ("in_progress", BEGUN, True),
        ("stopped", BEGUN, True),
        ("queued", BEGUN, True),
        ("completed", {}, True),
    ],
)
def test_a_copys_graph_counts_only_once_the_copy_has_started(status: str, runtime: Any, begun: bool) -> None:
    task = controller({"a": node(job_id="s1", status="completed")}, status, runtime)
    assert runs.step_ids(task) == (["s1"] if begun else [])
    found = only(runs.read_run(task, [step("s1", "completed", parent="original")]))
    assert found.status == ("completed" if begun else "pending")
    assert found.task_id == ("s1" if begun else None)


@pytest.mark.parametrize(
    ("stored", "status", "shown"),
    [
        (node(), "in_progress", "pending"),
        (node(), "failed", "skipped"),
        (node(status="skipped"), "in_progress", "skipped"),
        (node(status="completed", job_id="deleted"), "completed", "completed"),
    ],
)
def test_steps_without_a_task(stored: dict[str, Any], status: str, shown: str) -> None:
    assert only(runs.read_run(controller({"a": stored}, status), [])).status == shown


def test_why_a_step_failed_is_told() -> None:
    task = step("s1", "failed", status_reason="reason", status_message="exit code 1")
    assert only(runs.read_run(controller({"a": node(job_id="s1")}), [task])).message == "Reason. Exit code 1."


@pytest.mark.parametrize("text", ["null", "[]", "not json", "[" * 5000, '"a"', '{"a": ' + "1" * 5000 + "}"])
def test_a_graph_that_cannot_be_read_is_an_empty_one_and_said_so(text: str) -> None:
    task = controller({})
    task["configuration"]["Pipeline"]["value"] = text
    run = runs.read_run(task, [])
    assert run.steps == []
    assert "cannot be read" in run.problem


@pytest.mark.parametrize("stored", [1, None, [], "x", {"parents": 1}, {"parents": "b"}, {"parents": [1, {}]}])
def test_a_step_that_is_not_as_the_sdk_writes_it_is_shown_and_marked(stored: object) -> None:
    run = runs.read_run(controller({"odd": stored, "fine": node()}), [])
    assert [(step.name, step.status) for step in run.steps] == [("odd", "pending"), ("fine", "pending")]
    assert "e.g. the step 'odd'" in run.problem
    assert runs.read_run(controller({"fine": node(), "alone": {}}), []).problem == ""


def test_a_graph_of_any_length_is_not_read() -> None:
    task = controller({})
    task["configuration"]["Pipeline"]["value"] = "[" + "1," * 3_000_000 + "1]"
    assert "too large" in runs.read_run(task, []).problem


@pytest.mark.parametrize("configuration", [None, {}, {"Pipeline": {}}, {"Pipeline": None}])
def test_a_controller_without_a_graph(configuration: Any) -> None:
    task = controller({}) | {"configuration": configuration}
    assert runs.read_run(task, []).steps == []


def test_counts() -> None:
    run = runs.read_run(
        controller({"a": node(job_id="s1"), "b": node(), "c": node(status="cached", job_id="gone")}),
        [step("s1", "completed")],
    )
    assert run.counts == {"completed": 1, "pending": 1, "cached": 1}
    assert run.completed_steps == 2


def test_the_strip_of_a_wide_run_stands_for_all_steps_and_hides_no_failure() -> None:
    nodes = {f"s{n:03d}": node(job_id=f"t{n}") for n in range(300)}
    tasks = [step(f"t{n}", "failed" if n == 299 else "completed", name) for n, name in enumerate(nodes)]
    squares = runs.read_run(controller(nodes, "failed"), tasks).squares
    assert [square.status for square in squares] == ["completed"] * 19 + ["failed"]
    assert squares[-1].title == "s285 to s299: 1 failed, 14 completed"
    assert squares[0].title == "s000 to s014: 15 completed"


@pytest.mark.parametrize("number", [0, 1, 20, 21, 39, 41])
def test_a_square_stands_for_one_step_while_there_is_room(number: int) -> None:
    nodes = {f"s{n:03d}": node(job_id=f"t{n}") for n in range(number)}
    tasks = [step(f"t{n}", "completed", name) for n, name in enumerate(nodes)]
    squares = runs.read_run(controller(nodes, "completed"), tasks).squares
    assert len(squares) == min(number, runs.MAX_SQUARES)
    if number <= runs.MAX_SQUARES:
        assert [square.title for square in squares] == [f"{name}: completed" for name in nodes]
