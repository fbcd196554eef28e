"""The columns of task tables: how the address names them, where the API finds their values. Pure; calls no API.

An address names a column by its key. Fixed columns have plain keys (`name`, `created`). The others are paths whose
parts are escaped, because a metric may be called anything: `last.loss.train`, `min.…`, `max.…`,
`hyperparams.Args.lr`, `runtime.version`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from clearml_localserver.rules.events import name_hash
from clearml_localserver.web import shapes, text

Json = dict[str, Any]

ENDS = {"last": "value", "min": "min_value", "max": "max_value"}
"""First part of a metric column's key → where the API keeps that value of a metric."""

MAX_COLUMNS = 40
SHOWN_PARAMETERS, SHOWN_METRICS = 4, 3
"""How many columns of what differs a new table starts with."""

LONGEST_DIFFERENCE = 60
"""Longer values fit no column: they do not make a parameter one that a table starts with."""

SHORT_TITLE = {"last": "", "min": "min ", "max": "max "}
HIDDEN_SECTIONS = frozenset({"properties", "pipeline"})
"""Sections of parameters that the SDK writes for itself: they differ between tasks without telling anything."""


@dataclass(frozen=True)
class Column:
    """One column of a task table."""

    key: str
    title: str
    path: str
    """The API's name of the field to sort by; empty where the API cannot sort by it."""

    fields: tuple[str, ...]
    """What `only_fields` must name so that `value` finds something."""

    value: Callable[[Json, datetime], Any]
    """Reads the cell of a task at a moment: text, a number, a list of texts or None."""

    group: str = "Task"
    """Heading of the column in the list of columns to choose from."""

    numeric: bool = False

    @property
    def root(self) -> str:
        """The first part of the key."""
        return self.key.partition(".")[0]

    @property
    def parts(self) -> list[str]:
        """The names behind the first part of the key, e.g. a parameter's section and name."""
        return [unquote(part) for part in self.key.split(".")[1:]]


def _field(name: str) -> Callable[[Json, datetime], Any]:
    return lambda task, now: task.get(name) or None


def _fixed(key: str, title: str, path: str = "", value: Callable[[Json, datetime], Any] | None = None, *,
           fields: tuple[str, ...] | None = None, numeric: bool = False) -> Column:  # fmt: skip
    shown = fields if fields is not None else ((path or key),)
    return Column(key, title, path, shown, value or _field(path or key), numeric=numeric)


FIXED = {
    column.key: column
    for column in (
        _fixed("name", "Name", "name"),
        _fixed("status", "Status", "status", lambda task, now: text.status(task["status"]).name),
        _fixed("type", "Type", "type"),
        _fixed("project", "Project", "", lambda task, now: task["project"]["name"], fields=("project.name",)),
        _fixed("tags", "Tags", "", lambda task, now: list(task["tags"]), fields=("tags", "system_tags")),
        _fixed("time", "Run time", "", lambda task, now: text.run_time(task, now),
               fields=("started", "completed", "status_changed"), numeric=True),
        _fixed("iteration", "Iteration", "last_iteration", numeric=True),
        _fixed("created", "Created", "created", numeric=True),
        _fixed("started", "Started", "started", numeric=True),
        _fixed("completed", "Ended", "completed", numeric=True),
        _fixed("updated", "Updated", "last_update", numeric=True),
        _fixed("user", "User", "", lambda task, now: task["user"]["name"], fields=("user.name",)),
        _fixed("worker", "Worker", "last_worker"),
        _fixed("parent", "Parent", "", lambda task, now: task["parent"]["name"], fields=("parent.name",)),
        _fixed("comment", "Comment", "comment"),
        _fixed("branch", "Branch", "script.branch", lambda task, now: task["script"]["branch"]),
        _fixed("commit", "Commit", "script.version_num", lambda task, now: task["script"]["version_num"]),
        _fixed("id", "Id", "id"),
    )
}  # fmt: skip

PLAIN = ("status", "type", "tags", "time", "iteration", "created", "updated")
"""The columns of a table whose tasks differ in nothing that a column could show; the name comes before them."""


def metric_key(end: str, metric: str, variant: str) -> str:
    """Return the key of the column with the last, least or greatest value of a metric."""
    return f"{end}.{_escaped(metric)}.{_escaped(variant)}"


def parameter_key(section: str, name: str) -> str:
    """Return the key of a hyperparameter's column."""
    return f"hyperparams.{_escaped(section)}.{_escaped(name)}"


def runtime_key(name: str) -> str:
    """Return the key of a runtime property's column."""
    return f"runtime.{_escaped(name)}"


def read_column(key: str) -> Column | None:
    """Return the column that a key names; None where it names none."""
    if key in FIXED:
        return FIXED[key]
    root, *rest = key.split(".")
    parts = [unquote(part) for part in rest]
    if not all(parts):
        return None
    if root in ENDS and len(parts) == 2:
        return _metric(key, root, *parts)
    if root == "hyperparams" and len(parts) == 2:
        return _parameter(key, *parts)
    if root == "runtime" and len(parts) == 1:
        path = f"runtime.{_escaped(parts[0])}"
        return Column(key, parts[0], path, (path,), lambda task, now: task["runtime"].get(parts[0]), "Runtime")
    return None


def _metric(key: str, end: str, metric: str, variant: str) -> Column:
    way = (name_hash(metric), name_hash(variant))
    where = f"last_metrics.{way[0]}.{way[1]}"

    def value(task: Json, now: datetime) -> Any:
        return shapes.number(task["last_metrics"].get(way[0], {}).get(way[1], {}).get(ENDS[end]))

    name = variant if metric in (variant, "Summary") else f"{metric} {variant}"
    title = f"{SHORT_TITLE[end]}{name}"
    return Column(key, title, f"{where}.{ENDS[end]}", (where,), value, "Metrics", numeric=True)


def _parameter(key: str, section: str, name: str) -> Column:
    where = f"hyperparams.{_escaped(section)}.{_escaped(name)}"

    def value(task: Json, now: datetime) -> Any:
        item = task["hyperparams"].get(section, {}).get(name)
        return None if item is None else item["value"]

    title = name if section == "Args" else f"{section}/{name}"
    return Column(key, title, f"{where}.value", (where,), value, "Parameters")


def _escaped(part: str) -> str:
    # `quote` leaves dots, which would end the part; the API reads `%2E` as a dot inside a name.
    return quote(part, safe=":/@,;+*()[]", errors="replace").replace(".", "%2E")


def differing(tasks: Sequence[Json]) -> list[str]:
    """Return the keys of the columns in which tasks differ, few enough to fit beside each other.

    Those in which most tasks differ are chosen: one odd task displaces none of them. A parameter that some tasks lack
    differs too. Of machine monitoring nothing is proposed.
    """
    parameters: dict[str, Counter[str | None]] = {}
    metrics: dict[str, Counter[float | None]] = {}
    for task in tasks:
        for section, items in task["hyperparams"].items():
            if section not in HIDDEN_SECTIONS:
                for name in items:
                    parameters.setdefault(parameter_key(section, name), Counter())
        for variants in task["last_metrics"].values():
            for item in variants.values():
                if item["metric"] and not item["metric"].startswith(":monitor"):
                    metrics.setdefault(metric_key("last", item["metric"], item["variant"]), Counter())
    moment = datetime.min
    for values in (parameters, metrics):
        for key, found in values.items():
            column = read_column(key)
            if column is not None:  # an empty name
                found.update(column.value(task, moment) for task in tasks)
    short = {
        key: found
        for key, found in parameters.items()
        if all(len(value or "") <= LONGEST_DIFFERENCE for value in found)
    }
    return _most_telling(short, SHOWN_PARAMETERS) + _most_telling(metrics, SHOWN_METRICS)


def _most_telling(values: Mapping[str, Counter[Any]], most: int) -> list[str]:
    """Return the keys of columns in which the most tasks differ from the usual value, in the order of a table."""

    def place(key: str) -> tuple[bool, str]:
        return (not key.startswith("hyperparams.Args."), key)

    apart = {key: found.total() - max(found.values()) for key, found in values.items() if len(found) > 1}
    return sorted(sorted(apart, key=lambda key: (-apart[key], place(key)))[:most], key=place)


def starting(tasks: Sequence[Json]) -> list[str]:
    """Return the keys of the columns, after the name, with which a table of these tasks starts."""
    special = differing(tasks)
    return ["status", "tags", *special, "time", "updated"] if special else list(PLAIN)


def read_columns(keys: Iterable[str]) -> tuple[list[Column], list[str]]:
    """Return the columns that keys name, each once and the name first, and the keys that name none."""
    columns, unknown = {"name": FIXED["name"]}, []
    for key in keys:
        column = read_column(key)
        if column is None:
            unknown.append(key)
        elif len(columns) <= MAX_COLUMNS:  # the name is one more
            columns.setdefault(key, column)
    return list(columns.values()), unknown
