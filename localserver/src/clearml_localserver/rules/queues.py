"""Pure rules of queues: order of entries, the default queue, what leaving a queue does to a task."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.times import iso

Document = dict[str, Any]

"""Shortest name of a queue that the genuine server takes."""


def topic(queue_id: str) -> str:
    """Return what is notified when a queue's entries change."""
    return f"queue:{queue_id}"


def with_entry(queue: Document, task_id: str, now: datetime) -> Document:
    """Return `queue` with an entry for the task at its end.

    Raises:
        ApiError: 400/706 if the task is in it already.
    """
    if any(entry["task"] == task_id for entry in queue["entries"]):
        raise ApiError(400, 706, f"Failed adding task to queue since task is already queued: task={task_id}")
    entry = {"task": task_id, "added": iso(now)}
    return queue | {"entries": [*queue["entries"], entry], "last_update": iso(now)}


def without_entry(queue: Document, task_id: str, now: datetime) -> Document:
    """Return `queue` without the task's entry."""
    left = [entry for entry in queue["entries"] if entry["task"] != task_id]
    return queue | {"entries": left, "last_update": iso(now)}


def before_enqueue(task: Document, now: datetime) -> Document:
    """Return a task as it was before it was enqueued: its status of then, and no queue."""
    moment = iso(now)
    execution = {name: value for name, value in task.get("execution", {}).items() if name != "queue"}
    status = task.get("enqueue_status") or "created"
    said = {"status_reason": "taken out of its queue", "status_message": ""}  # those of its time in the queue are over
    changes = {"status": status, "enqueue_status": None, "execution": execution, **said}
    return task | changes | {"status_changed": moment, "last_update": moment, "last_change": moment}


def default_queue(queues: Iterable[Document]) -> Document:
    """Return the queue tagged as the default one.

    Raises:
        ApiError: 400/707 if none is.
    """
    for queue in queues:
        if "default" in queue.get("system_tags", []):
            return queue
    raise ApiError(400, 707, "No queue is tagged as the default queue for this company")
