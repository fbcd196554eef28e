"""Add and remove entries of queues, for several services' endpoints."""

from __future__ import annotations

from datetime import datetime

from clearml_localserver.rules import queues as rules
from clearml_localserver.store import Document, Tx


def append_entry(tx: Tx, queue: Document, task_id: str, now: datetime) -> None:
    """Put a task at the end of a queue and wake who waits for one.

    Raises:
        ApiError: 400/706 if the task is in that queue already.
    """
    tx.put("queue", rules.with_entry(queue, task_id, now))
    tx.notify(rules.topic(queue["id"]))


def remove_entry(tx: Tx, queue_id: str | None, task_id: str, now: datetime) -> bool:
    """Take a task out of a queue; return whether it stood there."""
    queue = tx.get("queue", queue_id) if queue_id else None
    if queue is None or all(entry["task"] != task_id for entry in queue["entries"]):
        return False
    tx.put("queue", rules.without_entry(queue, task_id, now))
    return True
