"""Putting tasks into queues and taking them out again."""

from __future__ import annotations

from datetime import datetime, timedelta

from clearml_localserver.errors import validation_error
from clearml_localserver.ids import new_id
from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.query import by_id
from clearml_localserver.queue_entries import append_entry, remove_entry
from clearml_localserver.rules import queues as queue_rules
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.names import checked_name
from clearml_localserver.rules.tasks import Fields
from clearml_localserver.settings import Settings
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables.queues import all_queues
from clearml_localserver.times import iso


def enqueue_task(
    tx: Tx,
    task: Document,
    actor: Actor,
    *,
    queue: str | None = None,
    queue_name: str | None = None,
    force: bool = False,
    update_execution_queue: bool = True,
) -> Fields:
    """Put a task into a queue (by id or name; the default queue if neither is given); return the changed fields.

    A queue named for the first time is made. A task that waits in another queue moves over.

    Args:
        tx: The transaction.
        task: The task; changed in place.
        actor: Who enqueues it.
        queue: Id of the queue.
        queue_name: Name of the queue.
        force: Whether a task that has run may be enqueued as it is.
        update_execution_queue: False leaves `execution.queue` alone, which only a waiting task may ask for. Agents
            from 1.9.3 on ask it for a task that they have dequeued before (clearml-agent#223).

    Raises:
        ApiError: 400/12, 110, 701 (unknown queue), 706 (waits there already) or 707 (no default queue).
    """
    if queue and queue_name:
        raise validation_error("Either queue id or queue name should be provided")
    waiting_in = task["execution"].get("queue") if task["status"] == rules.QUEUED else None
    if not update_execution_queue and not waiting_in:
        raise validation_error(
            "Cannot skip setting execution queue for a task that is not enqueued or does not have execution queue set"
        )
    target = _target(tx, actor, queue, queue_name)
    change = rules.enqueued(task, actor.stamp, force=force, queue=target["id"] if update_execution_queue else None)
    for other in queues_with(tx, task["id"]):
        if other != target["id"]:
            remove_entry(tx, other, task["id"], actor.now)
    append_entry(tx, target, task["id"], actor.now)
    tx.put("task", change.apply(task))
    return change.fields


def dequeue_task(tx: Tx, task: Document, actor: Actor, new_status: str | None = None) -> Fields | None:
    """Take a task out of its queue and give it the status it had before; return the changed fields.

    None says that nothing was to be done: the task neither waits nor runs.

    Raises:
        ApiError: 400/12, `new_status` is not a status.
    """
    change = rules.dequeued(task, actor.stamp, new_status)
    if change is None:
        return None
    leave_queue(tx, task, actor.now)
    tx.put("task", change.apply(task))
    return change.fields


def leave_queue(tx: Tx, task: Document, now: datetime) -> bool:
    """Remove a task's entry from whatever queue it is in; return whether there was one."""
    removed = [remove_entry(tx, queue, task["id"], now) for queue in queues_with(tx, task["id"])]
    return any(removed)


def note_handed_out(tx: Tx, queue_id: str, entry: Document, now: datetime) -> None:
    """Remember an entry that a worker takes, until `requeue_lost` sees what happened to its task."""
    tx.execute(
        "INSERT OR REPLACE INTO handed_out (task, queue, added, time) VALUES (?, ?, ?, ?)",
        (entry["task"], queue_id, entry["added"], iso(now)),
    )


def was_handed_out(tx: Tx, task_id: str) -> bool:
    """Return whether a worker has taken a task so recently that it may still be starting it."""
    return bool(tx.rows("SELECT 1 FROM handed_out WHERE task = ?", (task_id,)))


def requeue_lost(tx: Tx, now: datetime, settings: Settings, listening_since: datetime) -> list[str]:
    """Put tasks back to the front of their queue that a worker took and never started; return their ids.

    Agents start a task within a moment of taking it, or put it into another queue (on Kubernetes). One that dies
    between leaves a task which waits in no queue: on the genuine server, forever.
    """
    patience = timedelta(seconds=settings.worker_lost_s)
    if now - listening_since < patience:
        return []
    requeued = []
    for task_id, queue_id, added in tx.rows(
        "SELECT task, queue, added FROM handed_out WHERE time <= ? ORDER BY added DESC", (iso(now - patience),)
    ):
        tx.execute("DELETE FROM handed_out WHERE task = ?", (task_id,))
        task, queue = tx.get("task", task_id), tx.get("queue", queue_id)
        if task is None or queue is None or task["status"] != rules.QUEUED or queues_with(tx, task_id):
            continue
        tx.put("queue", queue | {"entries": [{"task": task_id, "added": added}, *queue["entries"]]})
        tx.notify(queue_rules.topic(queue_id))
        requeued.append(task_id)
    return requeued


def queues_with(tx: Tx, task_id: str) -> list[str]:
    """Return the queues in which a task stands; `execution.queue` need not name them all."""
    rows = tx.rows(
        "SELECT DISTINCT queue.id FROM queue, json_each(queue.doc, '$.entries') AS entry "
        "WHERE json_extract(entry.value, '$.task') = ?",
        (task_id,),
    )
    return [id for (id,) in rows]


def _target(tx: Tx, actor: Actor, queue: str | None, queue_name: str | None) -> Document:
    if queue:
        return by_id(tx, "queue", queue, actor.company)
    if not queue_name:
        return queue_rules.default_queue(all_queues(tx))
    name = checked_name(queue_name)
    found = tx.docs("SELECT doc FROM queue WHERE json_extract(doc, '$.name') = ?", (name,))
    if found:
        return found[0]
    now = iso(actor.now)
    return {
        "id": new_id(),
        "name": name,
        "company": actor.company,
        "user": actor.user,
        "created": now,
        "last_update": now,
        "tags": [],
        "system_tags": [],
        "entries": [],
        "metadata": {},
    }
