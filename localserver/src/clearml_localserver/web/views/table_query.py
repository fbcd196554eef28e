"""The table of a project's tasks: what its address asks for, and the rows that the API finds for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from clearml_localserver.errors import ApiError
from clearml_localserver.web import columns as known
from clearml_localserver.web.columns import Column
from clearml_localserver.web.conditions import MAX_CONDITIONS, Condition, ConditionError, query_of, read_condition
from clearml_localserver.web.site import MAX_PAGE, Json, Visit
from clearml_localserver.web.text import STATUSES
from clearml_localserver.web.views.lists import count, find_tasks

SIZES = (50, 100, 200)
NEWEST_FIRST = "-last_update"
ALWAYS = ("name", "status", "status_message", "tags", "system_tags", "started", "type")
"""Fields that a row needs whatever its columns are."""

COMPARED = ("hyperparams", "last_metrics")
LOOKED_AT = 50
"""Newest tasks of a project of which a new table shows the differences."""

MAX_EXPORTED = 50_000
EXPORT_BATCH = 500


@dataclass
class Table:
    """What an address asks for."""

    project: str
    columns: list[Column]
    chosen_columns: bool
    """Whether the address itself names the columns."""

    order: str
    """Key of the column to sort by, with `-` before it for the greatest first."""

    statuses: list[str]
    tags: list[str]
    not_tags: list[str]
    any_tag: bool
    conditions: list[Condition]
    query: Json
    """Filters and order, as the API takes them."""

    problems: list[str] = field(default_factory=list)
    """What of the address cannot be understood, as text for the page; then nothing is listed."""

    @property
    def is_filtered(self) -> bool:
        """Whether the address leaves tasks out."""
        return bool(self.query.keys() - {"project", "order_by", "include_subprojects", "system_tags"}) or (
            self.query["system_tags"] != ["-archived"]
        )

    @property
    def fields(self) -> list[str]:
        """What `only_fields` must name for these columns."""
        return list(dict.fromkeys([*ALWAYS, *(name for column in self.columns for name in column.fields)]))

    @property
    def filterable(self) -> list[Column]:
        """The columns that a condition can be put on."""
        roots = (*known.ENDS, "iteration", "hyperparams", "runtime")
        return [column for column in self.columns if column.root in roots]


@dataclass(frozen=True)
class Rows:
    """One page of the tasks."""

    items: list[Json]
    number: int
    size: int
    total: int

    @property
    def has_next(self) -> bool:
        """Whether there is a page after this one."""
        return self.number * self.size < self.total


def read_table(visit: Visit, project: str) -> Table:
    """Return the table that the address asks for."""
    query = visit.query
    problems: list[str] = []
    conditions: list[Condition] = []
    for written in visit.several("where", MAX_CONDITIONS):
        try:
            conditions.append(read_condition(written))
        except ConditionError as error:
            problems.append(str(error))
    keys = visit.several("col", known.MAX_COLUMNS)
    if not keys:
        shown = _starting(visit, project)
        keys = shown if project != "*" and not query.get("sub") else [shown[0], "project", *shown[1:]]
    columns, unknown = known.read_columns(keys)
    problems += [f"There is no column {key[:200]!r}" for key in unknown]
    table = Table(
        project,
        columns,
        bool(visit.several("col")),
        query.get("order", "-updated"),
        [name for name in visit.several("status") if name in STATUSES],
        visit.several("tag"),
        visit.several("nottag"),
        query.get("tags") == "any",
        conditions,
        {},
        problems,
    )
    table.query = _filters(visit, table)
    if conditions and not problems:
        try:
            _merge(table.query, query_of(conditions, _values(visit, project, conditions)))
        except ConditionError as error:
            table.problems.append(str(error))
    return table


def order_by(key: str) -> str:
    """Return the API's sort key for one from the address; unknown ones fall back to the newest first."""
    column = known.read_column(key.removeprefix("-"))
    if column is None or not column.path:
        return NEWEST_FIRST
    return f"-{column.path}" if key.startswith("-") else column.path


def read_rows(visit: Visit, table: Table) -> Rows:
    """Return the page of tasks that the address's `page` and `size` name; an empty one if it cannot be understood.

    Raises:
        ApiError: As the API does, but for a query that it refuses: that becomes one of the table's problems.
    """
    number = visit.whole("page", 1, MAX_PAGE, least=1)
    size = visit.whole("size", SIZES[0], SIZES[-1], least=1)
    if table.problems:
        return Rows([], 1, size, 0)
    page = {"page": number - 1, "page_size": size}
    try:
        items = find_tasks(visit, table.query | page, size=size, fields=table.fields)
        total = count(visit, table.query)
    except ApiError as error:
        if error.code != 400:
            raise
        table.problems.append(error.msg)
        return Rows([], 1, size, 0)
    return Rows(items, number, size, total)


def all_rows(visit: Visit, table: Table) -> Iterator[Json]:
    """Yield all tasks of the table, in its order, at most `MAX_EXPORTED`.

    Raises:
        ApiError: As the API does; 400 for an address that cannot be understood.
    """
    if table.problems:
        raise ApiError(400, 0, "; ".join(table.problems))
    for number in range(MAX_EXPORTED // EXPORT_BATCH):
        page = {"page": number, "page_size": EXPORT_BATCH}
        items = find_tasks(visit, table.query | page, size=EXPORT_BATCH, fields=table.fields)
        yield from items
        if len(items) < EXPORT_BATCH:
            return


def within(project: str) -> Json:
    """Return the part of a query that means the tasks of a project; of all of them for `*`."""
    return {} if project == "*" else {"project": [project]}


def _starting(visit: Visit, project: str) -> list[str]:
    """Return the keys of the columns of an address that names none: those in which the newest tasks differ."""
    if project == "*":
        return list(known.PLAIN)
    newest: Json = within(project) | {"system_tags": ["-archived"], "order_by": ["-created"]}
    return known.starting(find_tasks(visit, newest, size=LOOKED_AT, fields=list(COMPARED)))


def _filters(visit: Visit, table: Table) -> Json:
    query = visit.query
    wanted: Json = within(table.project) | {"order_by": [order_by(table.order)]}
    if table.project != "*" and query.get("sub"):
        wanted["include_subprojects"] = True
    if table.statuses:
        wanted["status"] = table.statuses
    if query.get("type"):
        wanted["type"] = [query["type"]]
    if text := query.get("q", "").strip()[:200]:
        wanted["_any_"] = {"fields": ["name", "id", "comment"], "pattern": re.escape(text)}
    wanted["system_tags"] = ["archived"] if query.get("archived") else ["-archived"]
    tags: Json = {}
    if table.tags:
        tags["any" if table.any_tag else "all"] = {"include": table.tags}
    if table.not_tags:
        tags.setdefault("all", {})["exclude"] = table.not_tags
    if tags:
        wanted["filters"] = {"tags": tags}
    return wanted


def _merge(query: Json, more: Json) -> None:
    filters = query.get("filters", {}) | more.get("filters", {})
    query.update(more)
    if filters:
        query["filters"] = filters


def _values(visit: Visit, project: str, conditions: list[Condition]) -> dict[str, list[str]]:
    """Return the values of each parameter that is compared as a number: the API compares texts only for equality."""
    found = {}
    for condition in conditions:
        if condition.compares_parameter:
            section, name = condition.column.parts
            wanted: Json = {"section": section, "name": name}
            if project != "*":
                wanted |= {"projects": [project], "include_subprojects": bool(visit.query.get("sub"))}
            found[condition.column.key] = visit.call("projects.get_hyperparam_values", wanted)["values"]
    return found
