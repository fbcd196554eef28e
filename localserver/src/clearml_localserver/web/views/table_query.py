"""The table of a project's tasks: what its address asks for, and the rows that the API finds for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from clearml_localserver.errors import ApiError
from clearml_localserver.web import columns as known
from clearml_localserver.web.columns import Column
from clearml_localserver.web.conditions import MAX_CONDITIONS, Condition, ConditionError, query_of, read_condition
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.text import STATUSES
from clearml_localserver.web.views.lists import Slice, count, find_tasks

SIZES = (50, 100, 200)
NEWEST_FIRST = "-last_update"
ALWAYS = ("name", "status", "status_message", "tags", "system_tags", "started", "type", "runtime.version")
"""Fields that a row needs whatever its columns are."""

COMPARED = ("hyperparams", "last_metrics", "runtime", "project.name")
"""Fields from which the columns of an address that names none are chosen and filled."""

SWITCHES = {"sub": "sub projects", "archived": "archive"}
"""Filters that are on or off, in words."""

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

    items: list[Json] | None = None
    """The tasks of the page, where they were read to choose the columns."""

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


def read_table(visit: Visit, project: str) -> Table:
    """Return the table that the address asks for."""
    query = visit.query
    problems: list[str] = []
    conditions: list[Condition] = []
    for written in visit.asked.several("where", MAX_CONDITIONS):
        try:
            conditions.append(read_condition(written))
        except ConditionError as error:
            problems.append(str(error))
    keys = visit.asked.several("col", known.MAX_COLUMNS)
    columns, unknown = known.read_columns(keys or known.PLAIN)
    problems += [f"There is no column {key[:200]!r}" for key in unknown]
    order, statuses = query.get("order", "-updated"), visit.asked.several("status")
    if not _sort_path(order):
        problems.append(f"There is no column {order.removeprefix('-')[:200]!r} to sort by")
    if (type_ := query.get("type")) and type_ not in visit.call("tasks.get_types", {})["types"]:
        problems.append(f"No task has the type {type_[:200]!r}")
    problems += [f"There is no status {name[:200]!r}" for name in statuses if name not in STATUSES]
    table = Table(
        project,
        columns,
        bool(keys),
        order,
        [name for name in statuses if name in STATUSES],
        visit.asked.several("tag"),
        visit.asked.several("nottag"),
        visit.asked.choice("tags", "", ("any",), "any, or is left out") == "any",
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
    if not keys and not table.problems:
        _start(visit, table)
    return table


def _start(visit: Visit, table: Table) -> None:
    """Choose the columns of an address that names none: what differs on its page, and what it is about."""
    shown = list(known.PLAIN)
    if table.project != "*":
        table.items = _page(visit, table, [*table.fields, *COMPARED])
        shown = known.starting(table.items)
    if table.project == "*" or visit.asked.switch("sub"):
        shown.insert(1, "project")
    about = [table.order.removeprefix("-"), *(condition.column.key for condition in table.conditions)]
    special = [key for key in about if key not in known.FIXED and known.read_column(key) is not None]
    table.columns, _ = known.read_columns([*shown, *special])


def _page(visit: Visit, table: Table, fields: list[str]) -> list[Json]:
    """Return the tasks of the address's page; none if the API refuses the query, which is then a problem."""
    number, size = _number_and_size(visit)
    try:
        return find_tasks(visit, table.query | {"page": number - 1, "page_size": size}, size=size, fields=fields)
    except ApiError as error:
        if error.code != 400:
            raise
        table.problems.append(error.msg)
        return []


def _number_and_size(visit: Visit) -> tuple[int, int]:
    return visit.asked.page(), visit.asked.whole("size", SIZES[0], SIZES[-1], least=1)


def _sort_path(key: str) -> str:
    """Return the API's name of the column to sort by; an empty text where there is none."""
    column = known.read_column(key.removeprefix("-"))
    return column.path if column is not None else ""


def order_by(key: str) -> str:
    """Return the API's sort key for one from the address; unknown ones fall back to the newest first."""
    path = _sort_path(key)
    if not path:
        return NEWEST_FIRST
    return f"-{path}" if key.startswith("-") else path


def read_rows(visit: Visit, table: Table) -> Slice:
    """Return the page of tasks that the address's `page` and `size` name; an empty one if it cannot be understood.

    Raises:
        ApiError: As the API does, but for a query that it refuses: that becomes one of the table's problems.
    """
    number, size = _number_and_size(visit)
    items: list[Json] = []
    if not table.problems:
        items = _page(visit, table, table.fields) if table.items is None else table.items
    if table.problems:
        return Slice([], 1, 0, size)
    # Counting looks at every task: it is left out where the page itself tells.
    total = len(items) if number == 1 and len(items) < size else count(visit, table.query)
    return Slice(items, number, total, size)


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


def told_filters(visit: Visit, table: Table) -> list[tuple[str, Json]]:
    """Return each filter of the address in words, with the change of the address that takes it away."""
    text, type_ = visit.query.get("q"), visit.query.get("type")
    found: list[tuple[str, Json]] = [(f"“{text}”", {"q": None})] if text else []
    found += [(type_, {"type": None})] if type_ else []
    found += [(words, {name: None}) for name, words in SWITCHES.items() if visit.asked.switch(name)]
    several = {
        "status": [(name, STATUSES[name].name) for name in table.statuses],
        "tag": [(tag, f"tag {tag}") for tag in table.tags],
        "nottag": [(tag, f"not tagged {tag}") for tag in table.not_tags],
        "where": [(condition.text, condition.words) for condition in table.conditions],
    }
    for name, items in several.items():
        found += [(words, {name: [other for other, _ in items if other != value]}) for value, words in items]
    return found


def within(project: str) -> Json:
    """Return the part of a query that means the tasks of a project; of all of them for `*`."""
    return {} if project == "*" else {"project": [project]}


def _filters(visit: Visit, table: Table) -> Json:
    query = visit.query
    wanted: Json = within(table.project) | {"order_by": [order_by(table.order)]}
    if visit.asked.switch("sub") and table.project != "*":
        wanted["include_subprojects"] = True
    if table.statuses:
        wanted["status"] = table.statuses
    if query.get("type"):
        wanted["type"] = [query["type"]]
    if text := visit.asked.text("q"):
        wanted["_any_"] = {"fields": ["name", "id", "comment"], "pattern": re.escape(text)}
    wanted["system_tags"] = ["archived"] if visit.asked.switch("archived") else ["-archived"]
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
                wanted |= {"projects": [project], "include_subprojects": visit.asked.switch("sub")}
            found[condition.column.key] = visit.call("projects.get_hyperparam_values", wanted)["values"]
    return found
