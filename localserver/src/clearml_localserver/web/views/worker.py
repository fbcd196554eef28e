"""One worker: its task with pod and node, and how busy its machine was over time."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import charts, comparison
from clearml_localserver.web.charts import Chart, Line
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import find_tasks, is_alive

MEGABYTE = 2**20

SPANS = {
    "hour": (3_600, 60),
    "6h": (6 * 3_600, 120),
    "day": (86_400, 600),
    "week": (7 * 86_400, 3_600),
}
"""By name in the address: seconds that are shown, and seconds of one point. Agents report every 30 s."""

POD = {"_exec_agent_hostname": "Host", "pod_agent": "Agent that made the pod", "pod": "Pod"}
"""Runtime properties of a task that say where it runs → how a page calls them."""


@dataclass(frozen=True)
class Measured:
    """One chart of a machine: its title, its curves by metric and aggregation, and their unit."""

    title: str
    curves: dict[str, tuple[str, str]]
    unit: str
    factor: float = 1.0
    most: float | None = None


CHARTS = (
    Measured("CPU", {"mean": ("cpu_usage", "avg"), "busiest core": ("cpu_usage", "max")}, " %", most=100),
    Measured("Memory", {"used": ("memory_used", "avg"), "free": ("memory_free", "avg")}, "bytes", MEGABYTE),
    Measured("GPU", {"mean": ("gpu_usage", "avg"), "busiest": ("gpu_usage", "max")}, " %", most=100),
    Measured("GPU memory", {"used": ("gpu_memory_used", "avg"), "free": ("gpu_memory_free", "avg")}, "bytes", MEGABYTE),
    Measured(
        "Network per second", {"received": ("network_rx", "avg"), "sent": ("network_tx", "avg")}, "bytes", MEGABYTE
    ),
)
WANTED = {pair for chart in CHARTS for pair in chart.curves.values()}


def worker(visit: Visit) -> Response:
    """Show one worker, also one that is gone, as long as what it reported is kept."""
    name = visit.argument("worker")
    over = visit.asked.choice("over", "hour", SPANS, f"one of {', '.join(SPANS)}")
    seconds, step = SPANS[over]
    now = int(visit.now.timestamp())
    asked = {"worker_ids": [name], "from_date": now - seconds, "to_date": now + 1, "interval": step}
    items = [{"key": key, "aggregation": aggregation} for key, aggregation in sorted(WANTED)]
    machine: Json = next(iter(visit.call("workers.get_stats", asked | {"items": items})["workers"]), {"metrics": []})
    activity = visit.call("workers.get_activity_report", asked)
    found = next((row for row in visit.call("workers.get_all", {})["workers"] if row["id"] == name), None)
    if found is None and not activity["total"]["dates"]:
        week = asked | {"from_date": now - SPANS["week"][0], "interval": SPANS["week"][1]}
        if not visit.call("workers.get_activity_report", week)["total"]["dates"]:
            raise ApiError(404, 0, f"No worker called {name[:200]!r} has reported within the last week")
    task: Json | None = None
    if found is not None and found["task"]["id"]:
        task = next(iter(find_tasks(visit, {"id": [found["task"]["id"]]}, size=1, fields=["name", "runtime"])), None)
    reported = {date / 1000 for date in activity["total"]["dates"] if date is not None}
    return visit.render(
        "worker.html",
        live=found is not None,
        section="/workers",
        name=name,
        worker=found,
        alive=found is not None and is_alive(found, visit.now),
        task=task,
        pod={title: task["runtime"][key] for key, title in POD.items() if task["runtime"].get(key)} if task else {},
        drawings=_drawings(machine, reported, (now - seconds, now)),
        busy=_busy(activity),
        spans=SPANS,
        over=over,
    )


def _busy(activity: Json) -> float | None:
    """Return during which part of its reports the worker had a task; None without a report."""
    counts = [count or 0 for count in activity["active"]["counts"]]
    return sum(counts) / len(counts) if counts else None


def _drawings(machine: Json, reported: set[float], span: tuple[float, float]) -> list[tuple[Measured, Chart]]:
    series = {
        (item["metric"], stat["aggregation"]): (stat["dates"], stat["values"])
        for item in machine["metrics"]
        for stat in item["stats"]
    }
    drawings = []
    for measured in CHARTS:
        colours = comparison.colours(len(measured.curves))
        lines = [
            _line(name, colour, *series[pair], reported, measured.factor)
            for (name, pair), colour in zip(measured.curves.items(), colours, strict=True)
            if pair in series
        ]
        if _same(lines):
            lines = lines[:1]
        drawing = charts.draw(lines, "clock", least=0, most=measured.most, span=span, unit=measured.unit)
        if drawing is not None:
            drawings.append((measured, drawing))
    return drawings


def _line(
    name: str, colour: str, dates: list[float | None], values: list[float | None], reported: set[float], factor: float
) -> Line:
    """Return the curve; an interval without a report, which the API tells as 0, is a hole."""
    places = [(date or 0) / 1000 for date in dates]
    pairs = list(zip(places, values, strict=False))
    kept = [None if value is None or at not in reported else value * factor for at, value in pairs]
    return Line(name, colour, [at for at, _ in pairs], kept)


def _same(lines: list[Line]) -> bool:
    """Return whether all curves are the same: a machine of one core, or an agent that reports only the mean."""
    return len(lines) > 1 and all(line.y == lines[0].y for line in lines[1:])
