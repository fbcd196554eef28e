"""Values of documents that are columns, too: what lists filter, sort and count by.

The store writes a column only when its value changes, and SQLite then touches only the indexes that hold it.
`migrations/0041` has the same columns, and triggers that fill them when something else writes a document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

Document = Mapping[str, Any]

VALUES = (
    "project", "company", "user", "parent", "name", "comment", "type", "status", "created", "started", "completed",
    "active_duration", "status_changed", "last_update", "last_iteration",
)  # fmt: skip
LISTS = ("tags", "system_tags")
CACHE_HASH = ("runtime", "pipeline_job_hash")
"""Where the SDK notes what a cached pipeline step was made from, and looks for it before it launches one."""

NAMES = tuple(f"field_{name}" for name in (*VALUES, *LISTS, "cache_hash", "models"))
"""The columns of table `task` beside `id`, `doc` and what SQLite computes from them."""

READ = f"SELECT rowid, revision, {', '.join(NAMES)} FROM task WHERE id = ?"
INSERT = f"INSERT INTO task (id, revision, {', '.join(NAMES)}, doc) VALUES (?, 1{', ?' * len(NAMES)}, ?)"


def task_columns(task: Document) -> tuple[Any, ...]:
    """Return the values of the columns `NAMES` for a task."""
    section, key = CACHE_HASH
    runtime = task.get(section)
    return (
        *[value if type(value) is str else _value(value) for value in map(task.get, VALUES)],
        *[_json(task[name]) if name in task else None for name in LISTS],
        _value(runtime.get(key)) if isinstance(runtime, dict) else None,
        _models(task.get("models")),
    )


def changed(before: Sequence[Any], after: Sequence[Any]) -> tuple[int, ...]:
    """Return the numbers of the columns that differ."""
    return tuple(number for number, value in enumerate(after) if before[number] != value)


@lru_cache(512)
def update(numbers: tuple[int, ...]) -> str:
    """Return the statement that writes a document and the columns of these numbers."""
    columns = "".join(f", {NAMES[number]} = ?" for number in numbers)
    return f"UPDATE task SET doc = ?, revision = ?{columns} WHERE rowid = ?"


def _value(value: Any) -> Any:
    """Return what `json_extract` makes of a value."""
    if isinstance(value, dict | list):
        return _json(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _models(models: Any) -> str | None:
    """Return the ids of the models that a task lists, as JSON; nothing where it lists none."""
    if not isinstance(models, dict):
        return None
    found = {
        type_: [entry["model"] for entry in models.get(type_) or [] if entry.get("model") is not None]
        for type_ in ("input", "output")
    }
    return _json(found) if any(found.values()) else None
