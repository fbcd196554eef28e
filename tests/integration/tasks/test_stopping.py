"""A stop that was asked for stays asked for: an agent's first words do not undo it, nor does the task's own end."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.rules.tasks import OVERRULED

from tests.api_client import ApiClient, Reply
from tests.integration.tasks.world import create, entries, get, new_queue, report

pytestmark = pytest.mark.integration

# What clearml-agent 1.9.2 says between taking a task and running it, in its order (design/wire.md).
START_UP: list[tuple[str, dict[str, Any]]] = [
    ("tasks.started", {"force": True, "status_message": "pulled by agent"}),
    ("workers.status_report", {"worker": "stopping-worker", "timestamp": 0}),
    ("tasks.started", {"force": True, "status_message": "launch by agent"}),
    ("tasks.dequeue", {"new_status": "in_progress"}),
    ("tasks.started", {"force": True, "status_reason": "starting execution soon"}),
    ("tasks.started", {"force": True, "status_reason": "worker started execution"}),
    ("tasks.started", {"force": True, "status_reason": "worker starting task execution"}),
    ("tasks.ping", {}),
    ("tasks.started", {}),  # the SDK in the task's process
]


def taken(api: ApiClient) -> str:
    """A task that an agent has taken out of its queue."""
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("queues.get_next_task", queue=queue)
    return task


def state(api: ApiClient, task: str) -> tuple[str, str]:
    found = get(api, task)
    return found["status"], found["status_message"]


SAID_BY_AGENT = {"status_message": "Changed by clearml-agent stopping-worker"}


@pytest.mark.parametrize(
    ("stopped_after", "stop"),
    # `tasks.stopped` is how the SDK aborts the steps of a pipeline and the jobs of a search.
    [
        *((number, "tasks.stop") for number in range(len(START_UP) + 1)),
        *((number, "tasks.stopped") for number in range(len(START_UP))),
    ],
)
def test_a_stop_in_a_tasks_first_seconds_is_still_asked_for_when_its_agent_has_started_it(
    api: ApiClient, stopped_after: int, stop: str
) -> None:
    task = taken(api)
    for number, (endpoint, body) in enumerate([*START_UP, ("tasks.ping", {})]):
        if number == stopped_after:
            api(stop, task=task, force=True)
        api(endpoint, task=task, **body)
    assert state(api, task) == ("in_progress", "stopping")
    api("tasks.stopped", task=task, status_reason="task was stopped by tasks.stop", **SAID_BY_AGENT)
    assert get(api, task)["status"] == "stopped"
    api("tasks.started", task=task, force=True, status_message="launch by agent")  # by hand, once it has ended
    assert state(api, task) == ("in_progress", "launch by agent")


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("tasks.completed", {}),
        ("tasks.completed", {"publish": True}),
        ("tasks.completed", {"force": True}),
        ("tasks.failed", {}),
        ("tasks.failed", {"force": True}),
    ],
)
@pytest.mark.parametrize("reported", [True, False], ids=["in an agent's hands", "run by hand"])
def test_a_task_that_was_to_stop_and_reports_its_own_end_is_stopped(
    api: ApiClient, reported: bool, endpoint: str, body: dict[str, Any]
) -> None:
    task = taken(api)
    api("tasks.started", task=task)
    if reported:
        report(api, task)
    api("tasks.stop", task=task)
    reply = api(endpoint, task=task, status_reason="done", **body)
    if body.get("force") and not reported:  # it has ended: a person says that it has completed after all
        assert reply["fields"]["status"] == endpoint.removeprefix("tasks.")
        return
    assert reply["fields"]["status"] == "stopped"
    assert reply.get("published", 0) == 0
    assert state(api, task) == ("stopped", OVERRULED)
    assert get(api, task)["status_reason"] == "done"


def test_a_task_that_is_to_stop_publishes_nothing(api: ApiClient) -> None:
    task = taken(api)
    api("tasks.started", task=task)
    report(api, task)
    assert "stop_asked" not in api("tasks.stop", task=task)["fields"]
    assert "stop_asked" not in get(api, task), "a note of the server's own"
    error = api.send("tasks.publish", task=task, force=True).error
    assert error[:2] == (400, 110)
    assert "A stop was asked for" in error[2]
    api("tasks.completed", task=task)
    assert api.send("tasks.publish", task=task).error[:2] == (400, 110)  # its process, a moment later
    assert get(api, task)["status"] == "stopped"


def test_what_had_ended_before_the_stop_stays_as_it_ended(api: ApiClient) -> None:
    task = taken(api)
    api("tasks.started", task=task)
    api("tasks.completed", task=task)
    assert api.send("tasks.stop", task=task).error[:2] == (400, 110)
    api("tasks.completed", task=task)
    assert get(api, task)["status"] == "completed"


@pytest.mark.parametrize("endpoint", ["tasks.dequeue", "tasks.stop"])
def test_dequeuing_a_running_task_does_not_take_its_stop_back(api: ApiClient, endpoint: str) -> None:
    task = taken(api)
    api("tasks.started", task=task)
    report(api, task)
    api("tasks.stop", task=task)
    api(endpoint, task=task)
    assert state(api, task) == ("in_progress", "stopping")


def test_a_task_that_is_archived_while_a_worker_takes_it_does_not_run(api: ApiClient) -> None:
    task = taken(api)
    api("tasks.archive", tasks=[task])
    assert get(api, task)["status"] == "stopped"
    for endpoint, body in START_UP:
        api(endpoint, task=task, **body)
    assert state(api, task) == ("in_progress", "stopping")


def test_a_stopped_task_that_is_enqueued_again_runs(api: ApiClient) -> None:
    task = taken(api)
    api("tasks.stop", task=task)
    queue = new_queue(api)
    api("tasks.enqueue", task=task, queue=queue)
    assert entries(api, queue) == [task]
    for endpoint, body in START_UP:
        api(endpoint, task=task, **body)
    assert state(api, task) == ("in_progress", "")
    api("tasks.completed", task=task)
    assert get(api, task)["status"] == "completed"


@pytest.mark.parametrize("again", ["reset", "continued by the SDK"])
def test_a_stopped_task_that_begins_anew_is_not_asked_to_stop(api: ApiClient, again: str) -> None:
    task = taken(api)
    api("tasks.started", task=task)
    api("tasks.stop", task=task)
    if again == "reset":
        api("tasks.reset", task=task)
    api("tasks.started", task=task, force=True)
    assert state(api, task) == ("in_progress", "")
    api("tasks.completed", task=task)
    assert get(api, task)["status"] == "completed"


def glue(api: ApiClient, task: str, pending: str) -> Reply:
    """What the k8s glue 1.9.2 does with a task that it has taken."""
    api("tasks.stop", task=task, force=True, status_reason="moving to k8s pending queue")
    return api.send("tasks.enqueue", task=task, queue=pending, status_reason="k8s pending scheduler")


def test_a_task_on_its_way_to_a_pod_is_not_asked_to_stop(api: ApiClient) -> None:
    task, pending = taken(api), new_queue(api)
    assert glue(api, task, pending).status == 200
    for endpoint, body in START_UP:
        api(endpoint, task=task, **body)
    assert state(api, task) == ("in_progress", "")


def test_a_task_that_was_stopped_gets_no_pod(api: ApiClient) -> None:
    task, pending = taken(api), new_queue(api)
    api("tasks.stop", task=task)
    assert glue(api, task, pending).error[:2] == (400, 110)
    assert (get(api, task)["status"], entries(api, pending)) == ("stopped", [])


def test_a_task_that_was_stopped_while_its_pod_starts_is_ended_by_that_pod(api: ApiClient) -> None:
    task, pending = taken(api), new_queue(api)
    glue(api, task, pending)
    api("tasks.stop", task=task)
    assert (get(api, task)["status"], entries(api, pending)) == ("stopped", [])
    for endpoint, body in START_UP:
        api(endpoint, task=task, **body)
    assert state(api, task) == ("in_progress", "stopping")
