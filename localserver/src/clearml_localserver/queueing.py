"""Queues and workers in the store: what several services' endpoints do to them."""

from __future__ import annotations

from datetime import datetime

from clearml_localserver.rules import queues as rules
from clearml_localserver.store import Document, Tx


def append_entry(tx: Tx, queue: Document, task_id: str, now: datetime) -> None:
    """Put a task at the end of a queue and wake who waits for one.

    Raises:
        ApiError: 400/706 if the task stands in that queue already.
    """
    tx.put("queue", rules.with_entry(queue, task_id, now))
    tx.notify(rules.topic(queue["id"]))


def remove_entry(tx: Tx, queue_id: str | None, task_id: str, now: datetime) -> bool:
    """Take a task out of a queue; tell whether it stood there."""
    queue = tx.get("queue", queue_id) if queue_id else None
    if queue is None or all(entry["task"] != task_id for entry in queue["entries"]):
        return False
    tx.put("queue", rules.without_entry(queue, task_id, now))
    return True


def worker_of_session(tx: Tx, session: str) -> Document | None:
    """Return the worker that registered or reported in this login session.

    A request for a task does not name its worker, and the worker header holds only the host's name.
    """
    found = tx.docs("SELECT doc FROM worker WHERE json_extract(doc, '$.session') = ?", (session,)) if session else []
    return found[0] if found else None
