"""The blocks of a report that stand for data: which tasks they mean, and the chart or the table in their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from markupsafe import Markup

from clearml_localserver.errors import ApiError
from clearml_localserver.web import charts, comparison
from clearml_localserver.web import columns as known
from clearml_localserver.web.charts import Chart, Line
from clearml_localserver.web.columns import Column
from clearml_localserver.web.report_text import MAX_IDS, Embed, Piece
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.text import LIVE, STATUSES
from clearml_localserver.web.views.lists import TASK_ROW
from clearml_localserver.web.views.table_query import order_by

MOST_TASKS = 50
SHOWN_TASKS, SHOWN_CURVES = 20, 10
"""Tasks of a table, and of a chart, whose block says nothing about it."""

CHART_POINTS = 300
MAX_CHARTS = 12
"""Charts of one block: one for each variant of its metric."""

ID = re.compile(r"[0-9a-f]{32}")
COMPARED = ["hyperparams", "last_metrics", "runtime"]


@dataclass
class Shown:
    """What a page shows for a piece of a report's text."""

    markup: Markup = field(default_factory=Markup)
    title: str = ""
    address: str = ""
    problem: str = ""
    charts: list[tuple[str, Chart]] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    tasks: list[Json] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Tasks that the block names and that do not exist."""

    left_out: int = 0
    """Tasks that the block names beyond those that one block shows."""

    total: int = 0
    """Tasks of a chart."""

    silent: list[str] = field(default_factory=list)
    """Names of those that have not reported its metric."""

    is_live: bool = False


def shown(visit: Visit, piece: Piece) -> Shown:
    """Return what a page shows for a piece of a report."""
    if isinstance(piece, str):
        return Shown(Markup(piece))  # noqa: S704  the Markdown reader has escaped it
    found = Shown(title=piece.options.get("title", ""), address=piece.options.get("address", ""))
    found.problem = piece.problem
    if piece.problem or piece.kind == "link":
        return found
    try:
        return _chart(visit, piece, found) if piece.kind == "scalars" else _table(visit, piece, found)
    except ApiError as error:
        found.problem = error.msg
        return found


def _chart(visit: Visit, embed: Embed, found: Shown) -> Shown:
    axis, metric = embed.options.get("axis", "iter"), embed.options["metric"]
    wanted: Json = {"metric": metric}
    if variant := embed.options.get("variant"):
        wanted["variants"] = [variant]
    block = {"metrics": [wanted], "samples": CHART_POINTS, "envelope": True}
    block["key"] = "iter" if axis == "iter" else "timestamp"
    query = _query(visit, embed, SHOWN_CURVES) | {"only_fields": TASK_ROW, "scalar_metrics_iter_histogram": block}
    reply = visit.call("reports.get_task_data", query)
    tasks = _ordered(reply["tasks"], embed)
    _tell(found, embed, tasks)
    colours = comparison.colours(len(tasks))
    for name, curves in sorted(reply["scalar_metrics_iter_histogram"].get(metric, {}).items())[:MAX_CHARTS]:
        lines = [
            _line(task, colour, curves[task["id"]], axis)
            for task, colour in zip(tasks, colours, strict=True)
            if task["id"] in curves
        ]
        drawing = charts.draw(lines, axis)
        if drawing is not None:
            found.charts.append((name, drawing))
    drawn = {id_ for curves in reply["scalar_metrics_iter_histogram"].get(metric, {}).values() for id_ in curves}
    found.silent = [task["name"] for task in tasks if task["id"] not in drawn]
    found.total = len(tasks)
    found.title = found.title or metric
    ids = ",".join(task["id"] for task in tasks)
    found.address = f"/compare?{urlencode({'ids': ids, 'metric': metric}, errors='replace')}"
    if len(tasks) == 1:
        found.address = f"/tasks/{ids}/scalars"
    if not found.charts:
        which = f"“{metric} {variant}”" if variant else f"“{metric}”"
        none = "The task has not" if len(tasks) == 1 else f"None of the {len(tasks)} tasks has"
        found.problem = f"{none} reported {which}." if tasks else "No task is found."
    return found


def _line(task: Json, colour: str, curve: Json, axis: str) -> Line:
    places = [place if isinstance(place, int | float) else 0 for place in curve["x"]]
    if axis != "iter":
        start = places[0] if axis == "time" and places else 0
        places = [(place - start) / 1000 for place in places]
    length = min(len(places), len(curve["y"]))
    return Line(task["name"], colour, places[:length], curve["y"][:length], curve["low"], curve["high"],
                href=f"/tasks/{task['id']}")  # fmt: skip


def _table(visit: Visit, embed: Embed, found: Shown) -> Shown:
    keys = [key.strip() for key in embed.options.get("columns", "").split(",") if key.strip()]
    found.columns, unknown = known.read_columns(keys or known.PLAIN)
    if unknown:
        found.problem = f"There is no column {unknown[0][:200]!r}."
        return found
    fields = [name for column in found.columns for name in column.fields] if keys else COMPARED
    query = _query(visit, embed, SHOWN_TASKS) | {"only_fields": list(dict.fromkeys([*TASK_ROW, *fields]))}
    found.tasks = _ordered(visit.call("reports.get_task_data", query)["tasks"], embed)
    _tell(found, embed, found.tasks)
    if not keys:
        found.columns, _ = known.read_columns(known.starting(found.tasks))
    if not found.tasks:
        found.problem = "No task is found."
    return found


def _tell(found: Shown, embed: Embed, tasks: Sequence[Json]) -> None:
    found.is_live = any(task["status"] in LIVE for task in tasks)
    if embed.options.get("tasks"):
        known_ids = {task["id"] for task in tasks}
        if len(tasks) < int(embed.options.get("limit") or MAX_IDS):  # else the limit may have left them out
            found.missing = [id_ for id_ in embed.ids if id_ not in known_ids]
        found.left_out = embed.left_out


def _ordered(tasks: list[Json], embed: Embed) -> list[Json]:
    """Return tasks in the order in which the block names them, if it does."""
    if not embed.options.get("tasks") or embed.options.get("order") or embed.order_by:
        return tasks
    place = {id_: number for number, id_ in enumerate(embed.ids)}
    return sorted(tasks, key=lambda task: place.get(task["id"], MAX_IDS))


def _query(visit: Visit, embed: Embed, default: int) -> Json:
    """Return which tasks a block means.

    Raises:
        ApiError: It names a project or a status that there is not.
    """
    options = embed.options
    size = min(MOST_TASKS, int(options.get("limit") or default))
    query: Json = {"page": 0, "page_size": size, "search_hidden": True}
    query["order_by"] = [embed.order_by or order_by(options.get("order") or "-updated")]
    if options.get("tasks"):
        return query | {"id": embed.ids, "page_size": min(MOST_TASKS, int(options.get("limit") or MAX_IDS))}
    query["system_tags"] = ["-archived"]
    if project := options.get("project"):
        query["project"] = [_project(visit, project)]
    if tags := [tag.strip() for tag in options.get("tag", "").split(",") if tag.strip()]:
        query["filters"] = {"tags": {"all": {"include": tags}}}
    if statuses := [name.strip().lower() for name in options.get("status", "").split(",") if name.strip()]:
        query["status"] = [_status(name) for name in statuses]
    return query


def _project(visit: Visit, name: str) -> str:
    if ID.fullmatch(name):
        return name
    wanted = {"name": f"^{re.escape(name)}$", "search_hidden": True, "only_fields": ["name"]}
    for project in visit.call("projects.get_all_ex", wanted | {"page": 0, "page_size": 50})["projects"]:
        if project["name"] == name:
            return str(project["id"])
    raise ApiError(400, 401, f"There is no project called {name[:200]!r}")


def _status(name: str) -> str:
    """Return the API's status for one as people say it, e.g. `in_progress` for `running`."""
    for status, told in STATUSES.items():
        if name in (status, told.name):
            return status
    names = ", ".join(told.name for told in STATUSES.values())
    raise ApiError(400, 0, f"There is no status {name[:100]!r}. The statuses are {names}")
