"""What a benchmark found: tables of samples, the targets beside them, and the machine; as values and as JSON.

A benchmark declares its tables and targets, and yields rows of samples. Medians, spread, ratios to the baseline and
whether a target is met follow from these, and so are never written down twice. Pure: it measures and prints nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Cell = tuple[float, ...] | str
"""The samples of one figure, or words where there is no figure."""


@dataclass(frozen=True)
class Column:
    """A figure that every row of a table may have."""

    key: str
    title: str
    unit: str
    better: Literal["lower", "higher"] = "lower"
    ratio_of: str = ""
    """Computed, not measured: how many times better than the baseline this row is in that column."""


@dataclass(frozen=True)
class Table:
    """Rows that belong side by side."""

    key: str
    title: str
    columns: tuple[Column, ...]
    baseline: str = ""
    """Name of the row that the others are compared with, within each group."""
    chart: str = ""
    """The column to draw."""
    log: bool = False
    """Draw it to a logarithmic scale."""
    note: str = ""

    def column(self, key: str) -> Column:
        """Return the column of that key."""
        return next(column for column in self.columns if column.key == key)


@dataclass(frozen=True)
class Target:
    """What a figure is to reach: at most, or at least, as its column says which is better."""

    table: str
    column: str
    limit: float
    row: str = ""
    """Only of this row; of all but the baseline where it is empty."""
    group: str = ""
    """Only of this group; of all where it is empty."""


@dataclass(frozen=True)
class Row:
    """What was measured of one thing."""

    table: str
    name: str
    cells: Mapping[str, Cell]
    group: str = ""
    noted: bool = False
    """Taken from an earlier note, since it cannot be measured here."""


@dataclass(frozen=True)
class Figure:
    """One cell, worked out."""

    row: Row
    column: Column
    values: tuple[float, ...] = ()
    text: str = ""
    target: Target | None = None

    @property
    def limit(self) -> float | None:
        """What it is to reach, if anything."""
        return self.target.limit if self.target else None

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether there is no target, or it is reached."""
        if self.limit is None:
            return True
        return self.median <= self.limit if self.column.better == "lower" else self.median >= self.limit

    @property
    def name(self) -> str:
        """What it is called where its table is not seen."""
        return ", ".join(word for word in (self.row.group, self.row.name, self.column.title) if word)


@dataclass(frozen=True)
class Result:
    """All that one run of a benchmark found, and where."""

    name: str
    title: str
    tables: tuple[Table, ...]
    targets: tuple[Target, ...]
    rows: tuple[Row, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Command, date, commit, machine and versions."""
    whole: bool = True
    """Not interrupted, and at the sizes that the targets are for."""

    def rows_of(self, table: Table) -> list[Row]:
        """Return a table's rows."""
        return [row for row in self.rows if row.table == table.key]

    def figure(self, table: Table, row: Row, column: Column) -> Figure:
        """Work out one cell."""
        cell = self._ratio(table, row, column) if column.ratio_of else row.cells.get(column.key, "")
        if isinstance(cell, str):
            return Figure(row, column, text=cell)
        aims = (target for target in self.targets if self._aims_at(target, table, row, column))
        return Figure(row, column, tuple(cell), target=next(aims, None) if self.whole else None)

    def aimed(self) -> list[Figure]:
        """Return the figures that have a target."""
        return [
            figure
            for table in self.tables
            for row in self.rows_of(table)
            for column in table.columns
            if (figure := self.figure(table, row, column)).target
        ]

    def worst(self) -> list[tuple[Figure, int]]:
        """Return for each target the figure that is farthest from it, and how many figures it is for."""
        found = []
        for target in self.targets:
            figures = sorted((it for it in self.aimed() if it.target == target), key=lambda it: it.median)
            if figures:
                found.append((figures[-1 if figures[0].column.better == "lower" else 0], len(figures)))
        return found

    def _ratio(self, table: Table, row: Row, column: Column) -> Cell:
        measured = table.column(column.ratio_of)
        base = next((it for it in self.rows_of(table) if it.name == table.baseline and it.group == row.group), None)
        ours, theirs = row.cells.get(measured.key, ""), base.cells.get(measured.key, "") if base else ""
        if isinstance(ours, str) or isinstance(theirs, str):
            return ""
        good, bad = (ours, theirs) if measured.better == "higher" else (theirs, ours)
        below = statistics.median(bad)
        return (statistics.median(good) / below,) if below else ""

    @staticmethod
    def _aims_at(target: Target, table: Table, row: Row, column: Column) -> bool:
        if (target.table, target.column) != (table.key, column.key) or row.noted:
            return False
        right_row = target.row == row.name if target.row else row.name != table.baseline
        return right_row and target.group in ("", row.group)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types; medians, spread and verdicts are added for readers, and not read again."""
        found = {table.key: table for table in self.tables}
        return {
            "benchmark": self.name,
            "title": self.title,
            "whole": self.whole,
            **self.facts,
            "targets": [
                {
                    "what": figure.name,
                    "better": figure.column.better,
                    "limit": figure.limit,
                    "unit": figure.column.unit,
                    "measured": _round(figure.median),
                    "met": figure.met,
                }
                for figure in self.aimed()
            ],
            "rows": [self._row_as_json(found[row.table], row) for row in self.rows],
            "declared": {"tables": [asdict(it) for it in self.tables], "targets": [asdict(it) for it in self.targets]},
        }

    def _row_as_json(self, table: Table, row: Row) -> dict[str, Any]:
        cells = {column.key: self.figure(table, row, column) for column in table.columns}
        return {
            "table": row.table,
            "group": row.group,
            "name": row.name,
            "noted": row.noted,
            "cells": {key: _cell_as_json(cell) for key, cell in cells.items() if cell.values or cell.text},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Result:
        """Return what `as_json` wrote."""
        declared = document["declared"]
        tables = tuple(
            Table(**{**table, "columns": tuple(Column(**column) for column in table["columns"])})
            for table in declared["tables"]
        )
        computed = {(table.key, column.key) for table in tables for column in table.columns if column.ratio_of}
        facts = {key: value for key, value in document.items() if key in FACTS}
        return cls(
            name=document["benchmark"],
            title=document["title"],
            tables=tables,
            targets=tuple(Target(**target) for target in declared["targets"]),
            rows=tuple(_row(row, computed) for row in document["rows"]),
            facts=facts,
            whole=document["whole"],
        )


FACTS = ("command", "date", "seconds", "commit", "machine", "options")
"""What is known of a run beside its figures."""


def _row(row: Mapping[str, Any], computed: set[tuple[str, str]]) -> Row:
    cells: dict[str, Cell] = {
        key: cell["text"] if "text" in cell else tuple(cell["values"])
        for key, cell in row["cells"].items()
        if (row["table"], key) not in computed
    }
    return Row(row["table"], row["name"], cells, row["group"], row["noted"])


def _cell_as_json(cell: Figure) -> dict[str, Any]:
    if cell.text:
        return {"text": cell.text}
    values = [_round(value) for value in cell.values]
    return {"median": _round(cell.median), "lowest": min(values), "highest": max(values), "values": values}


def _round(value: float) -> float:
    """Return a float with no more digits than a measurement can mean."""
    return float(f"{value:.6g}")
