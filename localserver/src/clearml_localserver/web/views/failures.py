"""Why runs and tasks failed: their failed steps, and what those printed last."""

from __future__ import annotations

from clearml_localserver.errors import ApiError
from clearml_localserver.web import outcome
from clearml_localserver.web.outcome import Failure
from clearml_localserver.web.runs import Run, Step
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import find_runs

MAX_INNER = 5
"""Pipelines within pipelines that are looked into."""

SHOWN_FAILURES = 5
"""Failed steps of a run whose consoles are read."""


def failure_of(visit: Visit, task: Json, title: str = "") -> Failure:
    """Return why a task failed, by its console if that tells."""
    lines, at = last_lines(visit, task["id"])
    why = outcome.cause(lines) or outcome.sentences(task) or "No reason was given."
    return Failure(title or task["name"], task["id"], why, lines[-outcome.SHOWN_LINES :], at)


def last_lines(visit: Visit, task_id: str) -> tuple[list[str], int]:
    """Return the last lines of a task's console, and when the last of them was printed, in ms."""
    query = {"task": task_id, "batch_size": outcome.READ_EVENTS, "order": "asc", "count_total": False}
    try:
        events = visit.call("events.get_task_log", query)["events"]
    except ApiError as error:
        if error.code != 400:
            raise
        events = []  # the task was deleted a moment ago
    lines = outcome.printed_lines(event["msg"] for event in events)
    return lines, int(events[-1]["timestamp"] or 0) if events else 0


def failures_of(visit: Visit, task: Json, run: Run, *, most: int = SHOWN_FAILURES) -> list[Failure]:
    """Return why a failed run failed: its failed steps, or those of the pipelines within it, or its controller.

    Args:
        visit: The request.
        task: The controller.
        run: Its run.
        most: Of more failed steps, these first ones count.
    """
    if task["status"] != "failed" and not run.counts.get("failed"):
        return []
    found: list[Failure] = []
    _look_into(visit, run, "", MAX_INNER, most, found)
    return found or ([failure_of(visit, task)] if task["status"] == "failed" else [])


def _look_into(visit: Visit, run: Run, before: str, depth: int, most: int, found: list[Failure]) -> None:
    failed = [step for step in run.steps if step.status == "failed" and step.task_id]
    inner = {}
    if ids := [step.task_id for step in failed if step.is_pipeline] if depth else []:
        inner = {task["id"]: each for task, each in find_runs(visit, {"id": ids, "system_tags": []}, size=len(ids))}
    for step in failed:
        if len(found) >= most:
            return
        title = f"{before} / {step.name}" if before else step.name
        known = len(found)
        if step.task_id in inner:
            _look_into(visit, inner[step.task_id], title, depth - 1, most, found)
        if len(found) == known:
            found.append(failure_of(visit, _as_task(step), title))


def _as_task(step: Step) -> Json:
    return {"id": step.task_id, "name": step.name, "status_message": step.message}
