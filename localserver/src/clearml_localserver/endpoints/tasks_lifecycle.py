"""Service `tasks`: status changes, queueing, resetting and deleting."""

from __future__ import annotations

from collections.abc import Iterable

from clearml_localserver import lifecycle
from clearml_localserver.bulk_actions import for_each
from clearml_localserver.endpoints.tasks import STEPS
from clearml_localserver.errors import ApiError
from clearml_localserver.lifecycle import Actor
from clearml_localserver.query import by_id
from clearml_localserver.registry import Call, Data, Reply, endpoint
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules import workers as worker_rules
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables.workers import all_workers

FLAG = {"type": "boolean"}
ENQUEUE = {"force": FLAG, "update_execution_queue": FLAG}
DEQUEUE = {"new_status": {"type": "string"}}


@endpoint("tasks.started", writes=True)
def started(call: Call, tx: Tx) -> Data:
    """Record that a task is running."""
    task = tx.get("task", call.data["task"])
    if task is None or task["company"] not in (call.company, ""):
        raise ApiError(400, 10, "Invalid object id: task=None")  # the genuine server's text for this one endpoint
    task = by_id(tx, "task", task["id"], call.company)
    return {"started": 1, **_moved(call, tx, task, "started")}


@endpoint("tasks.ping", writes=True)
def ping(call: Call, tx: Tx) -> Data:
    """Record that a task is alive. A deleted task is not an error here: its process learns of it from other replies."""
    task = tx.get("task", call.data["task"])
    if task is not None and task["company"] == call.company:
        lifecycle.save(tx, task, rules.pinged(task, Actor.of(call).stamp))
    return {}


@endpoint(
    "tasks.stop",
    writes=True,
    fields=STEPS,
    differs='a task whose agent is silent is stopped (genuine: it stays "stopping")',
)
def stop(call: Call, tx: Tx) -> Data:
    """Stop a task, or have the agent that runs it do so."""
    return _stop(call, tx, call.data["task"])


@endpoint("tasks.stop_many", writes=True, fields=STEPS)
def stop_many(call: Call, tx: Tx) -> Reply:
    """Stop tasks."""
    return for_each(tx, call.data["ids"], lambda tx, id: _stop(call, tx, id))


@endpoint(
    "tasks.stopped", writes=True, differs="also removes the task from its queue; a repeated call keeps the first time"
)
def stopped(call: Call, tx: Tx) -> Data:
    """Record that a task was stopped."""
    return _moved(call, tx, _task(call, tx), "stopped")


@endpoint(
    "tasks.failed", writes=True, differs="also removes the task from its queue; a repeated call keeps the first time"
)
def failed(call: Call, tx: Tx) -> Data:
    """Record that a task has failed."""
    return _moved(call, tx, _task(call, tx), "failed")


@endpoint(
    "tasks.completed",
    writes=True,
    since="2.2",
    fields={"publish_model": FLAG},
    differs="also removes the task from its queue; a repeated call keeps the first time",
)
def completed(call: Call, tx: Tx) -> Data:
    """Record that a task has completed; publish it at once if the request says so."""
    task = _task(call, tx)
    reply = _moved(call, tx, task, "completed")
    if not call.data.get("publish") or task["status"] != rules.COMPLETED:
        return {"published": 0, **reply}
    published = _publish(call, tx, task)
    return {"published": 1, "updated": 1, "fields": reply["fields"] | published["fields"]}


@endpoint("tasks.close", writes=True)
def close(call: Call, tx: Tx) -> Data:
    """Close a task."""
    return _moved(call, tx, _task(call, tx), "close")


@endpoint("tasks.publish", writes=True)
def publish(call: Call, tx: Tx) -> Data:
    """Publish a task and its models: from now on others may build on them."""
    return _publish(call, tx, _task(call, tx))


@endpoint("tasks.publish_many", writes=True)
def publish_many(call: Call, tx: Tx) -> Reply:
    """Publish tasks and their models."""
    return for_each(tx, call.data["ids"], lambda tx, id: _publish(call, tx, by_id(tx, "task", id, call.company)))


@endpoint("tasks.enqueue", writes=True, fields=ENQUEUE)
def enqueue(call: Call, tx: Tx) -> Data:
    """Put a task into a queue."""
    reply = _enqueue(call, tx, _task(call, tx))
    return {"queued": 1, **reply, **_watched(call, tx, [call.data["task"]])}


@endpoint("tasks.enqueue_many", writes=True, fields=ENQUEUE)
def enqueue_many(call: Call, tx: Tx) -> Reply:
    """Put tasks into a queue."""

    def run(tx: Tx, id: str) -> Data:
        return {"queued": True, **_enqueue(call, tx, by_id(tx, "task", id, call.company))}

    return for_each(tx, call.data["ids"], run, lambda tx, done: _watched(call, tx, done))


@endpoint("tasks.dequeue", writes=True, fields=DEQUEUE, differs="also removes the queue entry of a running task")
def dequeue(call: Call, tx: Tx) -> Data:
    """Take a task out of its queue; a task that does not wait, or does not exist, is left alone."""
    return {"dequeued": 1, **_dequeue(call, tx, call.data["task"])}


@endpoint("tasks.dequeue_many", writes=True, fields=DEQUEUE)
def dequeue_many(call: Call, tx: Tx) -> Reply:
    """Take tasks out of their queues."""
    return for_each(tx, call.data["ids"], lambda tx, id: {"dequeued": True, **_dequeue(call, tx, id)})


@endpoint("tasks.reset", writes=True)
def reset(call: Call, tx: Tx) -> Data:
    """Make a draft of a task again."""
    removal = _reset(call, tx, _task(call, tx))
    return {
        "updated": 1,
        "fields": removal.fields,
        "deleted_models": removal.deleted_models,
        "dequeued": {"removed": 1} if removal.dequeued else {},
        "events": {},
        "urls": removal.urls if call.data.get("return_file_urls") else {},
    }


@endpoint("tasks.reset_many", writes=True)
def reset_many(call: Call, tx: Tx) -> Reply:
    """Make drafts of tasks again."""

    def run(tx: Tx, id: str) -> Data:
        removal = _reset(call, tx, by_id(tx, "task", id, call.company))
        return {
            "updated": 1,
            "fields": removal.fields,
            "deleted_models": removal.deleted_models,
            "dequeued": removal.dequeued,
            "urls": removal.urls if call.data.get("return_file_urls") else {},
        }

    return for_each(tx, call.data["ids"], run)


@endpoint("tasks.delete", writes=True, fields=STEPS)
def delete(call: Call, tx: Tx) -> Data:
    """Delete a task. Its files stay: their addresses are answered to who asks for them."""
    return _delete(call, tx, _task(call, tx))


@endpoint("tasks.delete_many", writes=True, fields=STEPS)
def delete_many(call: Call, tx: Tx) -> Reply:
    """Delete tasks."""
    return for_each(tx, call.data["ids"], lambda tx, id: _delete(call, tx, by_id(tx, "task", id, call.company)))


@endpoint("tasks.clone", writes=True)
def clone(call: Call, tx: Tx) -> Data:
    """Make a draft like a task."""
    source = tx.get("task", call.data["task"])
    if source is None or source["company"] not in (call.company, ""):
        raise ApiError(400, 101, f"Invalid task id: id={call.data['task']}")
    task, project = lifecycle.clone_task(tx, source, Actor.of(call), call.data)
    made = {"new_project": {"id": project["id"], "name": project["name"]}} if project else {}
    return {"id": task["id"], **made}


def _task(call: Call, tx: Tx) -> Document:
    return by_id(tx, "task", call.data["task"], call.company)


def _force(call: Call) -> bool:
    return bool(call.data.get("force"))


def _moved(call: Call, tx: Tx, task: Document, action: str) -> Data:
    fields = lifecycle.change_status(tx, task, action, Actor.of(call), force=_force(call))
    return {"updated": 1, "fields": fields}


def _stop(call: Call, tx: Tx, id: str) -> Data:
    task = by_id(tx, "task", id, call.company)
    lost = call.context.settings.worker_lost_s
    fields = lifecycle.stop_task(tx, task, Actor.of(call), force=_force(call), worker_lost_s=lost)
    for step in lifecycle.included_steps(tx, task, call.data):
        if lifecycle.is_live(step):
            lifecycle.stop_task(tx, step, Actor.of(call), force=True, worker_lost_s=lost)
    return {"updated": 1, "fields": fields}


def _publish(call: Call, tx: Tx, task: Document) -> Data:
    reply = _moved(call, tx, task, "publish")
    if call.data.get("publish_model", True):
        lifecycle.publish_models(tx, task, Actor.of(call))
    return reply


def _enqueue(call: Call, tx: Tx, task: Document) -> Data:
    fields = lifecycle.enqueue_task(
        tx,
        task,
        Actor.of(call),
        queue=call.data.get("queue"),
        queue_name=call.data.get("queue_name"),
        force=_force(call),
        update_execution_queue=call.data.get("update_execution_queue", True),
    )
    return {"updated": 1, "fields": fields}


def _watched(call: Call, tx: Tx, tasks: Iterable[str]) -> Data:
    """Answer `verify_watched_queue`: whether a live worker serves every queue in which these tasks now stand."""
    if not call.data.get("verify_watched_queue"):
        return {}
    workers = worker_rules.alive(all_workers(tx), call.now)
    served = {queue for worker in workers for queue in worker["queues"]}
    return {"queue_watched": all(served.issuperset(lifecycle.queues_with(tx, task)) for task in tasks)}


def _dequeue(call: Call, tx: Tx, id: str) -> Data:
    new_status = call.data.get("new_status")
    if new_status:
        rules.require_status(new_status)
    task = tx.get("task", id)
    if task is None or task["company"] != call.company:
        return {"updated": 0, "fields": {}}
    fields = lifecycle.dequeue_task(tx, task, Actor.of(call), new_status)
    return {"updated": int(fields is not None), "fields": fields or {}}


def _reset(call: Call, tx: Tx, task: Document) -> lifecycle.Removal:
    return lifecycle.reset_task(
        tx,
        task,
        Actor.of(call),
        force=_force(call),
        clear_all=bool(call.data.get("clear_all")),
        delete_output_models=call.data.get("delete_output_models", True),
        urls=bool(call.data.get("return_file_urls")),
    )


def _delete(call: Call, tx: Tx, task: Document) -> Data:
    def remove(task: Document) -> lifecycle.Removal:
        return lifecycle.delete_task(
            tx,
            task,
            Actor.of(call),
            force=_force(call),
            delete_output_models=call.data.get("delete_output_models", True),
            urls=bool(call.data.get("return_file_urls")),
        )

    # The steps go first: they are found by their parent, and must not count as children that it leaves.
    for step in lifecycle.included_steps(tx, task, call.data):
        remove(step)
    removal = remove(task)
    return {
        "deleted": True,
        "updated_children": removal.updated_children,
        "updated_models": removal.updated_models,
        "deleted_models": removal.deleted_models,
        "urls": removal.urls if call.data.get("return_file_urls") else None,
    }
