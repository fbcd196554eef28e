"""Pure rules of workers: who is alive, what a report changes, how reports are summed up over time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from localserver.errors import ApiError, validation_error
from localserver.times import iso, parse

Document = dict[str, Any]

DEFAULT_TIMEOUT_S = 600
"""Silence after which a worker is no longer listed, unless it registered with another figure."""

STATISTICS = {
    "cpu_usage": "cpu",
    "cpu_temperature": "cpu",
    "memory_used": "memory",
    "memory_free": "memory",
    "gpu_usage": "gpu",
    "gpu_temperature": "gpu",
    "gpu_memory_free": "gpu",
    "gpu_memory_used": "gpu",
    "network_tx": "network",
    "network_rx": "network",
    "disk_free_home": "disk",
    "disk_free_temp": "disk",
    "disk_read": "disk",
    "disk_write": "disk",
}
"""Machine statistics that agents report, and the category under which they are listed."""


def gone(worker_id: str) -> str:
    """Return what is notified when a worker unregisters."""
    return f"worker gone:{worker_id}"


def key(worker: Document) -> str:
    """Return a worker's key, unique over companies and users."""
    return f"worker_{worker['company']}_{worker['user']}_{worker['id']}"


def is_alive(worker: Document, now: datetime) -> bool:
    """Tell whether a worker has been heard of within its time-out."""
    seen = parse(worker["last_activity_time"])
    return seen is not None and (now - seen).total_seconds() <= worker["register_timeout"]


def alive(workers: Iterable[Document], now: datetime) -> list[Document]:
    """Return the workers that are alive."""
    return [worker for worker in workers if is_alive(worker, now)]


def registered(previous: Document | None, fields: Document, now: datetime) -> Document:
    """Return the worker document after a registration; what is known of the worker already is kept."""
    moment = iso(now)
    base = {"queues": [], "tags": [], "system_tags": [], "register_timeout": DEFAULT_TIMEOUT_S}
    return base | (previous or {}) | fields | {"register_time": moment, "last_activity_time": moment}


def reported(worker: Document, data: Document, now: datetime) -> Document:
    """Return the worker document after a status report: `task` and `queue` are cleared where none is sent."""
    moment = iso(now)
    changed = worker | {"last_activity_time": moment, "last_report_time": moment}
    changed |= {name: data[name] for name in ("queues", "tags", "system_tags") if name in data}
    for name in ("task", "queue"):
        changed.pop(name, None)
        if data.get(name):
            changed[name] = data[name]
    return changed


def samples(statistics: Document) -> list[tuple[str, float]]:
    """Return a report's figures: lists (one value per core or GPU) by their mean."""
    found = []
    for name, value in statistics.items():
        values = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int | float)]
        if name in STATISTICS and values:
            found.append((name, sum(values) / len(values)))
    return found


def interval(data: Document) -> tuple[float, float, int]:
    """Return start, end (epoch seconds) and step (seconds) of a report over time.

    Raises:
        ApiError: The step is below a second, or the end not after the start.
    """
    start, end, step = float(data["from_date"]), float(data["to_date"]), int(data["interval"])
    if step < 1:
        raise validation_error(f"error for field 'interval': '{step}' is lower than minimum ('1').")
    if start >= end:
        raise ApiError(400, 16, "Invalid value for fields (from_date must be less than to_date)")
    return start, end, step
