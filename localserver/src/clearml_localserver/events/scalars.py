"""Scalar series as curves: thinned, raw in pages, or just their last values.

Down-sampling happens in SQL; a point without an iteration and a single value belong to no curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from clearml_localserver.changes import EVERYTHING
from clearml_localserver.events.pages import last_iteration_of_page
from clearml_localserver.events.store import IDS, POINTS, Series, ids_of
from clearml_localserver.events.thin_curves import ThinCurve, ThinCurves, steady_width
from clearml_localserver.rules.events import SINGLE, axis_label, bucket_width
from clearml_localserver.store import Tx

Axis = Literal["iter", "timestamp"]

CROWDED = 5
"""A curve of so many points per sample is looked up bucket by bucket."""

LAST_POINTS = 10
"""How many points `last_10_value` averages."""

# Buckets of one series, of which ?2 is the first and ?3 the last x. The key leads by (series, iter): where buckets of
# iterations hold many points, they are looked up one by one, in order; those of timestamps need one pass.
_IN_BUCKET = f"FROM event_scalar WHERE series = ?1 AND iter >= max(low, {SINGLE + 1}) AND iter < low + ?4"
_BUCKETS = {
    "many per iter": f"""
        WITH RECURSIVE bucket (low) AS (SELECT ?2 UNION ALL SELECT low + ?4 FROM bucket WHERE low + ?4 <= ?3)
        SELECT low, (SELECT json_array(avg(value), min(value), max(value)) {_IN_BUCKET}) AS three
        FROM bucket WHERE EXISTS (SELECT 1 {_IN_BUCKET})""",
    "iter": f"""
        SELECT ?2 + (iter - ?2) / ?4 * ?4 AS low, avg(value), min(value), max(value) FROM event_scalar
        WHERE series = ?1 AND iter > {SINGLE} AND iter <= ?3 GROUP BY low ORDER BY low""",
    "timestamp": f"""
        SELECT ?2 + (timestamp - ?2) / ?4 * ?4 AS low, avg(value), min(value), max(value) FROM event_scalar
        WHERE series = ?1 AND iter > {SINGLE} AND timestamp <= ?3 GROUP BY low ORDER BY low""",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one scalar series."""

    series: Series
    x: list[int]
    y: list[float | None]
    x_axis_label: str | None = None
    low: list[float | None] | None = None
    """Of a thinned curve, the lowest value behind each point: a mean hides peaks."""

    high: list[float | None] | None = None


def read_curve(tx: Tx, series: Series, axis: Axis, samples: int, *, steady: bool = False) -> Curve:
    """Return a series' points if they are fewer than `samples`, else averages of that many buckets of equal width.

    A bucket starts at a multiple of its width; its x is its start. Empty buckets are left out.

    Args:
        tx: The transaction.
        series: The series.
        axis: What x is.
        samples: How many points are wanted.
        steady: Whether up to an eighth fewer will do: of a long curve that grows, only the end is then read again.
    """
    curves = tx.reading.kept(ThinCurves) if tx.reading else None
    key = (series.id, axis, samples, steady)
    known = curves.get(key) if curves else None
    # Points are never deleted one by one: a crowded curve stays one.
    points = CROWDED * samples if known else _count_up_to(tx, series, CROWDED * samples)
    if points < samples:
        rows = tx.rows(
            f"SELECT {axis}, value FROM event_scalar WHERE series = ? AND iter > {SINGLE} ORDER BY {axis}", (series.id,)
        )
        return Curve(series, [row[0] for row in rows], [row[1] for row in rows], _label(tx, series))
    if points < CROWDED * samples:
        thin = _thinned(tx, series, axis, samples, axis)
    else:
        thin = _brought_up_to_date(tx, series, axis, samples, known, steady=steady)
        if curves and thin is not known:
            curves.keep(key, thin)
    y, low, high = thin.values()
    return Curve(series, thin.x.tolist(), y, _label(tx, series), low, high)


def _brought_up_to_date(
    tx: Tx, series: Series, axis: Axis, samples: int, known: ThinCurve | None, *, steady: bool
) -> ThinCurve:
    """Return a curve of many points, read from where it has changed since it was known."""
    outside, changed = tx.outside_changes(), EVERYTHING
    if tx.reading is not None:  # asked in any case: from the first time on, changes are noted
        lowest = tx.reading.changes.lowest(POINTS, series.id, known.commit if known else tx.reading.commit)
        if known is not None and known.outside == outside:
            if lowest is None:
                return known
            changed = lowest if axis == "iter" else EVERYTHING
    how = "many per iter" if axis == "iter" else axis
    thin = _thinned(tx, series, axis, samples, how, known, changed, steady=steady)
    thin.commit, thin.outside = tx.reading.commit if tx.reading else 0, outside
    return thin


def _thinned(
    tx: Tx, series: Series, axis: Axis, samples: int, how: str, known: ThinCurve | None = None,
    changed: int = EVERYTHING, *, steady: bool = False,
) -> ThinCurve:  # fmt: skip
    """Return a thinned curve, of which the part before `changed` is as it is known."""
    first, last = _extent(tx, series, axis)
    width = bucket_width(first, last, samples)
    width = steady_width(width) if steady else width
    thin, start = ThinCurve(width), first // width * width
    if known is not None and known.width == width:
        start = max(start, min(changed // width * width, known.x[-1]))  # the last bucket may have got more points
        thin = known.up_to(start)
    rows = tx.each(_BUCKETS[how], (series.id, start, last, width))
    thin.extend((row[0], *orjson.loads(row[1])) if len(row) == 2 else row for row in rows)
    return thin


def _label(tx: Tx, series: Series) -> str | None:
    """Return how the sender of the last point calls the x axis."""
    rows = tx.rows("SELECT extra FROM event_scalar WHERE series = ? ORDER BY iter DESC LIMIT 1", (series.id,))
    extra = rows[0][0] if rows else None
    return axis_label(orjson.loads(extra) if extra else series.common)


def _count_up_to(tx: Tx, series: Series, most: int) -> int:
    rows = tx.rows(
        f"SELECT count(*) FROM (SELECT 1 FROM event_scalar WHERE series = ? AND iter > {SINGLE} LIMIT ?)",
        (series.id, most),
    )
    return int(rows[0][0])


def _extent(tx: Tx, series: Series, axis: Axis) -> tuple[int, int]:
    of_points = f"FROM event_scalar WHERE series = ?1 AND iter > {SINGLE}"
    first, last = tx.rows(f"SELECT (SELECT min({axis}) {of_points}), (SELECT max({axis}) {of_points})", (series.id,))[0]
    return first, last


def page_of_points(
    tx: Tx, series: Sequence[Series], axis: Axis, batch: int, after: int | None
) -> tuple[list[Curve], int | None]:
    """Return the next raw points of several series in order of x, and the last x: a page completes its last x.

    Single values are among them, at the iteration that marks them.
    """
    low = after + 1 if after is not None else SINGLE if axis == "iter" else -(2**62)
    last = _last_x(tx, series, axis, batch, low)
    if last is None:
        return [], after
    curves = []
    for item in series:
        rows = tx.rows(
            f"SELECT {axis}, value FROM event_scalar"
            f" WHERE series = ? AND iter >= {SINGLE} AND {axis} BETWEEN ? AND ? ORDER BY {axis}",
            (item.id, low, last),
        )
        if rows:
            curves.append(Curve(item, [row[0] for row in rows], [row[1] for row in rows]))
    return curves, last


def _last_x(tx: Tx, series: Sequence[Series], axis: Axis, batch: int, low: int) -> int | None:
    if axis == "iter":
        return last_iteration_of_page(tx, "event_scalar", series, batch, low - 1, descending=False)
    rows = tx.rows(
        f"""SELECT max(timestamp) FROM (
            SELECT timestamp FROM event_scalar WHERE series IN {IDS}
            AND iter >= {SINGLE} AND timestamp >= ? ORDER BY timestamp LIMIT ?)""",
        (ids_of(series), low, batch),
    )
    last: int | None = rows[0][0]
    return last


def count_points(tx: Tx, series: Sequence[Series]) -> int:
    """Return how many points pages of several series have in all."""
    sql = f"SELECT count(*) FROM event_scalar WHERE series = ? AND iter >= {SINGLE}"
    return sum(tx.rows(sql, (item.id,))[0][0] for item in series)


@dataclass(frozen=True, slots=True)
class Latest:
    """The end of a curve."""

    series: Series
    value: float | None
    mean_of_last: float | None
    iter: int
    timestamp: int


def read_latest(tx: Tx, series: Series) -> Latest | None:
    """Return the end of a series; None if it has no curve."""
    last = tx.rows(
        f"SELECT iter, value FROM event_scalar WHERE series = ? AND iter > {SINGLE} ORDER BY iter DESC LIMIT ?",
        (series.id, LAST_POINTS),
    )
    if not last:
        return None
    values = [value for _, value in last if value is not None]
    mean = math.fsum(value / len(values) for value in values) if values else None
    newest = tx.rows(f"SELECT max(timestamp) FROM event_scalar WHERE series = ? AND iter > {SINGLE}", (series.id,))
    return Latest(series, last[0][1], mean, last[0][0], newest[0][0])


def read_single(tx: Tx, series: Series) -> tuple[Any, int] | None:
    """Return the single value that was reported under a series' name, and when; None if there is none."""
    rows = tx.rows("SELECT value, timestamp FROM event_scalar WHERE series = ? AND iter = ?", (series.id, SINGLE))
    return (rows[0][0], rows[0][1]) if rows else None
