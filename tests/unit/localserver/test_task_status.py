"""The task status machine, cell by cell of the specification's table, and what a move changes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import lost_tasks
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.task_documents import empty_task
from clearml_localserver.times import iso

from tests.unit.localserver.task_table import CASES, Case, text_of

NOW = datetime(2026, 11, 23, 6, 0, 0, 123000, tzinfo=timezone.utc)
STAMP = rules.Stamp("someone", NOW, "because", "said so")
PURE = [case for case in CASES if (case.action, case.status) != ("enqueue", "queued")]  # that cell is the queue's


def task_in(status: str, **fields: Any) -> rules.Task:
    task = empty_task("t1", "c1", rules.Stamp("maker", NOW - timedelta(hours=1)))
    return (
        task | {"status": status, "enqueue_status": "stopped" if status in ("queued", "in_progress") else None} | fields
    )


def outcome(case: Case) -> str:
    """Run one cell through the rules and say what came of it in the table's words."""
    task = task_in(case.status)
    kinds = {"edit": "edit", "edit_hyper_params": "inputs", "delete_hyper_params": "inputs"}
    kinds |= {"edit_configuration": "inputs", "delete_configuration": "inputs"}
    kinds |= dict.fromkeys(("add_or_update_artifacts", "delete_artifacts"), "results")
    kinds |= dict.fromkeys(("add_or_update_model", "delete_models"), "results")
    if case.action in kinds:
        rules.require_editable(kinds[case.action], task, force=case.force)
        return "same"
    if case.action == "delete":
        rules.require_deletable(task, force=case.force, ready_models=0, published_children=0)
        return "gone"
    if case.action == "dequeue":
        change = rules.dequeued(task, STAMP, None)
        return "no-op" if change is None else {"stopped": "enqueue_status"}[change.fields["status"]]
    if case.action == "enqueue":
        return str(rules.enqueued(task, STAMP, force=case.force, queue="q1").fields["status"])
    if case.action == "stop":
        change = rules.stopped_by_user(task, STAMP, "someone", force=case.force, worker_lost_s=60)
        status = change.fields["status"]
    elif case.action == "reset":
        status = rules.destination("reset", task, force=case.force)
    elif case.action in rules.TRANSITIONS:
        status = rules.transition(case.action, task, STAMP, force=case.force).fields["status"]
    else:  # no rule stands against it in any status
        status = case.status
    return "same" if status == case.status and case.outcome == "same" else str(status)


@pytest.mark.parametrize("case", PURE, ids=lambda case: f"{case.action}-{case.status}{'-force' * case.force}")
def test_every_cell_of_the_table(case: Case) -> None:
    if not case.outcome.isdigit():
        assert outcome(case) == case.outcome
        return
    with pytest.raises(ApiError) as refusal:
        outcome(case)
    assert (refusal.value.code, refusal.value.subcode) == (400, int(case.outcome))
    assert refusal.value.msg == text_of(case.outcome, case.action, case.status, "t1")


@pytest.mark.parametrize("action", ["started", "stopped", "failed", "completed", "close", "publish"])
def test_every_move_stamps_the_task_with_equal_times_and_the_words_of_the_request(action: str) -> None:
    change = rules.transition(action, task_in("closed"), STAMP, force=True)
    fields = change.fields
    assert {fields["status_changed"], fields["last_update"], fields["last_change"]} == {iso(NOW)}
    assert (fields["status_reason"], fields["status_message"]) == ("because", "said so")
    assert fields["last_changed_by"] == "someone"


def test_words_of_an_earlier_move_do_not_stay() -> None:
    task = task_in("in_progress", status_reason="old", status_message="old")
    change = rules.transition("completed", task, rules.Stamp("someone", NOW), force=False)
    assert (change.fields["status_reason"], change.fields["status_message"]) == ("", "")


def test_started_again_keeps_its_start_but_a_new_run_gets_a_new_one() -> None:
    running = task_in("in_progress", started="earlier")
    assert "started" not in rules.transition("started", running, STAMP, force=False).fields
    ended = task_in("completed", started="earlier", completed="later", active_duration=7)
    task = rules.transition("started", ended, STAMP, force=False).apply(ended)
    assert task["started"] == iso(NOW)
    assert not {"completed", "active_duration"} & task.keys()


@pytest.mark.parametrize(
    ("action", "time"),
    [("stopped", "completed"), ("failed", "completed"), ("completed", "completed"), ("publish", "published")],
)
def test_ends_are_timed(action: str, time: str) -> None:
    assert rules.transition(action, task_in("in_progress"), STAMP, force=True).fields[time] == iso(NOW)


@pytest.mark.parametrize("action", ["stopped", "failed", "completed"])
def test_an_end_told_twice_keeps_its_time(action: str) -> None:
    task = task_in(rules.TRANSITIONS[action].to, completed="earlier")
    assert rules.transition(action, task, STAMP, force=False).apply(task)["completed"] == "earlier"


REPORTED = {"last_worker": "w", "last_worker_report": iso(NOW - timedelta(seconds=10))}


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({}, "stopped", "Stopped by Ann"),
        (REPORTED, "in_progress", "stopping"),
        (REPORTED | {"status_message": "stopping"}, "in_progress", "stopping"),
        (REPORTED | {"system_tags": ["development"]}, "stopped", "Stopped by Ann"),
        (REPORTED | {"last_worker_report": iso(NOW - timedelta(seconds=61))}, "stopped", "Stopped by Ann"),
    ],
    ids=["no agent", "agent", "agent, asked before", "developer's own", "agent fallen silent"],
)
@pytest.mark.parametrize("force", [False, True])
def test_stop_asks_the_agent_that_runs_the_task(fields: dict[str, Any], status: str, message: str, force: bool) -> None:
    task = task_in("in_progress", **fields)
    change = rules.stopped_by_user(task, STAMP, "Ann", force=force, worker_lost_s=60)
    assert (change.fields["status"], change.fields["status_message"]) == (status, message)
    assert change.fields["status_reason"] == "because"
    assert "completed" not in change.fields


def test_enqueue_remembers_the_status_before_and_drops_the_development_tag() -> None:
    task = task_in("stopped", system_tags=["development", "x"], enqueue_status=None)
    change = rules.enqueued(task, STAMP, force=False, queue="q1")
    assert change.fields["enqueue_status"] == "stopped"
    assert change.apply(task)["execution"]["queue"] == "q1"
    assert task["system_tags"] == ["x"]
    assert rules.enqueued(task, STAMP, force=False, queue="q2").fields["enqueue_status"] == "stopped"


def test_dequeue_goes_where_it_is_told_to() -> None:
    change = rules.dequeued(task_in("queued"), STAMP, "in_progress")
    assert change is not None
    assert (change.fields["status"], change.fields["enqueue_status"]) == ("in_progress", None)
    never = rules.dequeued(task_in("in_progress", enqueue_status=None), STAMP, None)
    assert never is not None
    assert never.fields["status"] == "created"
    with pytest.raises(ApiError, match=r"Validation error \(Invalid task status: bogus\)"):
        rules.dequeued(task_in("created"), STAMP, "bogus")


def test_ping_counts_the_seconds_of_a_running_task_only() -> None:
    started = iso(NOW - timedelta(seconds=90.7))
    assert rules.pinged(task_in("in_progress", started=started), STAMP).fields["active_duration"] == 90
    assert "active_duration" not in rules.pinged(task_in("stopped", started=started), STAMP).fields


@pytest.mark.parametrize(
    ("status", "tags", "allowed"),
    [
        ("stopped", ["archived"], True),
        ("completed", ["archived"], True),
        ("stopped", [], False),
        ("in_progress", ["archived"], False),
        ("published", ["archived"], False),
    ],
)
def test_archived_tasks_are_deleted_without_force(status: str, tags: list[str], allowed: bool) -> None:
    task = task_in(status, system_tags=tags)
    if allowed:
        rules.require_deletable(task, force=False, ready_models=0, published_children=0)
    else:
        with pytest.raises(ApiError, match="due to status"):
            rules.require_deletable(task, force=False, ready_models=0, published_children=0)


@pytest.mark.parametrize(
    ("ready_models", "children", "text"),
    [
        (2, 0, "Task cannot be deleted (has output models, use force=True): task=t1, models=2"),
        (0, 3, "Task cannot be deleted (has children, use force=True): task=t1, children=3"),
    ],
)
def test_what_others_build_on_is_not_deleted_without_force(ready_models: int, children: int, text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        rules.require_deletable(task_in("created"), force=False, ready_models=ready_models, published_children=children)
    assert (refusal.value.subcode, refusal.value.msg) == (123, text)
    rules.require_deletable(task_in("created"), force=True, ready_models=ready_models, published_children=children)


def quiet(seconds: float, **fields: Any) -> rules.Task:
    return task_in("in_progress", last_update=iso(NOW - timedelta(seconds=seconds)), **fields)


AGENT = {"last_worker": "host:1", "last_worker_report": iso(NOW - timedelta(hours=9))}


@pytest.mark.parametrize(
    ("task", "since_s", "status"),
    [
        (quiet(7199), 9e4, None),
        (quiet(7200), 9e4, "stopped"),
        (quiet(7200), 7100, None),
        (quiet(119, **AGENT), 9e4, None),
        (quiet(120, **AGENT), 9e4, "failed"),
        (quiet(120, **AGENT), 100, None),
        (quiet(120, **(AGENT | {"last_worker_report": iso(NOW - timedelta(seconds=20))})), 9e4, None),
        (quiet(120, **AGENT, stop_asked=iso(NOW)), 9e4, "stopped"),
    ],
    ids=[
        "quiet, no agent",
        "too quiet, no agent",
        "server listens since shorter",
        "agent quiet",
        "agent lost",
        "agent quiet, server just started",
        "task quiet, worker reports",
        "agent lost when asked to stop",
    ],
)
def test_who_is_taken_for_dead(task: rules.Task, since_s: float, status: str | None) -> None:
    change = lost_tasks.non_responsive(
        task, NOW, threshold_s=7200, worker_lost_s=120, listening_since=NOW - timedelta(seconds=since_s)
    )
    assert (change.fields["status"] if change else None) == status


def test_the_dead_are_not_worded_as_a_pipeline_controller_would_wait_for() -> None:
    """The SDK takes a task stopped with exactly this message for one that will come back, without a deadline."""
    change = lost_tasks.non_responsive(
        quiet(8000, **AGENT), NOW, threshold_s=7200, worker_lost_s=120, listening_since=NOW - timedelta(days=1)
    )
    assert change is not None
    assert change.fields["status_reason"] == "Forced stop (non-responsive)"
    assert change.fields["status_message"].lower() != "forced stop (non-responsive)"
    assert "host:1" in change.fields["status_message"]
