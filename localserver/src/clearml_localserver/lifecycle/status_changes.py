"""Status changes of a task, with what they do to its queue and its models."""

from __future__ import annotations

from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.queueing import leave_queue, queues_with, was_handed_out
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.tasks import Change, Fields
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso


def save(tx: Tx, task: Document, change: Change) -> Fields:
    """Apply a change to `task` (in place), store it, and return the fields that a reply shows."""
    tx.put("task", change.apply(task))
    return {name: value for name, value in change.fields.items() if name != rules.STOP_ASKED}


def change_status(tx: Tx, task: Document, action: str, actor: Actor, *, force: bool) -> Fields:
    """Run `started`, `stopped`, `failed`, `completed`, `close` or `publish`; return the changed fields.

    Raises:
        ApiError: 400/110, the task's status does not allow it.
    """
    starting = action in ("started", "stopped") and was_handed_out(tx, task["id"])
    change = rules.transition(action, task, actor.stamp, force=force, starting=starting)
    _leave_when_ended(tx, task, change, actor)
    return save(tx, task, change)


def stop_task(tx: Tx, task: Document, actor: Actor, *, force: bool, worker_lost_s: float) -> Fields:
    """Stop a task, or ask the agent that runs it to; return the changed fields.

    Raises:
        ApiError: 400/110.
    """
    change = rules.stopped_by_user(
        task,
        actor.stamp,
        actor.user_name,
        force=force,
        worker_lost_s=worker_lost_s,
        taken=task["status"] == rules.QUEUED and not queues_with(tx, task["id"]),
    )
    _leave_when_ended(tx, task, change, actor)
    return save(tx, task, change)


def publish_models(tx: Tx, task: Document, actor: Actor) -> int:
    """Publish the draft models that a task has created; return how many."""
    drafts = [model for model in output_models(tx, task) if not model.get("ready")]
    for model in drafts:
        tx.put("model", model | {"ready": True, "last_update": iso(actor.now)})
    return len(drafts)


def output_models(tx: Tx, task: Document) -> list[Document]:
    """Return the models that belong to a task.

    A model belongs to the task that made it. One that names no task belongs to the task that lists it as an output: a
    pipeline's controller also lists its steps' models, and must not take those with it.
    """
    own = tx.docs("SELECT doc FROM model WHERE json_extract(doc, '$.task') = ?", (task["id"],))
    known = {model["id"] for model in own}
    listed = [item["model"] for item in task["models"].get("output") or [] if item["model"] not in known]
    unclaimed = [model for id in dict.fromkeys(listed) if (model := tx.get("model", id)) and not model.get("task")]
    return own + unclaimed


def _leave_when_ended(tx: Tx, task: Document, change: Change, actor: Actor) -> None:
    """Take a task that ends out of its queue: an agent would run it all the same.

    One that is started keeps its entry, as on the genuine server: an agent has popped it before.
    """
    if change.fields["status"] not in (rules.QUEUED, rules.IN_PROGRESS):
        leave_queue(tx, task, actor.now)
