"""Plots, debug images and vectors by iteration: the last ones, a window to walk with, the neighbour of one.

An image whose file a later iteration of its series has overwritten is left out everywhere: its URL now shows another
picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clearml_localserver.events.pages import AFTER_ALL, BEFORE_ALL
from clearml_localserver.events.store import Data, ReplySize, Series, read_events
from clearml_localserver.rules.events import IMAGE
from clearml_localserver.store import Tx

LIVE = """AND NOT EXISTS (
    SELECT 1 FROM event_sample later WHERE later.series = e.series AND later.content = e.content AND later.iter > e.iter
    AND length(later.content) < 2048 AND substr(later.content, 1, 1) <> '{')"""
"""Condition of images that still show what they showed; the last terms let SQLite take the index on files."""


def _live(series: Series) -> str:
    return LIVE if series.type == IMAGE else ""


def _iterations(tx: Tx, series: Series, beyond: str, edge: int, order: str, most: int) -> list[int]:
    """Return the nearest iterations of a series beyond an edge; `beyond` is the comparison with it."""
    rows = tx.rows(
        f"SELECT DISTINCT iter FROM event_sample e WHERE series = ? AND iter {beyond} ? {_live(series)}"
        f" ORDER BY iter {order} LIMIT ?",
        (series.id, edge, most),
    )
    return [iteration for (iteration,) in rows]


def last_iterations(tx: Tx, series: Sequence[Series], iterations: int, size: ReplySize | None = None) -> list[Data]:
    """Return the events of the last iterations of each series, newest first within a series.

    Args:
        tx: Transaction.
        series: Series of type plot or image.
        iterations: How many of each.
        size: Of a reply with the events of several calls.

    Raises:
        ApiError: 400/0, the reply would be too large.
    """
    size = size or ReplySize()
    events: list[Data] = []
    for item in series:
        if found := _iterations(tx, item, "<", AFTER_ALL, "DESC", iterations):
            events += _between(tx, [item], found[-1], found[0], size)
    return events


def _between(tx: Tx, series: Sequence[Series], first: int, last: int, size: ReplySize | None = None) -> list[Data]:
    where = f"AND iter BETWEEN ? AND ? {_live(series[0])}"
    return read_events(tx, series, where, (first, last), "ORDER BY iter DESC, key", size)


def window(
    tx: Tx, series: Sequence[Series], iterations: int, earlier: bool, edge: int | None, size: ReplySize | None = None
) -> list[tuple[int | None, list[Data]]]:
    """Return the next iterations that any of the series has, newest first, each with its events.

    Args:
        tx: Transaction.
        series: Series of one task and one type.
        iterations: How many.
        earlier: Those before `edge`; otherwise those after it.
        edge: Iteration to start from, not included; None starts at the newest (or the oldest) one.
        size: Of a reply with the events of several calls.
    """
    beyond, order, end = ("<", "DESC", AFTER_ALL) if earlier else (">", "ASC", BEFORE_ALL)
    start = end if edge is None else edge
    found = {at for item in series for at in _iterations(tx, item, beyond, start, order, iterations)}
    chosen = sorted(found, reverse=earlier)[:iterations]
    if not chosen:
        return []
    groups: dict[int | None, list[Data]] = {}
    for event in _between(tx, series, min(chosen), max(chosen), size):
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
    """The samples that a viewer steps through: plots stop at every metric of an iteration, images at every variant.

    Each step asks every series for its nearest iteration, by index.
    """

    def __init__(self, tx: Tx, series: Sequence[Series], by_variant: bool) -> None:
        self._tx = tx
        self._series = series
        self._by_variant = by_variant

    def _name(self, series: Series) -> tuple[str, str]:
        return series.metric, series.variant if self._by_variant else ""

    def _nearest(self, series: Series, beyond: str, edge: int) -> int | None:
        order = "DESC" if beyond.startswith("<") else "ASC"
        return next(iter(_iterations(self._tx, series, beyond, edge, order, 1)), None)

    def nearest(self, iteration: int | None) -> Place | None:
        """Return the stop at an iteration or the last one before it; None asks for the newest."""
        edge = AFTER_ALL if iteration is None else iteration
        found = [(at, item) for item in self._series if (at := self._nearest(item, "<=", edge)) is not None]
        if not found:
            return None
        newest = max(at for at, _ in found)
        return Place(newest, *min(self._name(item) for at, item in found if at == newest))

    def neighbour(self, place: Place, earlier: bool, next_iteration: bool) -> Place | None:
        """Return the stop before (or after) a place, or that of the iteration before (or after)."""
        here = (place.metric, place.variant)
        places = []
        for item in self._series:
            name = self._name(item)
            same = not next_iteration and (name < here if earlier else name > here)
            at = self._nearest(item, ("<" if earlier else ">") + ("=" if same else ""), place.iter)
            if at is not None:
                places.append((at, *name))
        return Place(*(max(places) if earlier else min(places))) if places else None

    def at(self, place: Place) -> list[Data]:
        """Return the events of a stop."""
        series = self._of((place.metric, place.variant))
        events = _between(self._tx, series, place.iter, place.iter)
        return sorted(events, key=lambda event: str(event["variant"]))

    def extent(self, metric: str, variant: str) -> tuple[int | None, int | None]:
        """Return the first and the last iteration that a metric (or one of its variants) has; None without any."""
        series = self._of((metric, variant))
        firsts = [self._nearest(item, ">", BEFORE_ALL) for item in series]
        lasts = [self._nearest(item, "<", AFTER_ALL) for item in series]
        return (
            min((at for at in firsts if at is not None), default=None),
            max((at for at in lasts if at is not None), default=None),
        )

    def _of(self, name: tuple[str, str]) -> list[Series]:
        return [item for item in self._series if self._name(item) == (name if self._by_variant else (name[0], ""))]
