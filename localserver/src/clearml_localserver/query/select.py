"""One SELECT over documents, and the index by which it finds those that match.

SQLite has no statistics here (see `migrations/0010`), and takes an index that leads to 100,000 documents for one that
leads to ten. For queries that look at very many tasks the index is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from clearml_localserver.query.clauses import ACTIVE, ARCHIVED, LITERAL, TRUE, Clause, all_of, beginning

Data = Mapping[str, Any]

READS_DOCUMENT = re.compile(r"(?<![.\w])doc\b")
"""In a condition on tasks: more than their columns is read. Other tables of a statement are named (`project.doc`)."""

NAMES = re.compile(r"[a-z_]+")
TALLIED = frozenset({
    "field_project", "field_company", "field_archived", "field_status", "field_type", "json_each", "value", "coalesce",
})  # fmt: skip
"""Names in a condition on tasks that `task_tally` answers (`migrations/0042`): of its columns, and of what lists do."""

NO_FILTERS = frozenset({
    "order_by", "only_fields", "page", "page_size", "size", "scroll_id", "refresh_scroll", "search_hidden",
})  # fmt: skip
PINPOINTING = frozenset({"id", "parent", "_all_"})
"""Keys of a query for tasks that lead to few of them, by an index."""

PASSING = frozenset({"queued", "in_progress", "publishing"})
"""Statuses that no task keeps, so that few tasks have them."""

NOT_ARCHIVED, NEWEST_FIRST = ["-archived"], ["-last_update"]
MOST_IN_ORDER = 1_000
"""Matches that are looked for in their order; of later ones too many would be read only to be passed over."""

MOST_LOOKED_UP = 1_000
"""Known rows that are looked up one by one."""


@dataclass(frozen=True)
class Select:
    """A query, ready to be run: what to find, in which order, which part of it."""

    table: str
    where: Clause
    order: Clause
    limit: int | None = None
    offset: int = 0
    index: str = ""
    """The index that has all that the query asks for of very many documents; none where few are looked at."""
    in_order: bool = False
    """Whether that index, or another one, has the matches in their order, so that the first ones are soon found."""
    in_halves: bool = False
    """Whether `task_latest` has the archived matches in their order, and the others in theirs: both are merged."""

    def narrowed(self, where: Clause) -> Select:
        """Return this query with one more condition."""
        return replace(self, where=all_of([where, self.where]))

    def among(self, rows: list[int]) -> Select:
        """Return this query for these rows of its table alone."""
        found = orjson.dumps(rows).decode()
        if len(rows) <= MOST_LOOKED_UP:
            where = Clause("rowid IN (SELECT value FROM json_each(?))", (found,))
            return replace(self.narrowed(where), index="", in_order=False, in_halves=False)
        # The sign keeps SQLite from looking up each row: it goes through an index, and most of the first rows match.
        return self.narrowed(Clause("+rowid IN (SELECT value FROM json_each(?))", (found,)))

    def statement(self) -> Clause:
        """Return the statement that reads the documents."""
        limit = -1 if self.limit is None else self.limit
        rest = f"WHERE {self.where.sql} ORDER BY {self.order.sql} LIMIT ? OFFSET ?"
        args = (*self.where.args, *self.order.args, limit, self.offset)
        hint = self._hint(self.order)
        if self.in_order or not hint:
            return Clause(f"SELECT doc FROM {self.table}{hint} {rest}", args)
        # First which documents, then these: those that are only compared are not read.
        found = f"SELECT rowid AS row FROM {self.table}{hint} {rest}"
        if self.in_halves:
            half = f"SELECT rowid AS row, field_last_update AS moment FROM {self.table} INDEXED BY task_latest"
            first = f"{half} WHERE {ACTIVE.sql} AND {self.where.sql} ORDER BY {self.order.sql} LIMIT ?"
            second = f"{half} WHERE {ARCHIVED.sql} AND {self.where.sql} ORDER BY {self.order.sql} LIMIT ?"
            both = f"SELECT * FROM ({first}) UNION ALL SELECT * FROM ({second})"
            found = f"SELECT row FROM ({both}) ORDER BY moment DESC NULLS LAST, row DESC LIMIT ? OFFSET ?"
            of_half = (*self.where.args, *self.order.args, limit + self.offset)
            args = (*of_half, *of_half, limit, self.offset)
        sql = f"SELECT doc FROM ({found}) AS found CROSS JOIN {self.table} ON {self.table}.rowid = found.row"
        return Clause(sql, args)

    def count(self) -> Clause:
        """Return the statement that counts all matches."""
        if self.table == "task" and set(NAMES.findall(self.where.sql)) <= TALLIED:
            return Clause(f"SELECT coalesce(sum(count), 0) FROM task_tally WHERE {self.where.sql}", self.where.args)
        sql = f"SELECT count(*) FROM {self.table}{self._hint(TRUE)} WHERE {self.where.sql}"
        return Clause(sql, self.where.args)

    def _hint(self, order: Clause) -> str:
        """Return what keeps SQLite to the index; without statistics it would read all documents."""
        return (
            f" INDEXED BY {self.index}" if self.index and not READS_DOCUMENT.search(self.where.sql + order.sql) else ""
        )


def index_for(data: Data, *, last: int | None) -> tuple[str, bool]:
    """Return the index for a query of tasks and whether it has them in order.

    Args:
        data: The query.
        last: Number of the last match that is asked for; None for all.
    """
    name = LITERAL.fullmatch(data["name"]) if isinstance(data.get("name"), str) else None
    if PINPOINTING & data.keys() or (name and (name[2] or "project" not in data)):
        return "", False
    filters = {key for key in data.keys() - NO_FILTERS if data[key] not in ([], "")}
    first = last is not None and last <= MOST_IN_ORDER
    if first and filters <= {"project", "system_tags"} and data.get("system_tags", NOT_ARCHIVED) == NOT_ARCHIVED:
        if "project" not in filters:
            return "", True
        if filters == {"project", "system_tags"} and data.get("order_by") == NEWEST_FIRST and _is_one(data["project"]):
            return "task_latest", True
    if _wants_datasets(data.get("system_tags")):
        return "task_dataset", False
    if filters == {"name", "project"} and beginning(data["name"]):
        return "task_name", False
    if "project" not in filters:
        if "status" in filters and _texts(data["status"]) <= PASSING:
            return "", False
        if "type" in filters:
            return "task_type", False
    return "task_fields", False


def is_in_halves(data: Data, *, last: int | None) -> bool:
    """Return whether a query is for the latest tasks of a project, archived or not."""
    filters = {key for key in data.keys() - NO_FILTERS if data[key] not in ([], "")}
    first = last is not None and last <= MOST_IN_ORDER
    return first and filters == {"project"} and data.get("order_by") == NEWEST_FIRST and _is_one(data["project"])


def _wants_datasets(tags: Any) -> bool:
    """Return whether a list filter on system tags matches datasets only, as clients write it."""
    return tags in (["dataset"], "dataset") or (isinstance(tags, list) and tags[:2] == ["__$all", "dataset"])


def _texts(value: Any) -> set[str]:
    return {item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)}


def _is_one(value: Any) -> bool:
    """Return whether a list filter asks for one value, and not for all but it."""
    return len(found := _texts(value)) == 1 and value == [*found] and not next(iter(found)).startswith(("-", "__$"))
