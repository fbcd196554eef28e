"""Conditions on the columns of a task table, as the address writes them: `last.loss.train<=0.5`. Pure; calls no API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearml_localserver.web.api_words import NO_ID
from clearml_localserver.web.columns import ENDS, Column, read_column

Json = dict[str, Any]

OPERATORS = {"=": "=", "!=": "≠", ">=": "≥", "<=": "≤"}
WRITTEN = re.compile(r"([^<>=!]+)(>=|<=|!=|=)(.*)", re.DOTALL)
MAX_CONDITIONS = 20
MAX_VALUES = 1000
"""Most values of a parameter that one request to the API may name."""

RANGES = ("iteration", *ENDS)
"""Roots of the keys of columns that hold numbers in the API too."""


class ConditionError(ValueError):
    """A condition that cannot be read or looked for; the text is for the page."""


@dataclass(frozen=True)
class Condition:
    """What a column's value must be like."""

    column: Column
    operator: str
    value: str

    @property
    def text(self) -> str:
        """The condition as the address writes it."""
        return f"{self.column.key}{self.operator}{self.value}"

    @property
    def words(self) -> str:
        """The condition as people read it."""
        return f"{self.column.title} {OPERATORS[self.operator]} {self.value or '(empty)'}"

    @property
    def is_range(self) -> bool:
        """Whether the API has numbers in this column."""
        return self.column.root in RANGES

    @property
    def compares_parameter(self) -> bool:
        """Whether the values of a parameter are compared as numbers, which the API keeps as text."""
        return self.column.root == "hyperparams" and self.operator in (">=", "<=")

    def holds(self, value: str) -> bool:
        """Return whether a parameter's value fulfils a comparison; a value that is not a number does not."""
        found = _number(value)
        bound = _number(self.value)
        if found is None or bound is None:
            return False
        return found >= bound if self.operator == ">=" else found <= bound


def read_condition(written: str) -> Condition:
    """Return a condition of the address.

    Raises:
        ConditionError: It cannot be read, or the API cannot look for it.
    """
    match = WRITTEN.fullmatch(written)
    if match is None:
        raise ConditionError(f"“{written[:200]}” is not a condition. Write for example last.loss.train<=0.5")
    key, operator, value = match[1].strip(), match[2], match[3].strip()
    column = read_column(key)
    if column is None:
        raise ConditionError(f"“{written[:200]}” cannot be used: there is no column {key[:200]!r}")
    condition = Condition(column, operator, value)
    if column.root not in (*RANGES, "hyperparams", "runtime"):
        raise ConditionError(f"“{column.title}” cannot be filtered by a condition; use the fields above the table")
    if operator in (">=", "<=") and column.root == "runtime":
        raise ConditionError(f"“{condition.words}” cannot be searched for: a runtime property is compared by = and !=")
    if (condition.is_range or operator in (">=", "<=")) and _number(value) is None:
        raise ConditionError(f"“{condition.words}” cannot be searched for: {value[:200]!r} is not a number")
    return condition


def query_of(conditions: Iterable[Condition], values: Mapping[str, Sequence[str]]) -> Json:
    """Return the filters of `tasks.get_all_ex` for conditions that must all hold.

    Args:
        conditions: As the address has them.
        values: For each key of a parameter that is compared as a number: all values that tasks have there.

    Raises:
        ConditionError: More values fulfil a comparison than one request may name.
    """
    ranges: dict[str, list[float | None]] = {}
    wanted: dict[str, set[Any]] = {}
    unwanted: dict[str, set[Any]] = {}
    for condition in conditions:
        path = condition.column.path
        if condition.is_range and condition.operator != "!=":
            bound = _number(condition.value)
            low, high = ranges.setdefault(path, [None, None])
            if condition.operator in (">=", "="):
                ranges[path][0] = bound if low is None or bound is None else max(low, bound)
            if condition.operator in ("<=", "="):
                ranges[path][1] = bound if high is None or bound is None else min(high, bound)
            continue
        if condition.operator == "!=":
            unwanted.setdefault(path, set()).update(_spellings(condition))
            continue
        if condition.compares_parameter:
            found = {value for value in values.get(condition.column.key, ()) if condition.holds(value)}
            if len(found) > MAX_VALUES:
                raise ConditionError(f"“{condition.words}” is fulfilled by more than {MAX_VALUES:,} values; narrow it")
        else:
            found = set(_spellings(condition))
        wanted[path] = wanted[path] & found if path in wanted else found
    filters: dict[str, Json] = {}
    for path, found in wanted.items():
        if not found:
            return {"id": [NO_ID]}
        filters.setdefault(path, {})["any"] = {"include": sorted(found, key=str)}
    for path, found in unwanted.items():
        filters.setdefault(path, {})["all"] = {"exclude": sorted(found, key=str)}
    return ranges | ({"filters": filters} if filters else {})


def _spellings(condition: Condition) -> list[Any]:
    """Return the values that a text may stand for: runtime properties are numbers or texts, metrics are numbers."""
    number = _number(condition.value) if condition.is_range or condition.column.root == "runtime" else None
    if condition.is_range:
        return [number]
    return [condition.value] if number is None else [condition.value, number]


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
