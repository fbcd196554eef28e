"""What belongs to the table of tasks: choosing columns, named views, density, and the table as a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from starlette.responses import Response

from clearml_localserver.csv_lines import csv_line, harmless
from clearml_localserver.errors import ApiError
from clearml_localserver.times import iso
from clearml_localserver.web import columns as known
from clearml_localserver.web import text
from clearml_localserver.web.columns import Column
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.session import own_path
from clearml_localserver.web.views.table_query import Table, all_rows, read_table, within

DENSE = "dense"
MAX_VIEW_NAME = 100
MAX_VIEW_ADDRESS = 20_000
PLACE = "at:"
"""Before the key of a column in the form that chooses columns: its place among them."""

MAX_LISTED = 500
"""Metrics and parameters that the form offers."""


def views_of(visit: Visit, kept: Json, project: str) -> list[Json]:
    """Return the named views of a project's table, by name; deleted ones stay as empty entries."""
    views = [
        {"key": key, "name": view["name"], "address": f"/projects/{project}?{view['query']}"}
        for key, view in kept["views"].get(project, {}).items()
        if view["name"]
    ]
    return sorted(views, key=lambda view: str(view["name"]).lower())


def settle(visit: Visit) -> Response | None:
    """Return the redirect to the plain form of an address that a form has just made; None for a plain one.

    Forms without a script can only add fields: a condition comes in three of them, a column's place beside the column.
    """
    query = visit.request.query_params
    places = [name for name in query if name.startswith(PLACE)]
    if "f" not in query and not places:
        return None
    changes: dict[str, Any] = {"f": None, "op": None, "v": None, "page": None, **dict.fromkeys(places)}
    if query.get("f") and query.get("v", "").strip():
        condition = f"{query['f']}{query.get('op', '=')}{query['v'].strip()}"
        changes["where"] = list(dict.fromkeys([*visit.asked.several("where"), condition]))
    if places:
        place = {name.removeprefix(PLACE): float(visit.asked.whole(name, 10**6, 10**6)) for name in places}
        # A column that is given the place of another one comes before it.
        chosen = visit.asked.several("col", known.MAX_COLUMNS)
        changes["col"] = sorted(chosen, key=lambda key: (place.get(key, 10**6), chosen.index(key)))
    return visit.redirect(visit.address(**changes))


def choose(visit: Visit) -> Response:
    """Show the columns to choose from, those of the table first, in their order."""
    project = visit.argument("project")
    table = read_table(visit, project)
    where: Json = {} if project == "*" else {"projects": [project], "include_subprojects": visit.asked.switch("sub")}
    metrics = visit.call("projects.get_unique_metric_variants", where)["metrics"]
    parameters = visit.call("projects.get_hyper_parameters", where)["parameters"]
    newest: Json = within(project) | {"order_by": ["-created"], "page": 0, "page_size": 50, "search_hidden": True}
    tasks = visit.call("tasks.get_all_ex", newest | {"only_fields": ["runtime"]})["tasks"]
    properties = sorted({name for task in tasks for name in task["runtime"]})
    groups = {
        "Task": [key for key in known.FIXED if key != "name"],
        "Metrics": [
            known.metric_key(end, item["metric"], item["variant"])
            for item in sorted(metrics, key=lambda item: item["metric"].startswith(":monitor"))[:MAX_LISTED]
            for end in known.ENDS
        ],
        "Parameters": [known.parameter_key(item["section"], item["name"]) for item in parameters[:MAX_LISTED]],
        "Runtime": [known.runtime_key(name) for name in properties],
    }
    shown = {column.key for column in table.columns}
    offered = {
        title: [column for key in keys if key not in shown and (column := known.read_column(key)) is not None]
        for title, keys in groups.items()
    }
    kept = [
        item
        for item in visit.request.query_params.multi_items()
        if item[0] not in ("col", "page", "_part", "notice", "undo", "changed") and not item[0].startswith(PLACE)
    ]
    return visit.render(
        "project_columns.html",
        id=project,
        name="All tasks"
        if project == "*"
        else visit.call("projects.get_by_id", {"project": project})["project"]["name"],
        shown=[column for column in table.columns if column.key != "name"],
        offered={title: found for title, found in offered.items() if found},
        kept=kept,
        most=known.MAX_COLUMNS,
    )


def save_view(visit: Visit) -> Response:
    """Keep the table's address under a name, or forget one that is kept."""
    project, form = visit.argument("project"), visit.form()
    back = f"/projects/{project}"
    if key := form.get("forget"):
        visit.call("users.set_preferences", {"preferences": {f"localserver.views.{_step(project)}.{_step(key)}": None}})
        return visit.redirect(own_path(form.get("back") or back), "view-forgotten")
    name, query = form.get("name", "").strip(), form.get("query", "")
    if not name:
        raise ApiError(400, 0, "A view needs a name")
    if len(name) > MAX_VIEW_NAME:
        raise ApiError(400, 0, f"A view's name has at most {MAX_VIEW_NAME} characters; this one has {len(name)}")
    if len(query) > MAX_VIEW_ADDRESS:
        raise ApiError(400, 0, "This view has too many columns and filters to be kept")
    key = blake2b(name.encode(errors="replace"), digest_size=8).hexdigest()
    path = f"localserver.views.{_step(project)}.{key}"
    visit.call("users.set_preferences", {"preferences": {path: {"name": name, "query": query}}})
    return visit.redirect(f"{back}?{query}" if query else back, "view-kept")


def _step(part: str) -> str:
    # A dot would lead deeper into the preferences; no id and no key of ours has one.
    return part.replace(".", "")[:64]


def set_density(visit: Visit) -> Response:
    """Keep how close together the person wants a table's rows."""
    form = visit.form()
    density = DENSE if form.get("density") == DENSE else ""
    visit.call("users.set_preferences", {"preferences": {"localserver.density": density}})
    return visit.redirect(own_path(form.get("back", "/projects")))


def as_csv(visit: Visit) -> Response:
    """Return all tasks of the table, not only of the page, as CSV with the columns that are shown."""
    return _file(visit, "csv", "text/csv; charset=utf-8")


def as_json(visit: Visit) -> Response:
    """Return all tasks of the table, not only of the page, as a JSON list with the columns that are shown."""
    return _file(visit, "json", "application/json")


def _file(visit: Visit, kind: str, media_type: str) -> Response:
    project = visit.argument("project")
    if project != "*":
        visit.call("projects.get_by_id", {"project": project})
    table = read_table(visit, project)
    tasks = all_rows(visit, table)
    # The first row is looked for before the answer begins, so that a refusal still becomes a page.
    first = next(tasks, None)

    def rows() -> Iterator[Json]:
        if first is not None:
            yield _row(visit, table, first)
            for task in tasks:
                yield _row(visit, table, task)

    body = b"".join(_csv(table, rows()) if kind == "csv" else _json(rows()))
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="tasks.{kind}"'}
    return Response(body, media_type=media_type, headers=headers)


def _row(visit: Visit, table: Table, task: Json) -> Json:
    return {"id": task["id"]} | {column.key: exported(column, task, visit) for column in table.columns}


def exported(column: Column, task: Json, visit: Visit) -> Any:
    """Return a cell for a file: times as ISO 8601, numbers as they are."""
    value = column.value(task, visit.now)
    if column.key in ("created", "started", "completed", "updated"):
        moment = text.moment(value)
        return iso(moment) if moment else None
    return value


def _json(rows: Iterator[Json]) -> Iterator[bytes]:
    yield b"["
    for number, row in enumerate(rows):
        yield b",\n" if number else b"\n"
        yield text.encoded(row)
    yield b"\n]\n"


def _csv(table: Table, rows: Iterator[Json]) -> Iterator[bytes]:
    for cells in itertools.chain([("id", *(column.key for column in table.columns))], (row.values() for row in rows)):
        yield csv_line(map(harmless, cells)).encode(errors="replace")
