"""Plots, debug images and vectors by iteration: the last ones, a window to walk with, the neighbour of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from localserver.events.store import IDS, Data, Series, ids_of, read_events
from localserver.rules.events import IMAGE, NO_ITER
from localserver.store import Tx


def last_iterations(tx: Tx, series: Sequence[Series], iterations: int) -> list[Data]:
    """Return the events of the last iterations of each series, newest first within a series."""
    events: list[Data] = []
    for item in series:
        events += read_events(
            tx,
            [item],
            """AND iter IN (SELECT DISTINCT iter FROM event_sample WHERE series = ? ORDER BY iter DESC LIMIT ?)""",
            (item.id, iterations),
            "ORDER BY iter DESC, key",
        )
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
    found = tx.rows(
        f"SELECT DISTINCT iter FROM event_sample WHERE series IN {IDS} {limit} ORDER BY iter {order} LIMIT ?",
        (ids_of(series), *args, iterations),
    )
    if not found:
        return []
    chosen = sorted(iteration for (iteration,) in found)
    groups: dict[int | None, list[Data]] = {}
    for event in read_events(
        tx, series, "AND iter BETWEEN ? AND ?", (chosen[0], chosen[-1]), "ORDER BY iter DESC, key"
    ):
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
    """The samples that a viewer steps through.

    Plots stop at every metric of an iteration, images at every variant: `by_variant` tells which. An image whose file
    has been overwritten by a later iteration of its series is no stop: its address shows another picture.
    """

    def __init__(self, tx: Tx, series: Sequence[Series], by_variant: bool) -> None:
        self._tx = tx
        self._series = series
        self._variant = "s.variant" if by_variant else "''"
        self._from = """
            FROM event_sample e JOIN event_series s ON s.id = e.series
            JOIN (SELECT value ->> 0 AS id, value ->> 1 AS first FROM json_each(?)) own
            ON own.id = e.series AND e.iter >= own.first"""
        self._own = orjson.dumps([[item.id, self._first_valid(item)] for item in series]).decode()

    def _first_valid(self, series: Series) -> int:
        """Return the first iteration whose image is still its own."""
        if series.type != IMAGE:
            return NO_ITER
        rows = self._tx.rows(
            "SELECT min(last) FROM (SELECT max(iter) AS last FROM event_sample WHERE series = ?"
            " GROUP BY coalesce(content, id))",
            (series.id,),
        )
        return rows[0][0] if rows[0][0] is not None else NO_ITER

    def nearest(self, iteration: int | None) -> Place | None:
        """Return the stop at an iteration or the last one before it; None asks for the newest."""
        limit, args = ("", ()) if iteration is None else ("WHERE e.iter <= ?", (iteration,))
        return self._first(limit, args, "DESC", "ASC")

    def neighbour(self, place: Place, earlier: bool, next_iteration: bool) -> Place | None:
        """Return the stop before (or after) a place, or that of the iteration before (or after)."""
        order, beyond = ("DESC", "<") if earlier else ("ASC", ">")
        if next_iteration:
            return self._first(f"WHERE e.iter {beyond} ?", (place.iter,), order, order)
        where = f"WHERE (e.iter, s.metric, {self._variant}) {beyond} (?, ?, ?)"
        return self._first(where, (place.iter, place.metric, place.variant), order, order)

    def _first(self, where: str, args: Sequence[object], iter_order: str, name_order: str) -> Place | None:
        rows = self._tx.rows(
            f"SELECT e.iter, s.metric, {self._variant} {self._from} {where}"
            f" ORDER BY e.iter {iter_order}, s.metric {name_order}, s.variant {name_order} LIMIT 1",
            (self._own, *args),
        )
        return Place(*rows[0]) if rows else None

    def at(self, place: Place) -> list[Data]:
        """Return the events of a stop."""
        series = self._at(place)
        events = read_events(self._tx, series, "AND iter = ?", (place.iter,), "ORDER BY key")
        return sorted(events, key=lambda event: str(event["variant"]))

    def extent(self, place: Place) -> tuple[int, int]:
        """Return the first and the last iteration that a stop's metric (or variant) has."""
        ids = {item.id for item in self._at(place)}
        own = orjson.dumps([entry for entry in orjson.loads(self._own) if entry[0] in ids]).decode()
        first, last = self._tx.rows(f"SELECT min(e.iter), max(e.iter) {self._from}", (own,))[0]
        return first, last

    def _at(self, place: Place) -> list[Series]:
        return [
            item
            for item in self._series
            if item.metric == place.metric and (self._variant == "''" or item.variant == place.variant)
        ]
