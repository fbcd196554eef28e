"""A task's way through its statuses, and through queues."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import create, entries, get, identity, new_queue, report, task_in, unique

pytestmark = pytest.mark.integration


def test_reply_of_a_move_is_what_was_stored(api: ApiClient) -> None:
    task = create(api)
    reply = api("tasks.started", task=task, status_reason="r", status_message="m")
    assert (reply["started"], reply["updated"]) == (1, 1)
    found = get(api, task)
    assert reply["fields"].items() <= found.items()
    assert found["started"] == found["status_changed"] == found["last_update"] == found["last_change"]
    assert (found["status_reason"], found["status_message"]) == ("r", "m")
    done = api("tasks.completed", task=task)
    assert (done["published"], done["fields"]["status_reason"]) == (0, "")
    published = api("tasks.publish", task=task)
    assert published["fields"]["output"] == {}
    assert api("tasks.started", task=task, force=True)["fields"]["status"] == "in_progress"


def test_completing_and_publishing_at_once(api: ApiClient) -> None:
    task = create(api)
    api("tasks.started", task=task)
    reply = api("tasks.completed", task=task, publish=True)
    assert (reply["published"], reply["fields"]["status"]) == (1, "published")
    found = get(api, task)
    assert found["status"] == "published"
    assert {"completed", "published"} <= found.keys()


def test_ping_counts_a_running_task_s_seconds(api: ApiClient) -> None:
    task = create(api)
    api("tasks.started", task=task)
    assert api("tasks.ping", task=task) == {}
    assert get(api, task)["active_duration"] >= 0
    api("tasks.started", task=task)
    assert "active_duration" in get(api, task), "telling a running task's start again changes nothing of it"


def test_stop_of_an_agents_task_asks_the_agent(api: ApiClient) -> None:
    task = create(api)
    api("tasks.started", task=task)
    worker = report(api, task)
    api("workers.unregister", worker=worker)
    for force in (False, True):
        reply = api("tasks.stop", task=task, status_reason="user abort", force=force)
        shown = {name: reply["fields"][name] for name in ("status", "status_reason", "status_message")}
        assert shown == {"status": "in_progress", "status_reason": "user abort", "status_message": "stopping"}
    assert api("tasks.stopped", task=task)["fields"]["status"] == "stopped"


def test_stop_of_other_tasks_stops_them(api: ApiClient) -> None:
    name = identity(api)["user_name"]
    by_hand = create(api, system_tags=["development"])
    api("tasks.started", task=by_hand)
    report(api, by_hand)
    queue = new_queue(api)
    waiting = create(api)
    api("tasks.enqueue", task=waiting, queue=queue)
    for task in (by_hand, waiting):
        fields = api("tasks.stop", task=task)["fields"]
        assert (fields["status"], fields["status_message"]) == ("stopped", f"Stopped by {name}")
        assert "completed" not in get(api, task)
    assert entries(api, queue) == []


@pytest.mark.parametrize(
    ("action", "force"), [("stopped", False), ("failed", True), ("completed", True), ("close", True), ("publish", True)]
)
def test_a_waiting_task_that_ends_leaves_its_queue(api: ApiClient, action: str, force: bool) -> None:
    """The genuine server leaves the entry, and the next agent runs a task that has ended."""
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api(f"tasks.{action}", task=task, force=force)
    assert entries(api, queue) == []


def test_a_waiting_task_that_is_started_keeps_its_entry_until_it_is_dequeued(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("tasks.started", task=task)
    assert entries(api, queue) == [task]
    reply = api("tasks.dequeue", task=task, new_status="in_progress")
    assert (reply["dequeued"], reply["updated"], reply["fields"]["status"]) == (1, 1, "in_progress")
    assert entries(api, queue) == []


def test_a_task_that_is_taken_by_dequeue_has_the_time_at_which_its_agent_says_that_it_starts(api: ApiClient) -> None:
    """The agent in a pod takes its task so: without `started` no page knows how long the task ran."""
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("tasks.dequeue", task=task, new_status="in_progress")
    assert "started" not in api("tasks.get_by_id", task=task)["task"]
    api("tasks.started", task=task, force=True, status_reason="worker started execution")
    started = api("tasks.get_by_id", task=task)["task"]["started"]
    api("tasks.started", task=task, force=True, status_reason="worker starting task execution")
    assert api("tasks.get_by_id", task=task)["task"]["started"] == started


def test_publishing_readies_the_task_s_models(api: ApiClient) -> None:
    for publish_model in (True, False):
        task = create(api)
        model = api("models.create", name="model", uri="u", task=task, ready=False)["id"]
        api("tasks.publish", task=task, force=True, publish_model=publish_model)
        assert api("models.get_by_id", model=model)["model"]["ready"] is publish_model


def test_enqueue_and_dequeue(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api, system_tags=["development", "x"])
    reply = api("tasks.enqueue", task=task, queue=queue, verify_watched_queue=True, status_reason="r")
    assert (reply["queued"], reply["updated"], reply["queue_watched"]) == (1, 1, False)
    assert reply["fields"]["execution.queue"] == queue
    assert reply["fields"]["enqueue_status"] == "created"
    found = get(api, task)
    assert (found["execution"]["queue"], found["system_tags"], found["status_reason"]) == (queue, ["x"], "r")
    assert "enqueue_status" not in found
    shown = api("tasks.get_all", id=[task], only_fields=["enqueue_status"])["tasks"]
    assert shown[0]["enqueue_status"] == "created"
    back = api("tasks.dequeue", task=task)
    assert (back["fields"]["status"], back["fields"]["enqueue_status"]) == ("created", None)
    assert get(api, task)["execution"]["queue"] == queue
    assert entries(api, queue) == []


def test_whether_a_worker_watches_the_queue(api: ApiClient) -> None:
    watched, unwatched, task = new_queue(api), new_queue(api), create(api)
    api("workers.register", worker=unique("worker"), queues=[watched])

    def asked(**body: Any) -> bool:
        return bool(api("tasks.enqueue", task=task, verify_watched_queue=True, **body)["queue_watched"])

    assert asked(queue=unwatched) is False
    assert asked(queue=watched) is True
    assert asked(queue=unwatched, update_execution_queue=False) is False
    many = api("tasks.enqueue_many", ids=[create(api), create(api)], queue=watched, verify_watched_queue=True)
    assert many["queue_watched"] is True
    assert "queue_watched" not in api("tasks.enqueue", task=create(api), queue=watched)


def test_enqueue_to_another_queue_moves_the_task(api: ApiClient) -> None:
    first, second, task = new_queue(api), new_queue(api), create(api)
    api("tasks.started", task=task)
    api("tasks.stopped", task=task)
    api("tasks.enqueue", task=task, queue=first)
    assert api("tasks.enqueue", task=task, queue=second)["fields"]["execution.queue"] == second
    assert (entries(api, first), entries(api, second)) == ([], [task])
    assert api("tasks.dequeue", task=task)["fields"]["status"] == "stopped"


def test_a_task_lost_between_queue_and_worker_can_be_enqueued_again(api: ApiClient) -> None:
    """An agent that dies after taking a task leaves it `queued` in no queue."""
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("queues.get_next_task", queue=queue)
    assert get(api, task)["status"] == "queued"
    api("tasks.enqueue", task=task, queue=queue)
    assert entries(api, queue) == [task]


def test_queues_by_name(api: ApiClient) -> None:
    name = unique("queue")
    made = api("tasks.enqueue", task=create(api), queue_name=name)["fields"]["execution.queue"]
    assert api("queues.get_by_id", queue=made)["queue"]["name"] == name
    assert api("tasks.enqueue", task=create(api), queue_name=name)["fields"]["execution.queue"] == made
    default = api("queues.get_default")["id"]
    assert api("tasks.enqueue", task=create(api))["fields"]["execution.queue"] == default


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"queue": "nope"}, (400, 701)),
        ({"queue_name": "ab"}, (400, 800)),
        (
            {"queue": "a", "queue_name": "b"},
            (400, 12, "Validation error (Either queue id or queue name should be provided)"),
        ),
    ],
)
def test_refused_enqueues_change_nothing(api: ApiClient, body: dict[str, Any], error: tuple[Any, ...]) -> None:
    task = create(api)
    assert api.send("tasks.enqueue", task=task, **body).error[: len(error)] == error
    assert get(api, task)["status"] == "created"


@pytest.mark.parametrize("status", ["created", "in_progress", "stopped"])
@pytest.mark.parametrize("force", [False, True])
def test_enqueue_of_agents_after_1_9_2_is_refused_with_the_text_of_clearml_agent_issue_223(
    api: ApiClient, queue: str, status: str, force: bool
) -> None:
    """Why the agent is pinned to 1.9.2: later ones dequeue a task and then make this call."""
    task = task_in(api, status, queue)
    reply = api.send("tasks.enqueue", task=task, queue=queue, update_execution_queue=False, force=force)
    assert reply.error == (
        400,
        12,
        "Validation error (Cannot skip setting execution queue for a task that is not enqueued or does not have "
        "execution queue set)",
    )
    assert get(api, task)["status"] == status


def test_a_waiting_task_can_change_queues_and_keep_its_execution_queue(api: ApiClient) -> None:
    first, second, task = new_queue(api), new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=first)
    api("tasks.enqueue", task=task, queue=second, update_execution_queue=False)
    assert get(api, task)["execution"]["queue"] == first
    assert (entries(api, first), entries(api, second)) == ([], [task])
    api("tasks.stop", task=task)
    assert entries(api, second) == []


def test_bad_status_of_a_dequeue(api: ApiClient) -> None:
    error = (400, 12, "Validation error (Invalid task status: bogus)")
    assert api.send("tasks.dequeue", task=create(api), new_status="bogus").error == error


def test_many(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api)
    company = identity(api)["company"]
    unknown = {
        "id": "zz",
        "error": {
            "codes": [400, 101],
            "msg": f"Invalid task id: id=zz, company={company}",
            "data": {"id": "zz", "company": company},
        },
    }
    ids = [task, "zz"]

    def run(action: str, **body: Any) -> dict[str, Any]:
        reply = api(f"tasks.{action}", ids=ids, **body)
        assert reply["failed"] == [unknown]
        (succeeded,) = reply["succeeded"]
        assert succeeded.pop("id") == task
        return dict(succeeded)

    assert run("enqueue_many", queue=queue)["queued"] is True
    assert api("tasks.dequeue_many", ids=ids)["succeeded"][1] == {
        "id": "zz", "dequeued": True, "updated": 0, "fields": {},
    }  # fmt: skip
    api("tasks.started", task=task)
    assert run("stop_many")["fields"]["status"] == "stopped"
    assert run("publish_many")["fields"]["status"] == "published"
    reset = run("reset_many", force=True)
    assert (reset["dequeued"], reset["deleted_models"], reset["urls"]) == (False, 0, {})
    assert run("delete_many") == {
        "deleted": True, "updated_children": 0, "updated_models": 0, "deleted_models": 0, "urls": None,
    }  # fmt: skip
    for action in ("enqueue", "dequeue", "stop", "publish", "reset", "delete", "archive", "unarchive"):
        assert api.send(f"tasks.{action}_many", ids=[]).error[:2] == (400, 12)


def test_a_refused_one_of_many_leaves_no_trace(api: ApiClient) -> None:
    draft, published = create(api), create(api)
    api("tasks.publish", task=published, force=True)
    before = get(api, published)
    reply = api("tasks.reset_many", ids=[published, draft])
    assert [item["id"] for item in reply["succeeded"]] == [draft]
    assert reply["failed"][0]["error"]["data"] == {"task_id": published, "status": "published"}
    assert get(api, published) == before
