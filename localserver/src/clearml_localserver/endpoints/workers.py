"""Service `workers`: reports of agents, and questions about them.

`workers.get_runtime_properties` is absent on purpose: the open-source server answers 404 and agents carry on.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.query import by_id, matching
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import workers as rules
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables import workers as tables
from clearml_localserver.tables.workers import AGGREGATIONS
from clearml_localserver.times import iso, parse

TEXT = {"type": "string"}
NAMES = {"type": "array", "items": TEXT}
LISTED = {
    "last_seen": {"type": "integer"},
    "tags": NAMES,
    "system_tags": NAMES,
    "worker_pattern": {"type": "string", "maxLength": 1000},
}
STATS = {
    "items": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"key": {"enum": list(rules.STATISTICS)}, "aggregation": {"enum": [*AGGREGATIONS, None]}},
        },
    },
    "split_by_resource": {"type": "boolean"},
}
STATUS_REPORT = {
    "type": "object",
    "required": ["worker", "timestamp"],
    "properties": {
        "worker": TEXT,
        "timestamp": {"type": "integer"},
        "task": TEXT,
        "queue": TEXT,
        "queues": NAMES,
        "tags": NAMES,
        "system_tags": NAMES,
        # The SDK's schema wants whole numbers; agents send 20193.619, and genuine servers take it.
        "machine_stats": {"type": "object"},
    },
}


@endpoint("workers.register", writes=True)
def register(call: Call, tx: Tx) -> Data:
    """Register a worker and the queues it serves, in the order in which it polls them."""
    queues = call.data.get("queues", [])
    unknown = [id for id in queues if tx.get("queue", id) is None]
    if unknown:
        raise ApiError(400, 701, f"Invalid queue id: ids=({', '.join(unknown)})")
    fields = _fields(call) | {"queues": queues, "register_timeout": call.data.get("timeout", rules.DEFAULT_TIMEOUT_S)}
    fields |= {name: call.data[name] for name in ("tags", "system_tags") if name in call.data}
    previous = tx.get("worker", call.data["worker"])
    tx.put("worker", rules.registered(previous, fields, call.now))
    return {}


@endpoint("workers.unregister", writes=True)
def unregister(call: Call, tx: Tx) -> Data:
    """Remove a worker; if it waits for a task, it is answered."""
    tx.delete("worker", call.data["worker"])
    tx.notify(rules.gone(call.data["worker"]))
    return {}


@endpoint("workers.status_report", writes=True, schema=STATUS_REPORT)
def status_report(call: Call, tx: Tx) -> Data:
    """Record that a worker is alive, its task, and the statistics of its machine."""
    worker = tx.get("worker", call.data["worker"]) or rules.registered(None, _fields(call), call.now)
    worker = rules.reported(worker | _fields(call), call.data, call.now)
    if task_id := call.data.get("task"):
        task = by_id(tx, "task", task_id, call.company)
        moment = iso(call.now)
        seen = {"last_worker": worker["id"], "last_worker_report": moment, "last_update": moment}
        tx.put("task", task | seen)
    tx.put("worker", worker)
    now = call.now.timestamp()
    samples = rules.samples(call.data.get("machine_stats", {}), busy="task" in worker)
    tables.add_samples(tx, worker["id"], samples, now, oldest=now - rules.KEEP_S)
    return {}


@endpoint("workers.get_all", fields=LISTED)
def get_all(call: Call, tx: Tx) -> Data:
    """List the workers that are alive, with their queues and tasks."""
    found = []
    for worker in _listed(call, tx):
        row = {name: value for name, value in worker.items() if name not in ("session", "queue", "task", "queues")}
        row |= {
            "key": rules.key(worker),
            "company": {"id": worker["company"], "name": call.company_name},
            "user": {"id": worker["user"], "name": (tx.get("user", worker["user"]) or {}).get("name")},
            "queues": [_queue(tx, queue) for id in worker["queues"] if (queue := tx.get("queue", id))],
        }
        task = tx.get("task", worker["task"]) if worker.get("task") else None
        if task is not None:
            row["task"] = {
                "id": task["id"],
                "name": task["name"],
                "last_iteration": task.get("last_iteration", 0),
                "running_time": _running_ms(task, call),
            }
            project = tx.get("project", task["project"]) if task.get("project") else None
            if project:
                row["project"] = {"id": project["id"], "name": project["name"]}
        if queue := tx.get("queue", worker.get("queue", "")):
            row["queue"] = {"id": queue["id"], "name": queue["name"]}
        found.append(row)
    return {"workers": found}


@endpoint("workers.get_count", schema={"type": "object", "properties": LISTED})
def get_count(call: Call, tx: Tx) -> Data:
    """Count the workers that are alive."""
    return {"count": len(_listed(call, tx))}


@endpoint("workers.get_metric_keys")
def get_metric_keys(call: Call, tx: Tx) -> Data:
    """List which machine statistics there are, by category."""
    names = tables.reported_metrics(tx, _reporters(call, tx), rules.STATISTICS)
    if not names and call.data.get("worker_ids"):
        ids = ", ".join(call.data["worker_ids"])
        raise ApiError(400, 1005, f"No statistics found for the given workers: worker_ids=({ids})")
    categories: dict[str, list[str]] = {}
    for name in names:
        categories.setdefault(rules.STATISTICS[name], []).append(name)
    return {"categories": [{"name": name, "metric_keys": keys} for name, keys in categories.items()]}


@endpoint("workers.get_stats", fields=STATS)
def get_stats(call: Call, tx: Tx) -> Data:
    """Return machine statistics over time, aggregated per interval; an interval without a report is 0."""
    span = rules.span(call.data, least_step=rules.MIN_STEP_S)
    wanted = {(item.get("key"), item.get("aggregation") or AGGREGATIONS[0]): None for item in call.data["items"]}
    workers = _reporters(call, tx)
    found: dict[str, dict[str, list[Data]]] = {}
    for metric, aggregation in wanted:
        if metric is None:
            raise validation_error("field=items: key: field is required!")
        split = _by_resource(tx, workers, span, metric, aggregation) if call.data.get("split_by_resource") else {}
        for worker, values in _series(tables.statistics(tx, workers, span, metric, aggregation), span).items():
            stat = {
                "aggregation": aggregation,
                "dates": [start * 1000 for start in span.starts],
                "values": values,
                "resource_series": split.get(worker, []),
            }
            found.setdefault(worker, {}).setdefault(metric, []).append(stat)
    return {
        "workers": [
            {"worker": worker, "metrics": [{"metric": metric, "stats": stats} for metric, stats in metrics.items()]}
            for worker, metrics in sorted(found.items())
        ]
    }


def _by_resource(tx: Tx, workers: list[str], span: rules.Span, metric: str, aggregation: str) -> dict[str, list[Data]]:
    rows = tables.statistics_by_resource(tx, workers, span, metric, aggregation)
    series = _series([((worker, number), start, figure) for worker, number, start, figure in rows], span)
    split: dict[str, list[Data]] = {}
    for (worker, number), values in series.items():
        split.setdefault(worker, []).append({"name": str(number), "values": values})
    return split


def _series(rows: list[tuple[Any, ...]], span: rules.Span) -> dict[Any, list[float]]:
    """Return a figure per interval for each name, 0 where there is none."""
    found: dict[Any, dict[int, float]] = {}
    for name, start, figure in rows:
        found.setdefault(name, {})[start] = figure
    return {name: [figures.get(start, 0.0) for start in span.starts] for name, figures in found.items()}


@endpoint("workers.get_activity_report", fields={"worker_ids": NAMES})
def get_activity_report(call: Call, tx: Tx) -> Data:
    """Count per interval how many workers reported, and how many of them had a task."""
    span = rules.span(call.data, least_step=rules.MIN_STEP_S)
    rows = tables.activity(tx, _reporters(call, tx), span)
    dates = [start * 1000 for start, _, _ in rows]
    return {
        "total": {"dates": dates, "counts": [total for _, total, _ in rows]},
        "active": {"dates": dates, "counts": [active for _, _, active in rows]},
    }


def _fields(call: Call) -> Document:
    return {
        "id": call.data["worker"],
        "company": call.company,
        "user": call.user,
        "ip": call.client_host,
        "session": call.identity.session,
    }


def _listed(call: Call, tx: Tx) -> list[Document]:
    tags = {name: call.data[name] for name in ("tags", "system_tags") if call.data.get(name)}
    workers = rules.alive(matching(tx, "worker", {"search_hidden": True, **tags}, call.company), call.now)
    if last_seen := call.data.get("last_seen"):
        workers = [worker for worker in workers if _age_s(worker, call) <= last_seen]
    if pattern := call.data.get("worker_pattern"):
        workers = [worker for worker in workers if fnmatchcase(worker["id"], pattern)]
    return sorted(workers, key=lambda worker: str(worker["id"]))


def _age_s(worker: Document, call: Call) -> float:
    seen = parse(worker["last_activity_time"])
    return (call.now - seen).total_seconds() if seen else float("inf")


def _queue(tx: Tx, queue: Document) -> Data:
    row: Data = {"id": queue["id"], "name": queue["name"], "num_tasks": len(queue["entries"])}
    if "display_name" in queue:
        row["display_name"] = queue["display_name"]
    if queue["entries"]:
        first = tx.get("task", queue["entries"][0]["task"]) or {}
        row["next_task"] = {"id": queue["entries"][0]["task"], "name": first.get("name")}
    return row


def _running_ms(task: Document, call: Call) -> int:
    started = parse(task.get("started") or "")
    return int((call.now - started).total_seconds() * 1000) if started else 0


def _reporters(call: Call, tx: Tx) -> list[str]:
    """Return the workers that a report is about: those asked for, or all that have reported."""
    ids = call.data.get("worker_ids")
    return list(dict.fromkeys(ids)) if ids else tables.reporters(tx)
