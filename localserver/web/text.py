"""How values read on a page: statuses, durations, sizes, times. Pure; knows no request and no template engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localserver.times import parse


@dataclass(frozen=True)
class Status:
    """A task status as people see it: `css` is also the icon's name."""

    name: str
    css: str
    hint: str


STATUSES = {
    "created": Status("draft", "draft", "Made, not yet enqueued"),
    "queued": Status("queued", "queued", "Waits in a queue for a worker"),
    "in_progress": Status("running", "running", "A worker or a script runs it"),
    "stopped": Status("aborted", "aborted", "Stopped before its end"),
    "closed": Status("closed", "completed", "Closed"),
    "failed": Status("failed", "failed", "Ended with an error"),
    "completed": Status("completed", "completed", "Ended without error"),
    "publishing": Status("publishing", "published", "Being made read-only"),
    "published": Status("published", "published", "Completed and read-only"),
}
UNKNOWN = Status("unknown", "draft", "The server does not know")
LIVE = frozenset({"queued", "in_progress", "publishing"})
"""Statuses that change without anybody touching the page."""


def status(value: str | None) -> Status:
    """Return how a task status is shown."""
    return STATUSES.get(value or "", UNKNOWN)


def duration(seconds: float | None) -> str:
    """Return `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min` or `4 d 3 h`; a dash for None (app.js says the same)."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def ago(moment: datetime, now: datetime) -> str:
    """Return how long before `now` a moment was, in one unit (app.js says the same)."""
    seconds = int((now - moment).total_seconds())
    if seconds < 5:
        return "just now"
    for size, unit in ((86400 * 365, "y"), (86400 * 30, "mo"), (86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def absolute(moment: datetime) -> str:
    """Return a moment in full; the page's script shows it in the reader's own time zone."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def size(count: float | None) -> str:
    """Return a number of bytes as `512 B`, `1.4 KB`, `77 MB` (powers of 1024)."""
    if count is None:
        return "–"
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if abs(amount) < 1000 or unit == "TB":
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")


def number(value: Any) -> str:
    """Return a measured value with six significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def moment(value: Any) -> datetime | None:
    """Return the time that a document holds as text, as epoch seconds or as epoch milliseconds."""
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, int | float) and value > 0:
        seconds = value / 1000 if value > 1e11 else value
        return datetime.fromtimestamp(seconds, tz=UTC)
    return None


def run_time(task: dict[str, Any], now: datetime) -> float | None:
    """Return for how many seconds a task ran, or has been running; None where it never started."""
    started = moment(task.get("started"))
    if started is None:
        return None
    if task.get("status") == "in_progress":
        return (now - started).total_seconds()
    ended = moment(task.get("completed")) or moment(task.get("status_changed")) or started
    return max(0.0, (ended - started).total_seconds())


def pretty(text: str) -> str:
    """Return JSON text indented, anything else as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
