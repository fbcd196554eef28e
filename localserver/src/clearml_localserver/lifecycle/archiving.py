"""Archive tasks. An archived task does not wait in a queue and does not run."""

from __future__ import annotations

from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.queueing import dequeue_task, queues_with
from clearml_localserver.lifecycle.status_changes import save, stop_task
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.tasks import Change, Fields
from clearml_localserver.store import Document, Tx


def archive_task(tx: Tx, task: Document, actor: Actor, *, note: bool = False) -> None:
    """Tag a task as archived. One that waits leaves its queue for the status of before; one that runs is stopped.

    So is one that a worker has just taken out of its queue: that worker would start it anyway.

    Args:
        tx: The transaction.
        task: The task; changed in place.
        actor: Who archives it.
        note: Whether the actor's reason and message are kept also where the status stays.
    """
    said: Fields = {"status_reason": actor.reason, "status_message": actor.message}
    if task["status"] == rules.QUEUED and queues_with(tx, task["id"]):
        dequeue_task(tx, task, actor)
    elif task["status"] in (rules.QUEUED, rules.IN_PROGRESS):
        # At once, as on the genuine server: no one waits for the agent of an archived task.
        stop_task(tx, task, actor, force=True, worker_lost_s=0)
    elif not note:
        said = {}
    _tag(tx, task, actor, said, archived=True)


def unarchive_task(tx: Tx, task: Document, actor: Actor) -> None:
    """Take the tag `archived` off a task; its status stays as it is."""
    _tag(tx, task, actor, {}, archived=False)


def _tag(tx: Tx, task: Document, actor: Actor, said: Fields, *, archived: bool) -> None:
    tags: Fields = {"system_tags": rules.with_archived_tag(task["system_tags"], archived)}
    save(tx, task, Change(tags | said | actor.stamp.of_change()))
