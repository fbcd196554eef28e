"""Plots, debug images and vectors by iteration: the last ones, a window to walk with, the neighbour of one.

An image whose file has been written again by a later iteration of its series is left out everywhere: its address shows
another picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localserver.events.store import IDS, Data, Series, ids_of, read_events
from localserver.rules.events import IMAGE
from localserver.store import Tx

LIVE = f"""AND (e.series, e.iter, coalesce(e.content, e.id)) IN (
    SELECT series, max(iter), coalesce(content, id) FROM event_sample WHERE series IN {IDS} GROUP BY 1, 3)"""
"""Condition of images that still show what they showed."""


def _live(series: Sequence[Series]) -> tuple[str, tuple[str, ...]]:
    """Return the condition that leaves out images of the past, and its argument."""
    images = [item for item in series if item.type == IMAGE]
    return (LIVE, (ids_of(images),)) if images else ("", ())


def last_iterations(tx: Tx, series: Sequence[Series], iterations: int) -> list[Data]:
    """Return the events of the last iterations of each series, newest first within a series."""
    events: list[Data] = []
    for item in series:
        live, args = _live([item])
        found = tx.rows(
            f"SELECT DISTINCT iter FROM event_sample e WHERE series = ? {live} ORDER BY iter DESC LIMIT ?",
            (item.id, *args, iterations),
        )
        if found:
            where = f"AND iter BETWEEN ? AND ? {live}"
            events += read_events(tx, [item], where, (found[-1][0], found[0][0], *args), "ORDER BY iter DESC, key")
    return events


def window(
    tx: Tx, series: Sequence[Series], iterations: int, earlier: bool, edge: int | None
) -> list[tuple[int | None, list[Data]]]:
    """Return the next iterations that any of the series has, newest first, each with its events.

    Args:
        tx: Transaction.
        series: Series of one task.
        iterations: How many.
        earlier: Those before `edge`; otherwise those after it.
        edge: Iteration to start from, not included; None starts at the newest (or the oldest) one.
    """
    order, beyond = ("DESC", "<") if earlier else ("ASC", ">")
    limit, args = ("", ()) if edge is None else (f"AND iter {beyond} ?", (edge,))
    live, images = _live(series)
    found = tx.rows(
        f"SELECT DISTINCT iter FROM event_sample e WHERE series IN {IDS} {limit} {live} ORDER BY iter {order} LIMIT ?",
        (ids_of(series), *args, *images, iterations),
    )
    if not found:
        return []
    chosen = sorted(iteration for (iteration,) in found)
    groups: dict[int | None, list[Data]] = {}
    where = f"AND iter BETWEEN ? AND ? {live}"
    for event in read_events(tx, series, where, (chosen[0], chosen[-1], *images), "ORDER BY iter DESC, key"):
        groups.setdefault(event.get("iter"), []).append(event)
    for events in groups.values():
        events.sort(key=lambda event: (event["metric"], event["variant"]))
    return list(groups.items())


@dataclass(frozen=True, slots=True)
class Place:
    """One stop of a walk through samples: an iteration of a metric, or of one of its variants."""

    iter: int
    metric: str
    variant: str


class Walk:
    """The samples that a viewer steps through: plots stop at every metric of an iteration, images at every variant."""

    def __init__(self, tx: Tx, series: Sequence[Series], by_variant: bool) -> None:
        self._tx = tx
        self._series = series
        self._variant = "s.variant" if by_variant else "''"

    def _rows(self, columns: str, series: Sequence[Series], tail: str = "", args: Sequence[object] = ()) -> list[Any]:
        live, images = _live(series)
        return self._tx.rows(
            f"SELECT {columns} FROM event_sample e JOIN event_series s ON s.id = e.series"
            f" WHERE e.series IN {IDS} {live} {tail}",
            (ids_of(series), *images, *args),
        )

    def nearest(self, iteration: int | None) -> Place | None:
        """Return the stop at an iteration or the last one before it; None asks for the newest."""
        limit, args = ("", ()) if iteration is None else ("AND e.iter <= ?", (iteration,))
        return self._first(limit, args, "DESC", "ASC")

    def neighbour(self, place: Place, earlier: bool, next_iteration: bool) -> Place | None:
        """Return the stop before (or after) a place, or that of the iteration before (or after)."""
        order, beyond = ("DESC", "<") if earlier else ("ASC", ">")
        if next_iteration:
            return self._first(f"AND e.iter {beyond} ?", (place.iter,), order, order)
        where = f"AND (e.iter, s.metric, {self._variant}) {beyond} (?, ?, ?)"
        return self._first(where, (place.iter, place.metric, place.variant), order, order)

    def _first(self, where: str, args: Sequence[object], iter_order: str, name_order: str) -> Place | None:
        order = f"ORDER BY e.iter {iter_order}, s.metric {name_order}, s.variant {name_order} LIMIT 1"
        rows = self._rows(f"e.iter, s.metric, {self._variant}", self._series, f"{where} {order}", args)
        return Place(*rows[0]) if rows else None

    def at(self, place: Place) -> list[Data]:
        """Return the events of a stop."""
        series = self._at(place.metric, place.variant)
        live, images = _live(series)
        events = read_events(self._tx, series, f"AND iter = ? {live}", (place.iter, *images), "ORDER BY key")
        return sorted(events, key=lambda event: str(event["variant"]))

    def extent(self, metric: str, variant: str) -> tuple[int | None, int | None]:
        """Return the first and the last iteration that a metric (or one of its variants) has; None without any."""
        first, last = self._rows("min(e.iter), max(e.iter)", self._at(metric, variant))[0]
        return first, last

    def _at(self, metric: str, variant: str) -> list[Series]:
        return [
            item
            for item in self._series
            if item.metric == metric and (self._variant == "''" or item.variant == variant)
        ]
