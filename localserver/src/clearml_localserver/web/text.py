"""How values read on a page: statuses, durations, sizes, times. Pure; knows no request and no template engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import orjson
from markupsafe import Markup

from clearml_localserver.times import parse
from clearml_localserver.web import shapes


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
MOST_INDENTED = 8
"""How many times longer than its text indented JSON may be; deep nesting makes it grow with the square."""

IN_ADDRESSES = "%/:?#[]@!$&'()*+,;=|"
LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

SLICE = 2**13
"""Characters that are looked at in one go: the pattern is slow, and most slices need only the quick test."""

_OUTSIDE_BMP = "".join(chr(plane * 0x10000 + code) for plane in range(1, 17) for code in (0xFFFE, 0xFFFF))
UNSHOWABLE = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff{_OUTSIDE_BMP}]")
"""Control characters, halves of surrogate pairs and code points that are not characters."""

LIVE = frozenset({"queued", "in_progress", "publishing"})
"""Statuses that change without anybody touching the page."""


def status(value: str | None) -> Status:
    """Return how a task status is shown."""
    return STATUSES.get(value or "", UNKNOWN)


def more_seconds(seconds: float) -> str:
    """Return by how much something took longer, as `+1.2 s`; what is less than that reads `+0.0 s`, never `-0.0 s`."""
    return f"{round(seconds, 1) + 0.0:+.1f} s"


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


def size(count: Any) -> str:
    """Return a number of bytes as `512 B`, `1.4 KB`, `77 MB` (powers of 1024)."""
    known = shapes.number(count)
    if known is None:
        return "–"
    amount = float(known)
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
    """Return the time that a document holds as text, as epoch seconds or as epoch milliseconds; None for no time."""
    try:
        if isinstance(value, str):
            found = parse(value)
            return found.astimezone(timezone.utc) if found else None
        seconds = shapes.number(value)
        if seconds is None or seconds <= 0:
            return None
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, tz=timezone.utc)
    except (ValueError, OverflowError, OSError):  # beyond the years 1 to 9999
        return None


def address(uri: str) -> SplitResult | None:
    """Return the parts of an address of the web, ready for a link; None for any other text.

    Clients that put names into addresses as they are get the characters that no address can hold escaped: a line break
    would otherwise be taken out, and a lone percent sign be read as the start of an escape.
    """
    try:
        parts = urlsplit(LONE_PERCENT.sub("%25", quote(uri, safe=IN_ADDRESSES, errors="replace")))
        return parts if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else None
    except ValueError:
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
    """Return JSON text indented, anything else as it is; so is JSON that would grow to many times its length."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    value = shapes.read_json(text)
    if value is None:
        return text
    parts, room = [], MOST_INDENTED * len(text) + 1000
    try:
        for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
            parts.append(part)
            room -= len(part)
            if room < 0:
                return text
    except RecursionError:
        return text
    return "".join(parts)


def project_path(name: str) -> str:
    """Return the name of a project without the hidden parts that the SDK puts around pipelines and datasets."""
    return re.sub(r"(^|/)\.(pipelines|datasets)/", r"\1", name)


def visible(text: str) -> str:
    """Return text without the characters that an HTML page cannot hold: each is shown by a sign of its own."""
    pieces = (text[start : start + SLICE] for start in range(0, len(text), SLICE))
    # What is printable needs no sign; line breaks, which are not, need none either.
    return "".join(
        [piece if piece.replace("\n", "").isprintable() else UNSHOWABLE.sub(_sign, piece) for piece in pieces]
    )


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def encoded(value: Any) -> bytes:
    """Return a value as JSON."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a surrogate pair, which only the escaped form can hold
        return json.dumps(value).encode()


def json_script(value: Any) -> Markup:
    """Return JSON that may stand inside `<script type="application/json">`: nothing in it can end the element."""
    body = value if isinstance(value, str) else encoded(value).decode()
    for character, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        body = body.replace(character, code)
    return Markup(body)  # noqa: S704  the three characters that HTML knows are gone
