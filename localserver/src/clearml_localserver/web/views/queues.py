"""Queues and workers: the entries of queues and their order, and what each worker does."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import charts
from clearml_localserver.web.charts import Chart, Line
from clearml_localserver.web.comparison import FIRST_COLOURS
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import find_queues, find_tasks, is_alive

SHOWN_ENTRIES = 200
MOVES = {
    "front": "queues.move_task_to_front",
    "forward": "queues.move_task_forward",
    "backward": "queues.move_task_backward",
    "back": "queues.move_task_to_back",
}
STATS = ("cpu_usage", "memory_used", "memory_free", "gpu_usage")
STATS_WINDOW_S, STATS_STEP_S = 300, 60
WAITS_WINDOW_S, WAITS_STEP_S = 86_400, 1_800
RECENT = 2
"""Among the figures of so many intervals the newest one is looked for."""


def queues(visit: Visit) -> Response:
    """Show all queues with their entries in order."""
    found = find_queues(visit)
    ids = [entry["task"]["id"] for queue in found for entry in (queue.get("entries") or [])[:SHOWN_ENTRIES]]
    tasks = {task["id"]: task for task in find_tasks(visit, {"id": ids}, size=len(ids))} if ids else {}
    waits = waiting_times(visit, [queue["id"] for queue in found])
    return visit.render("queues.html", live=True, queues=found, tasks=tasks, shown=SHOWN_ENTRIES, waits=waits)


def waiting_times(visit: Visit, ids: list[str]) -> dict[str, Chart]:
    """Return, by queue, how long the tasks that workers took from it over the last day had waited."""
    if not ids:
        return {}
    now = int(visit.now.timestamp())
    asked = {"queue_ids": ids, "from_date": now - WAITS_WINDOW_S, "to_date": now + 1, "interval": WAITS_STEP_S}
    drawings = {}
    for row in visit.call("queues.get_queue_metrics", asked)["queues"]:
        pairs = zip(row["dates"], row["avg_waiting_times"], strict=False)
        waited = {int(date / 1000): value for date, value in pairs if date is not None}
        places = range((now - WAITS_WINDOW_S) // WAITS_STEP_S * WAITS_STEP_S, now + 1, WAITS_STEP_S)
        line = Line("mean wait", FIRST_COLOURS[0], list(places), [waited.get(place) for place in places])
        drawing = charts.draw([line], "clock", least=0, span=(now - WAITS_WINDOW_S, now), unit="seconds")
        if drawing is not None:
            drawings[row["queue"]] = drawing
    return drawings


def move_entry(visit: Visit) -> Response:
    """Move an entry within its queue, or take it out."""
    queue, task, move = (visit.argument(name) for name in ("queue", "task", "move"))
    if move == "remove":
        visit.call("queues.remove_task", {"queue": queue, "task": task, "update_task_status": True})
        return visit.redirect("/queues", "removed")
    if move not in MOVES:
        raise ApiError(404, 0, f"There is no way to move an entry called {move!r}")
    visit.call(MOVES[move], {"queue": queue, "task": task})
    return visit.redirect("/queues", "moved")


def workers(visit: Visit) -> Response:
    """Show all workers with their queues, tasks and machines."""
    now = int(visit.now.timestamp())
    query = {
        "from_date": now - STATS_WINDOW_S,
        "to_date": now + 1,
        "interval": STATS_STEP_S,
        "items": [{"key": key, "aggregation": "avg"} for key in STATS],
    }
    found = visit.call("workers.get_all", {})
    stats = visit.call("workers.get_stats", query)
    machines: dict[str, dict[str, float]] = {}
    for worker in stats["workers"]:
        for metric in worker["metrics"]:
            values = [value for stats in metric["stats"][:1] for value in stats["values"] if value is not None]
            if values:
                # An interval without a report is 0, and the newest one has hardly begun.
                newest = next((value for value in reversed(values[-RECENT:]) if value), 0.0)
                machines.setdefault(worker["worker"], {})[metric["metric"]] = newest
    rows: list[Json] = sorted(found["workers"], key=lambda row: (not is_alive(row, visit.now), row["id"]))
    return visit.render(
        "workers.html", live=True, workers=rows, machines=machines, is_alive=lambda row: is_alive(row, visit.now)
    )
