"""Service `tasks`: archiving tasks and restoring them."""

from __future__ import annotations

from clearml_localserver import lifecycle
from clearml_localserver.bulk_actions import for_each
from clearml_localserver.endpoints.tasks import STEPS, require_tasks
from clearml_localserver.errors import validation_error
from clearml_localserver.lifecycle import Actor
from clearml_localserver.query import by_id
from clearml_localserver.registry import Call, Data, Reply, endpoint
from clearml_localserver.store import Document, Tx


@endpoint("tasks.archive", writes=True, fields=STEPS)
def archive(call: Call, tx: Tx) -> Data:
    """Tag tasks as archived and note why; what waits leaves its queue, what runs is stopped."""
    if not call.data["tasks"]:
        raise validation_error("error for field 'tasks'. value '[]' length is lower than allowed minimum '1'")
    tasks = require_tasks(call, tx, call.data["tasks"])
    for task in tasks:
        _archive(call, tx, task, note=True)
    return {"archived": len(tasks)}


@endpoint("tasks.archive_many", writes=True, fields=STEPS)
def archive_many(call: Call, tx: Tx) -> Reply:
    """Tag tasks as archived; what waits leaves its queue, what runs is stopped."""

    def run(tx: Tx, id: str) -> Data:
        _archive(call, tx, by_id(tx, "task", id, call.company))
        return {"archived": True}

    return for_each(tx, call.data["ids"], run)


@endpoint("tasks.unarchive_many", writes=True, fields=STEPS)
def unarchive_many(call: Call, tx: Tx) -> Reply:
    """Restore archived tasks."""

    def run(tx: Tx, id: str) -> Data:
        task = by_id(tx, "task", id, call.company)
        for item in (task, *lifecycle.included_steps(tx, task, call.data)):
            lifecycle.unarchive_task(tx, item, Actor.of(call))
        return {"unarchived": True}

    return for_each(tx, call.data["ids"], run)


def _archive(call: Call, tx: Tx, task: Document, *, note: bool = False) -> None:
    for item in (task, *lifecycle.included_steps(tx, task, call.data)):
        lifecycle.archive_task(tx, item, Actor.of(call), note=note)
