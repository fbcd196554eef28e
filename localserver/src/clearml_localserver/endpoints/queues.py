"""Service `queues`: queues, their entries, and how workers take tasks from them.

A queue's entries live in its document, oldest first. `get_next_task` waits for an entry instead of answering empty,
so that a stock agent, which sleeps 5 s after an empty answer, gets an enqueued task at once.
"""

from __future__ import annotations

from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.ids import new_id
from clearml_localserver.lifecycle import note_handed_out
from clearml_localserver.query import by_id, find_all, find_all_ex, render
from clearml_localserver.queue_entries import append_entry, remove_entry
from clearml_localserver.registry import Call, Data, Reply, WaitFor, endpoint
from clearml_localserver.rules import metadata
from clearml_localserver.rules import queues as rules
from clearml_localserver.rules import workers as worker_rules
from clearml_localserver.rules.names import checked_name
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables import queues as tables
from clearml_localserver.tables.workers import all_workers, of_session
from clearml_localserver.times import iso, parse

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
FLAG = {"type": "boolean"}
QUEUE_ONLY = {"type": "object", "required": ["queue"], "properties": {"queue": TEXT}}
DESCRIPTION = {"display_name": TEXT, "metadata": {"type": "object"}, "tags": TEXTS, "system_tags": TEXTS}
MAX_ENTRIES = {"max_task_entries": {"type": ["integer", "null"]}}
NAME = {"type": "string", "minLength": 1}
ITEMS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["key", "type"],
        "properties": {"key": NAME, "type": NAME, "value": {"type": ["string", "null"]}},
    },
}


@endpoint("queues.create", writes=True, fields=DESCRIPTION)
def create(call: Call, tx: Tx) -> Data:
    """Make a queue with a name of its own."""
    name = _checked_name(tx, call, call.data["name"])
    now = iso(call.now)
    queue = {"id": new_id(), "name": name, "company": call.company, "user": call.user, "created": now}
    rest = {"last_update": now, "entries": [], "metadata": metadata.checked(call.data.get("metadata", {}))}
    lists = {field: call.data.get(field, []) for field in ("tags", "system_tags")}
    optional = {field: call.data[field] for field in ("display_name",) if field in call.data}
    tx.put("queue", queue | rest | lists | optional)
    return {"id": queue["id"]}


@endpoint("queues.update", writes=True, fields=DESCRIPTION)
def update(call: Call, tx: Tx) -> Data:
    """Rename, tag or describe a queue."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    fields = {name: call.data[name] for name in ("name", *DESCRIPTION) if name in call.data}
    if not fields:
        return {"updated": 0, "fields": {}}
    if "metadata" in fields:
        fields["metadata"] = metadata.checked(fields["metadata"])
    if "name" in fields and fields["name"] != queue["name"]:
        fields["name"] = _checked_name(tx, call, fields["name"])
    tx.put("queue", queue | fields | {"last_update": iso(call.now)})
    return {"updated": 1, "fields": fields}


@endpoint("queues.delete", writes=True)
def delete(call: Call, tx: Tx) -> Data:
    """Delete a queue; with entries only by force, which gives their tasks the status back that they had before."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    if queue["entries"] and not call.data.get("force"):
        raise ApiError(400, 702, f"Queue is not empty (use force=true to delete): id={queue['id']}")
    for entry in queue["entries"]:
        _restore(call, tx, entry["task"])
    tx.delete("queue", queue["id"])
    tables.remove_waits(tx, queue["id"])
    tx.notify(rules.topic(queue["id"]))
    return {"deleted": 1}


@endpoint("queues.get_by_id", fields=MAX_ENTRIES)
def get_by_id(call: Call, tx: Tx) -> Data:
    """Return a queue with its entries."""
    queue = render("queue", by_id(tx, "queue", call.data["queue"], call.company), call.version)
    if limit := call.data.get("max_task_entries"):
        queue["entries"] = queue["entries"][: max(limit, 0)]
    return {"queue": queue}


@endpoint("queues.get_all", fields=MAX_ENTRIES)
def get_all(call: Call, tx: Tx) -> Data:
    """Find queues."""
    return _cut(call, find_all(tx, "queue", call).reply("queues"))


@endpoint("queues.get_all_ex", fields=MAX_ENTRIES)
def get_all_ex(call: Call, tx: Tx) -> Data:
    """Find queues, with their tasks' names and the workers that serve them."""
    reply = _cut(call, find_all_ex(tx, "queue", call).reply("queues"))
    workers = worker_rules.alive(all_workers(tx), call.now)
    for queue in reply["queues"]:
        queue["workers"] = [
            {
                "name": worker["id"],
                "ip": worker.get("ip"),
                "key": worker_rules.key(worker),
                "task": _task_of(tx, worker),
            }
            for worker in workers
            if queue["id"] in worker["queues"]
        ]
    return reply


def _task_of(tx: Tx, worker: Document) -> Data | None:
    task = tx.get("task", worker["task"]) if worker.get("task") else None
    return {"id": task["id"], "name": task["name"]} if task else None


@endpoint("queues.get_default", schema={"type": "object"})
def get_default(call: Call, tx: Tx) -> Data:
    """Return the queue that tasks go to when none is named."""
    queue = rules.default_queue(tables.all_queues(tx))
    return {"id": queue["id"], "name": queue["name"]}


@endpoint(
    "queues.get_next_task",
    writes=True,
    waits=True,
    differs="waits for a task, sending white space meanwhile; a task that is never started returns to the front",
)
def get_next_task(call: Call, tx: Tx) -> Reply:
    """Hand out the oldest entry; wait for one where there is none.

    A worker of several queues asks them in turn. It waits on the first one only, and not while another of its queues
    has work: then the empty answer comes at once and the worker asks that queue next.
    """
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    worker = of_session(tx, call.identity.session)
    if worker is not None:
        tx.put("worker", worker | {"last_activity_time": iso(call.now)})
    if queue["entries"]:
        entry = queue["entries"].pop(0)
        tx.put("queue", queue | {"last_update": iso(call.now)})
        note_handed_out(tx, queue["id"], entry, call.now)
        _record_wait(call, tx, queue, entry)
        reply: Data = {"entry": entry}
        if call.data.get("get_task_info"):
            task = tx.get("task", entry["task"]) or {}
            reply["task_info"] = {"company": task.get("company"), "user": task.get("user")}
        return reply
    served = [id for id in worker["queues"] if id != queue["id"]] if worker else []
    if served and worker and worker["queues"][0] != queue["id"]:
        return {}
    if any((tx.get("queue", id) or {}).get("entries") for id in served):
        return {}
    topics = frozenset(rules.topic(id) for id in [queue["id"], *served])
    # An agent that is told to end unregisters while it waits, and is let go without a task.
    ends = frozenset({worker_rules.gone(worker["id"])} if worker else ())
    return WaitFor(topics, call.context.settings.poll_wait_s, otherwise={}, ends=ends)


@endpoint("queues.peek_task", schema=QUEUE_ONLY)
def peek_task(call: Call, tx: Tx) -> Data:
    """Return the id of the task that is next, leaving it where it is."""
    entries = by_id(tx, "queue", call.data["queue"], call.company)["entries"]
    return {"task": entries[0]["task"] if entries else None}


@endpoint("queues.get_num_entries", schema=QUEUE_ONLY)
def get_num_entries(call: Call, tx: Tx) -> Data:
    """Count a queue's entries."""
    return {"num": len(by_id(tx, "queue", call.data["queue"], call.company)["entries"])}


@endpoint("queues.add_task", writes=True, fields={"update_execution_queue": FLAG})
def add_task(call: Call, tx: Tx) -> Data:
    """Append an entry without touching the task's status (`tasks.enqueue` is what people want)."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    append_entry(tx, queue, call.data["task"], call.now)
    task = tx.get("task", call.data["task"])
    if task is not None and call.data.get("update_execution_queue", True):
        tx.put("task", task | {"execution": {**task.get("execution", {}), "queue": queue["id"]}})
    return {"added": 1}


@endpoint("queues.remove_task", writes=True, fields={"update_task_status": FLAG})
def remove_task(call: Call, tx: Tx) -> Data:
    """Take an entry out; with `update_task_status` the task gets back the status it had before it was enqueued."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    _position(call, queue)
    remove_entry(tx, queue["id"], call.data["task"], call.now)
    if call.data.get("update_task_status"):
        _restore(call, tx, call.data["task"])
    return {"removed": 1}


@endpoint("queues.clear_queue", writes=True, schema=QUEUE_ONLY)
def clear_queue(call: Call, tx: Tx) -> Data:
    """Take all entries out."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    removed = [entry["task"] for entry in queue["entries"]]
    tx.put("queue", queue | {"entries": [], "last_update": iso(call.now)})
    for task in removed:
        _restore(call, tx, task)
    return {"removed_tasks": removed}


@endpoint("queues.move_task_to_front", writes=True)
def move_task_to_front(call: Call, tx: Tx) -> Data:
    """Make a task the next one."""
    return _move(call, tx, lambda at, last: 0)


@endpoint("queues.move_task_to_back", writes=True)
def move_task_to_back(call: Call, tx: Tx) -> Data:
    """Make a task the last one."""
    return _move(call, tx, lambda at, last: last)


@endpoint("queues.move_task_forward", writes=True)
def move_task_forward(call: Call, tx: Tx) -> Data:
    """Move a task `count` places towards the front."""
    count = max(0, call.data.get("count", 1))
    return _move(call, tx, lambda at, last: max(0, at - count))


@endpoint("queues.move_task_backward", writes=True)
def move_task_backward(call: Call, tx: Tx) -> Data:
    """Move a task `count` places towards the back."""
    count = max(0, call.data.get("count", 1))
    return _move(call, tx, lambda at, last: min(last, at + count))


@endpoint("queues.add_or_update_metadata", writes=True, fields={"metadata": ITEMS})
def add_or_update_metadata(call: Call, tx: Tx) -> Data:
    """Merge metadata by key, or replace it all."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    replace = bool(call.data.get("replace_metadata"))
    items = metadata.merged(queue.get("metadata", {}), call.data["metadata"], replace=replace)
    tx.put("queue", queue | {"metadata": items, "last_update": iso(call.now)})
    return {"updated": 1}


@endpoint("queues.delete_metadata", writes=True)
def delete_metadata(call: Call, tx: Tx) -> Data:
    """Delete metadata by key; unknown keys are fine."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    kept = metadata.without(queue.get("metadata", {}), call.data["keys"])
    tx.put("queue", queue | {"metadata": kept, "last_update": iso(call.now)})
    return {"updated": 1}


@endpoint("queues.get_queue_metrics", fields={"queue_ids": TEXTS})
def get_queue_metrics(call: Call, tx: Tx) -> Data:
    """Return per interval how long the tasks taken from a queue had waited, and how many were left behind them."""
    span = worker_rules.span(call.data)
    rows = tables.waits(tx, call.data.get("queue_ids") or [], span.start, span.end, span.step)
    found: dict[str, Data] = {}
    for name, bucket, waited, length in rows:
        empty: Data = {"queue": name, "dates": [], "avg_waiting_times": [], "queue_lengths": []}
        row = found.setdefault(name, empty)
        row["dates"].append(bucket * 1000)
        row["avg_waiting_times"].append(waited)
        row["queue_lengths"].append(length)
    return {"queues": list(found.values())}


def _checked_name(tx: Tx, call: Call, name: str) -> str:
    name = checked_name(name)
    if tables.is_name_taken(tx, name):
        raise ApiError(
            400,
            801,
            "Value combination already exists (unique field already contains this value): "
            f"name={name}, company={call.company}",
        )
    return name


def _cut(call: Call, reply: Data) -> Data:
    reply["queues"] = list(reply["queues"])
    limit = call.data.get("max_task_entries") or 0
    if limit > 0:
        for queue in reply["queues"]:
            queue["entries"] = queue.get("entries", [])[:limit]
    return reply


def _position(call: Call, queue: Document) -> int:
    for at, entry in enumerate(queue["entries"]):
        if entry["task"] == call.data["task"]:
            return at
    raise ApiError(
        400,
        703,
        f"Invalid queue id or task not in queue: task={call.data['task']}, id={queue['id']}, company={call.company}",
    )


def _move(call: Call, tx: Tx, target: Any) -> Data:
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    entries = queue["entries"]
    at = _position(call, queue)
    to: int = target(at, len(entries) - 1)
    entries.insert(to, entries.pop(at))
    tx.put("queue", queue | {"last_update": iso(call.now)})
    return {"position": to}


def _restore(call: Call, tx: Tx, task_id: str) -> None:
    task = tx.get("task", task_id)
    if task is not None:
        tx.put("task", rules.before_enqueue(task, call.now))


def _record_wait(call: Call, tx: Tx, queue: Document, entry: Document) -> None:
    added = parse(entry["added"])
    waited = (call.now - added).total_seconds() if added else 0.0
    oldest = call.now.timestamp() - worker_rules.KEEP_S
    tables.record_wait(tx, queue["id"], call.now.timestamp(), waited, len(queue["entries"]), oldest)
