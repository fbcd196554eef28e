"""A task's document as state: on its way to a pod, ended, and why."""

from __future__ import annotations

import pytest

from clearml_access import tasks

CHANGED = "1970-01-01T00:16:40Z"
MOVING = "moving to k8s pending queue"


def document(status, reason, changed=CHANGED):
    return {"id": "t", "status": status, "status_reason": reason, "status_changed": changed}


@pytest.mark.parametrize(
    ("status", "reason", "seconds", "moving"),
    [
        ("stopped", MOVING, 1, True),
        ("stopped", MOVING, 500, False),
        ("stopped", "user aborted", 1, False),
        ("stopped", None, 1, False),
        ("queued", "k8s pending scheduler", 1, False),
    ],
)
def test_a_task_on_its_way_to_a_pod_is_stopped_for_a_moment(status, reason, seconds, moving):
    """The k8s glue stops a task while it moves it to the queue of pods that start."""
    task, now = document(status, reason), 1000.0 + seconds
    assert tasks.is_on_its_way(task, now) is moving
    seen = tasks.as_seen(task, now)
    assert seen["status"] == ("queued" if moving else status)
    assert tasks.has_ended(seen) is (status == "stopped" and not moving)


def test_without_a_moment_a_task_is_not_on_its_way_for_ever():
    assert not tasks.is_on_its_way(document("stopped", MOVING, None), 1000.0)


def test_a_task_that_stays_on_its_way_is_explained():
    assert "made no pod of it" in tasks.reason_of(document("stopped", MOVING))
    assert "reset and enqueue it again" in tasks.reason_of(document("stopped", MOVING))


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("user aborted", "user aborted"),
        ("user aborted", "Stopped by localserver"),
        ("task was stopped by tasks.stop", "Changed by clearml-agent machine:steps-1"),
    ],
)
def test_a_stop_that_a_user_asked_for_has_one_wording(reason, message):
    assert tasks.reason_of(document("stopped", reason) | {"status_message": message}) == "aborted by a user"


def test_who_asks_for_a_status_gets_what_tells_where_the_task_stands():
    assert tasks.fields(["name"]) == ["id", "name"]
    assert tasks.fields(["status"]) == ["id", "status", "status_changed", "status_message", "status_reason"]


KILLED = {
    "status": "failed",
    "status_reason": "worker execution exit code -9",
    "status_changed": "2026-11-27T10:00:00Z",
    "runtime": {"pod_agent": "agent/clearml/1"},
}


@pytest.mark.parametrize(
    ("change", "after_s", "waits"),
    [
        ({}, 1, True),
        ({"status_reason": "worker execution exit code 137"}, 1, True),
        ({}, 60, False),
        ({"status": "completed"}, 1, False),
        ({"status_reason": "worker execution exit code 1"}, 1, False),
        ({"runtime": {}}, 1, False),
        ({"runtime": {"pod_agent": "a", "pod": "pod x ended: OOMKilled"}}, 1, False),
        ({"runtime": {"pod_agent": "a", "pod_phases": "schedule 1 s"}}, 1, False),
    ],
)
def test_a_task_that_was_killed_in_its_pod_waits_for_the_reason(change, after_s, waits):
    task = KILLED | change
    assert tasks.awaits_its_reason(task, tasks.moment(KILLED["status_changed"]) + after_s) is waits


def test_the_end_of_its_pod_is_part_of_a_failed_tasks_reason_once():
    ended = "pod x ended: OOMKilled, exit code 137"
    assert tasks.reason_of(KILLED | {"runtime": {"pod": ended}}) == f"worker execution exit code -9; {ended}"
    said = {"status": "failed", "status_reason": "pod: Evicted", "status_message": ended, "runtime": {"pod": ended}}
    assert tasks.reason_of(said) == f"pod: Evicted; {ended}"
    assert tasks.reason_of(KILLED | {"status": "queued", "status_reason": "", "runtime": {"pod": ended}}) == ""
