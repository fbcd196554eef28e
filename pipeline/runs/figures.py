"""Plots as numbers: from the plotly figures that tasks have reported to what a report without plotly can draw. Pure.

A figure of an unknown kind is skipped: a report must come out whatever other tools have reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CLASS_PLOT = "Class distribution"
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError)


@dataclass(frozen=True)
class Bars:
    """One class distribution: label → class → count."""

    title: str
    groups: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True)
class Matrix:
    """A cell by row and column, as a confusion matrix has them: its number, and its text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[float, str], ...]], ...]
    across: str = ""
    down: str = ""

    @property
    def peak(self) -> float:
        """The largest number."""
        return max((value for _, cells in self.rows for value, _ in cells), default=1.0) or 1.0


@dataclass(frozen=True)
class Curves:
    """Lines in the unit square, as a ROC curve is one: name and points."""

    title: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]


@dataclass(frozen=True)
class Grid:
    """A table: the header and rows of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def read_distributions(plots: Iterable[Mapping[str, Any]]) -> Iterator[Bars]:
    """Yield the class distributions among a task's plots."""
    for title, variant, figure in _figures(plots):
        if title != CLASS_PLOT:
            continue
        try:
            classes = [(str(trace.get("name")), _numbers(trace["y"])) for trace in figure["data"]]
            labels = [str(label) for label in figure["data"][0]["x"]]
        except UNREADABLE:
            continue
        groups = tuple(
            (label, tuple((name, values[place]) for name, values in classes if place < len(values)))
            for place, label in enumerate(labels)
        )
        yield Bars(variant, groups)


def read_figures(plots: Iterable[Mapping[str, Any]]) -> Iterator[Matrix | Curves | Grid]:
    """Yield the matrices, curves and tables among a task's plots, in this order."""
    found: list[Matrix | Curves | Grid] = []
    for title, _, figure in _figures(plots):
        try:
            kind = figure["data"][0].get("type")
            if kind == "heatmap":
                found.append(_matrix(title, figure))
            elif kind in ("scatter", "scattergl", None):
                found.append(_curves(title, figure))
            elif kind == "table":
                found.append(_grid(title, figure["data"][0]))
        except UNREADABLE:
            continue
    for kind in (Matrix, Curves, Grid):
        yield from (figure for figure in found if isinstance(figure, kind))


def _figures(plots: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for plot in plots:
        try:
            figure = json.loads(plot.get("plot_str") or "{}")
        except ValueError:
            continue
        if isinstance(figure, dict):
            yield str(plot.get("metric") or ""), str(plot.get("variant") or ""), figure


def _matrix(title: str, figure: Mapping[str, Any]) -> Matrix:
    trace = figure["data"][0]
    values = _rows(trace["z"])
    columns = trace.get("x") or range(len(values[0]))
    names = trace.get("y") or range(len(values))
    texts = trace.get("text") or [[f"{value:,.6g}" for value in row] for row in values]
    layout = figure.get("layout") or {}
    return Matrix(
        title,
        tuple(str(name) for name in columns),
        tuple(
            (str(name), tuple((value, _text(text)) for value, text in zip(numbers, words, strict=True)))
            for name, numbers, words in zip(names, values, texts, strict=True)
        ),
        _axis(layout, "xaxis"),
        _axis(layout, "yaxis"),
    )


def _axis(layout: Mapping[str, Any], name: str) -> str:
    title = (layout.get(name) or {}).get("title") or ""
    return str(title.get("text") or "") if isinstance(title, dict) else str(title)


def _curves(title: str, figure: Mapping[str, Any]) -> Curves:
    lines = []
    for trace in figure["data"]:
        points = tuple(zip(_numbers(trace["x"]), _numbers(trace["y"]), strict=True))
        if not all(0 <= value <= 1 for point in points for value in point):
            raise ValueError("outside the unit square")
        lines.append((str(trace.get("name") or ""), points))
    return Curves(title, tuple(lines))


def _grid(title: str, trace: Mapping[str, Any]) -> Grid:
    header = tuple(_text(cell) for cell in trace["header"]["values"])
    columns = [[_text(cell) for cell in column] for column in trace["cells"]["values"]]
    return Grid(title, header, tuple(zip(*columns, strict=True)))


def _text(cell: Any) -> str:
    text = " ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
    return text.replace("<b>", "").replace("</b>", "").replace("<br>", "\n")


def _rows(values: Any) -> list[list[float]]:
    if isinstance(values, dict):  # plotly's binary form of a matrix
        rows, columns = (int(part) for part in str(values["shape"]).split(","))
        flat = _numbers(values)
        return [flat[place * columns : (place + 1) * columns] for place in range(rows)]
    return [_numbers(row) for row in values]


def _numbers(values: Any) -> list[float]:
    """Return a trace's numbers: a list, or plotly's `{"dtype", "bdata"}`."""
    if isinstance(values, dict):
        import base64

        import numpy as np

        return [float(value) for value in np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])]
    return [float(value) for value in values]
