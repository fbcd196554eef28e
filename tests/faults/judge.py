"""Compares a task's end with what was done to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

Json = Mapping[str, Any]


def words_of(task: Json) -> str:
    """Return what a record says of its end."""
    runtime = task.get("runtime") or {}
    said = (task.get("status_reason"), task.get("status_message"), runtime.get("pod"))
    return "; ".join(dict.fromkeys(str(text) for text in said if text))


def judged(task: Json, begun: int, done: int, tasks: Mapping[str, Json], deleted: Set[str]) -> str:
    """Return what is wrong with a task's end; nothing if it is as it should be.

    Args:
        task: Its record.
        begun: How often its code began.
        done: How often its code came to its end.
        tasks: The records of all, by id.
        deleted: The tasks whose pods were deleted.
    """
    status = task["status"]
    if begun > 1:
        return f"ran {begun} times"
    if status == "completed":
        return "" if (begun, done) == (1, 1) else f"completed, but its code began {begun} and ended {done} times"
    if status == "created":
        parent = str(task.get("parent"))
        return "" if parent in deleted and not begun else "was never enqueued, though its controller was left alone"
    if status != "failed":
        return f"lost: {status}, {words_of(task) or 'without a reason'}"
    return _of_a_failure(task, tasks, deleted)


def _of_a_failure(task: Json, tasks: Mapping[str, Json], deleted: Set[str]) -> str:
    said = words_of(task)
    if task["id"] in deleted and "Deleted" in said:
        return ""
    steps = [other for other in tasks.values() if other.get("parent") == task["id"]]
    if any(step["status"] == "failed" and step["id"] in deleted for step in steps):
        return "" if "step failed" in said else f"a step's pod was deleted, its record says: {said}"
    if task["id"] in deleted:
        return f"its pod was deleted, its record says: {said}"
    return f"failed, though nothing was done to it: {said}"
