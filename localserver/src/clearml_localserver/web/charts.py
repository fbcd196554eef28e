"""Small line charts as SVG, drawn on the server: they need no script, and can be kept in a file. Pure.

The drawing is stretched to the width of the page, so it holds only lines; the words of its axes are HTML around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from clearml_localserver.web import text

WIDTH, HEIGHT = 1000, 240
STEPS = (1, 2, 2.5, 5, 10)
ROWS = 4
"""Spaces between the horizontal lines, about."""

DAY_S = 86_400


@dataclass
class Line:
    """One curve: its points in the order of `x`; None is a hole."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    href: str = ""

    path: str = ""
    band: str = ""
    dots: list[tuple[str, str]] = field(default_factory=list)
    """Places of points that have no neighbour, which a path would not show."""

    @property
    def last(self) -> float | None:
        """The last value."""
        return next((value for value in reversed(self.y) if value is not None), None)

    @property
    def greatest(self) -> float | None:
        """The greatest value."""
        return max((value for value in self.y if value is not None), default=None)


@dataclass(frozen=True)
class Chart:
    """A drawing and the words around it."""

    lines: Sequence[Line]
    levels: Sequence[str]
    """Labels of the vertical axis, the greatest first, at equal distances."""

    grid: str
    ends: Sequence[str]
    """Labels of the horizontal axis: its start, its middle and its end."""

    width: int = WIDTH
    height: int = HEIGHT


def draw(lines: Sequence[Line], axis: str = "iter", *, least: float | None = None, most: float | None = None,
         span: tuple[float, float] | None = None, unit: str = "") -> Chart | None:  # fmt: skip
    """Return the chart of some curves; None if they have no value.

    Args:
        lines: The curves; their places are filled in.
        axis: What `x` is: `iter` for numbers, `time` for seconds, `clock` for seconds since 1970.
        least: The least value that the vertical axis shows in any case.
        most: The greatest one.
        span: The ends of the horizontal axis; without it those of the curves.
        unit: Of the values: `bytes`, `seconds`, or what stands behind a number.
    """
    drawn = [series for line in lines for series in (line.y, line.low, line.high)]
    values = [value for series in drawn for value in series if value is not None]
    places = [place for line in lines for place, value in zip(line.x, line.y, strict=True) if value is not None]
    if not places:  # a curve may have bounds and no value
        return None
    lowest, highest = min([*values, *_known(least)]), max([*values, *_known(most)])
    base = _base(max(abs(lowest), abs(highest)), unit)
    bottom, step, rows = _levels(lowest / base, highest / base)
    bottom, step = bottom * base, step * base
    start, end = span or (min(places), max(places))
    width, height = (end - start) or 1, step * rows

    def at(place: float, value: float) -> tuple[str, str]:
        across = min(1.0, max(0.0, (place - start) / width)) * WIDTH
        return f"{across:.1f}", f"{HEIGHT - min(1.0, max(0.0, (value - bottom) / height)) * HEIGHT:.1f}"

    for line in lines:
        pieces = _pieces(line.x, line.y)
        line.path = "".join(
            "M" + "L".join(" ".join(at(*point)) for point in piece) for piece in pieces if len(piece) > 1
        )
        line.dots = [at(*piece[0]) for piece in pieces if len(piece) == 1]
        edges = zip(_pieces(line.x, line.low), _pieces(line.x, line.high), strict=False) if line.low else ()
        line.band = "".join(
            "M" + "L".join(" ".join(at(*point)) for point in [*lower, *reversed(upper)]) + "Z"
            for lower, upper in edges
            if len(lower) > 1
        )
    levels = [level(bottom + step * row, unit, step) for row in range(rows, -1, -1)]
    grid = "".join(f"M0 {HEIGHT * row / rows:.1f}H{WIDTH}" for row in range(rows + 1))
    told = (start, start + width / 2, end) if end > start else (start,)
    return Chart(lines, levels, grid, [_place(place, axis, width) for place in told])


def level(value: float, unit: str, step: float | None = None) -> str:
    """Return how a value reads on an axis."""
    if unit == "bytes":
        return text.size(value)
    if unit == "seconds":
        return text.duration(value)
    is_zero = step is not None and abs(value) < step * 1e-9  # what rounding left of it
    return f"{0 if is_zero else value:{'.3g' if unit else '.6g'}}{unit}"


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _base(greatest: float, unit: str) -> float:
    """Return the larger unit in which levels are round numbers: kilobytes, minutes and their like."""
    if unit == "bytes":
        return float(1024 ** min(4, max(0, math.floor(math.log(greatest or 1, 1024)))))
    if unit == "seconds":
        return next((float(size) for size in (86_400, 3_600, 60) if greatest >= 2 * size), 1.0)
    return 1.0


def _levels(least: float, greatest: float) -> tuple[float, float, int]:
    """Return the lowest level, their distance and how many distances there are, in round numbers."""
    width = greatest - least
    if not math.isfinite(width):  # as far apart as floats go
        return least / 2, greatest / 2 - least / 2, 1
    if width <= abs(greatest) * 1e-12 or width < 1e-300:
        width = abs(greatest) if abs(greatest) > 1e-300 else 1.0
        least, greatest = least - width / 2, greatest + width / 2
        width = greatest - least
    raw = width / ROWS
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * size for factor in STEPS if factor * size >= raw * 0.999), 10 * size)
    bottom = math.floor(least / step + 1e-9) * step
    rows = max(1, math.ceil((greatest - bottom) / step - 1e-9))
    return bottom, step, min(rows, 2 * ROWS)


def _pieces(x: Sequence[float], y: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Return the stretches of a curve that have no hole."""
    found: list[list[tuple[float, float]]] = [[]]
    for place, value in zip(x, y, strict=False):
        if value is not None:
            found[-1].append((place, value))
        elif found[-1]:
            found.append([])
    return [piece for piece in found if piece]


def _place(value: float, axis: str, width: float) -> str:
    if axis == "time":
        return text.duration(value)
    if axis == "iter":
        return f"{value:.6g}" if abs(value) >= 1e6 else f"{round(value, 1 if width < 10 else 0):g}"
    try:
        moment = datetime.fromtimestamp(value, tz=timezone.utc)
    except (ValueError, OverflowError, OSError):  # beyond the years 1 to 9999
        return "–"
    return moment.strftime("%H:%M UTC" if width <= DAY_S else "%Y-%m-%d %H:%M UTC")
