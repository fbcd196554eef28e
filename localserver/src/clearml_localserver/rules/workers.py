"""Pure rules of workers: who is alive, what a report changes, how reports are summed up over time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.times import iso, parse

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

ACTIVITY = "task"
"""Kept beside the statistics with each report: 1 where the worker had a task, else 0."""

KEEP_S = 7 * 86_400
"""How long what workers report is kept."""

MAX_RESOURCES = 1024
"""Most cores or GPUs of one machine that are counted apart."""

MIN_STEP_S = 40
"""Shortest interval of statistics: agents report every 30 s."""

MAX_INTERVALS = 1000
"""A report over a longer time gets longer intervals."""

LAST_DATE = 253_402_300_799
"""The end of year 9999, in seconds."""


def gone(worker_id: str) -> str:
    """Return what is notified when a worker unregisters."""
    return f"worker gone:{worker_id}"


def key(worker: Document) -> str:
    """Return a worker's key, unique over companies and users."""
    return f"worker_{worker['company']}_{worker['user']}_{worker['id']}"


def is_alive(worker: Document, now: datetime) -> bool:
    """Return whether a worker has been heard of within its time-out."""
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


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of a report."""

    metric: str
    value: float
    resources: list[float] | None = None
    """The figures of the single cores or GPUs, of which `value` is the mean."""


def samples(statistics: Document, *, busy: bool) -> list[Sample]:
    """Return a report's figures, and whether the worker was busy; what is not a number is ignored."""
    found = [Sample(ACTIVITY, float(busy))]
    for metric in STATISTICS:
        value = statistics.get(metric)
        values = [float(item) for item in (value if isinstance(value, list) else [value]) if _is_figure(item)]
        if values:
            each = values[:MAX_RESOURCES]
            mean = sum(item / len(each) for item in each)
            found.append(Sample(metric, mean, each if isinstance(value, list) else None))
    return found


def _is_figure(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Span:
    """What a report over time covers: start and end in seconds since 1970, and the seconds of one interval."""

    start: float
    end: float
    step: int

    @property
    def starts(self) -> range:
        """The starts of all intervals, multiples of the step."""
        return range(int(self.start // self.step) * self.step, math.floor(self.end) + 1, self.step)


def span(data: Document, *, least_step: int = 1) -> Span:
    """Return what a report over time is asked to cover, in at most about `MAX_INTERVALS` intervals.

    Raises:
        ApiError: The step is shorter than a second, a date is invalid, or the end is not after the start.
    """
    start, end, step = data["from_date"], data["to_date"], data["interval"]
    if step < 1:
        raise validation_error(f"error for field 'interval': '{step}' is lower than minimum ('1').")
    for name in ("from_date", "to_date"):
        if not 0 <= data[name] <= LAST_DATE:
            raise validation_error(f"field={name}: {data[name]} is not a date in seconds since 1970")
    if start >= end:
        raise ApiError(400, 16, "Invalid value for fields (from_date must be less than to_date)")
    return Span(start, end, max(min(step, LAST_DATE), least_step, math.ceil((end - start) / MAX_INTERVALS)))
