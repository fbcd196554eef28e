"""Service `workers`: what agents tell of themselves, and what people ask about them.

`workers.get_runtime_properties` is absent on purpose: the open-source server answers 404 and agents carry on.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from localserver.errors import ApiError, validation_error
from localserver.query import by_id
from localserver.registry import Call, Data, endpoint
from localserver.rules import workers as rules
from localserver.store import Document, Tx
from localserver.times import epoch_ms, iso, parse

KEEP_S = 7 * 86_400
AGGREGATIONS = ("avg", "min", "max")
NAMES = {"type": "array", "items": {"type": "string"}}
STATUS_REPORT = {
    "type": "object",
    "required": ["worker", "timestamp"],
    "properties": {
        "worker": {"type": "string"},
        "timestamp": {"type": "integer"},
        "task": {"type": "string"},
        "queue": {"type": "string"},
        "queues": NAMES,
        "tags": NAMES,
        "system_tags": NAMES,
        # The SDK's schema wants whole numbers; agents send 20193.619, and genuine servers take it.
        "machine_stats": {"type": "object"},
    },
}


@endpoint("workers.register", writes=True)
def register(call: Call, tx: Tx) -> Data:
    """Note a worker and the queues it serves, in the order in which it asks them."""
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
    """Forget a worker; one that waits for a task is answered."""
    tx.delete("worker", call.data["worker"])
    tx.notify(rules.gone(call.data["worker"]))
    return {}


@endpoint("workers.status_report", writes=True, schema=STATUS_REPORT)
def status_report(call: Call, tx: Tx) -> Data:
    """Note that a worker lives, what it does, and how its machine is."""
    worker = tx.get("worker", call.data["worker"]) or rules.registered(None, _fields(call), call.now)
    worker = rules.reported(worker | _fields(call), call.data, call.now)
    if task_id := call.data.get("task"):
        task = by_id(tx, "task", task_id, call.company)
        moment = iso(call.now)
        seen = {"last_worker": worker["id"], "last_worker_report": moment, "last_update": moment}
        tx.put("task", task | seen)
    tx.put("worker", worker)
    now = call.now.timestamp()
    values = rules.samples(call.data.get("machine_stats") or {})
    tx.executemany(
        "INSERT INTO worker_statistic VALUES (?, ?, ?, ?)", [(worker["id"], now, name, value) for name, value in values]
    )
    if values:
        tx.execute("DELETE FROM worker_statistic WHERE worker = ? AND time < ?", (worker["id"], now - KEEP_S))
        tx.execute("DELETE FROM queue_wait WHERE time < ?", (now - KEEP_S,))
    return {}


@endpoint("workers.get_all")
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


@endpoint("workers.get_count", schema={"type": "object"})
def get_count(call: Call, tx: Tx) -> Data:
    """Count the workers that are alive."""
    return {"count": len(_listed(call, tx))}


@endpoint("workers.get_metric_keys")
def get_metric_keys(call: Call, tx: Tx) -> Data:
    """List which machine statistics there are, by category."""
    categories: dict[str, list[str]] = {}
    for (name,) in tx.rows(f"SELECT DISTINCT metric FROM worker_statistic {_of_workers(call)}", _worker_ids(call)):
        categories.setdefault(rules.STATISTICS[name], []).append(name)
    return {"categories": [{"name": name, "metric_keys": keys} for name, keys in categories.items()]}


@endpoint("workers.get_stats")
def get_stats(call: Call, tx: Tx) -> Data:
    """Return machine statistics over time, aggregated per interval."""
    start, end, step = rules.interval(call.data)
    found: dict[str, dict[str, list[Data]]] = {}
    for item in call.data["items"]:
        metric, aggregation = item.get("key"), item.get("aggregation", "avg")
        if metric not in rules.STATISTICS:
            raise validation_error(f"{metric!r} is not one of {list(rules.STATISTICS)}")
        if aggregation not in AGGREGATIONS:
            raise validation_error(f"{aggregation!r} is not one of {list(AGGREGATIONS)}")
        rows = tx.rows(
            f"SELECT worker, CAST(time / ? AS INTEGER) * ?, {aggregation}(value) FROM worker_statistic "
            f"{_of_workers(call) or 'WHERE 1'} AND metric = ? AND time BETWEEN ? AND ? GROUP BY 1, 2 ORDER BY 1, 2",
            (step, step, *_worker_ids(call), metric, start, end),
        )
        for worker, bucket, value in rows:
            series = found.setdefault(worker, {}).setdefault(metric, [])
            if not series or series[-1]["aggregation"] != aggregation:
                series.append({"aggregation": aggregation, "dates": [], "values": [], "resource_series": []})
            series[-1]["dates"].append(bucket * 1000)
            series[-1]["values"].append(value)
    return {
        "workers": [
            {"worker": worker, "metrics": [{"metric": metric, "stats": stats} for metric, stats in metrics.items()]}
            for worker, metrics in found.items()
        ]
    }


@endpoint("workers.get_activity_report")
def get_activity_report(call: Call, tx: Tx) -> Data:
    """Count per interval how many workers reported, and how many of them had a task at its end."""
    start, end, step = rules.interval(call.data)
    rows = tx.rows(
        "SELECT CAST(time / ? AS INTEGER) * ?, count(DISTINCT worker) FROM worker_statistic "
        "WHERE time BETWEEN ? AND ? GROUP BY 1 ORDER BY 1",
        (step, step, start, end),
    )
    dates = [bucket * 1000 for bucket, _ in rows]
    spans = [
        (task["started"], task.get("completed") or iso(call.now))
        for task in tx.docs("SELECT doc FROM task WHERE json_extract(doc, '$.last_worker') IS NOT NULL")
        if task.get("started")
    ]
    active = [sum(_ms(first) < date + step * 1000 and _ms(last) >= date for first, last in spans) for date in dates]
    return {
        "total": {"dates": dates, "counts": [count for _, count in rows]},
        "active": {"dates": dates, "counts": active},
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
    workers = rules.alive(tx.docs("SELECT doc FROM worker ORDER BY id"), call.now)
    if last_seen := call.data.get("last_seen"):
        workers = [worker for worker in workers if _age_s(worker, call) <= last_seen]
    if pattern := call.data.get("worker_pattern"):
        workers = [worker for worker in workers if fnmatchcase(worker["id"], pattern)]
    if tags := call.data.get("tags"):
        workers = [worker for worker in workers if set(tags) & set(worker.get("tags", []))]
    return workers


def _age_s(worker: Document, call: Call) -> float:
    seen = parse(worker["last_activity_time"])
    return (call.now - seen).total_seconds() if seen else float("inf")


def _queue(tx: Tx, queue: Document) -> Data:
    row: Data = {"id": queue["id"], "name": queue["name"], "num_tasks": len(queue["entries"])}
    if queue["entries"]:
        first = tx.get("task", queue["entries"][0]["task"]) or {}
        row["next_task"] = {"id": queue["entries"][0]["task"], "name": first.get("name")}
    return row


def _running_ms(task: Document, call: Call) -> int:
    started = parse(task.get("started") or "")
    return int((call.now - started).total_seconds() * 1000) if started else 0


def _ms(text: str) -> int:
    moment = parse(text)
    return epoch_ms(moment) if moment else 0


def _worker_ids(call: Call) -> tuple[str, ...]:
    return tuple(call.data.get("worker_ids") or ())


def _of_workers(call: Call) -> str:
    ids = _worker_ids(call)
    return f"WHERE worker IN ({','.join('?' * len(ids))})" if ids else ""
