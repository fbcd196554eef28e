"""Lines of a console that contain a text, found by reading it from its end backwards, for a bounded time.

An index of all words would make every report of a line cost more, and a console is searched seldom. So the text is
looked for in the stored lines, a stretch of the time index after the other; whoever has not found enough goes on from
where the last call stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from clearml_localserver.events.pages import CHARACTERS_OF_PAGE, LogPosition, lines_at
from clearml_localserver.events.store import IDS, Data, Series, ids_of
from clearml_localserver.store import Tx

FIRST_STRETCH, STRETCH = 2_000, 20_000
"""Reports that are read at a time, few at first: what many lines have is found in few. The second stretch is read
however late it is, so that a console of usual length is searched by one call."""

TURN_S = 0.05
"""How long one call searches: less than a reading request may take beside all others."""

EVER = 2**62


def search_log(
    tx: Tx, series: Sequence[Series], text: str, before: float | None, most: int
) -> tuple[list[Data], float | None]:
    """Return the last reports before a moment that contain a text, oldest first, and until which moment was searched.

    A report of several lines is returned whole. Letters of ASCII are found in upper and lower case; so are others where
    the whole text is written so.

    Args:
        tx: Transaction.
        series: Series of type log.
        text: What is looked for.
        before: Only reports older than this moment (ms); None for all.
        most: The search ends once so many are found; a moment is never found in part, so there may be more.

    Returns:
        The reports, and the moment before which nothing was searched; None when all was.
    """
    ids = ids_of(series)
    spellings = [text] if text.isascii() else dict.fromkeys((text, text.lower(), text.upper()))
    patterns = [f"%{_literal(spelling)}%" for spelling in spellings]
    matches = " OR ".join(["content LIKE ? ESCAPE '\\'"] * len(patterns))
    sql = f"""
        SELECT timestamp, id FROM event_log
        WHERE series IN {IDS} AND timestamp >= ? AND timestamp < ? AND ({matches})"""
    end: float = EVER if before is None else before
    started, found, stretch = time.monotonic(), list[LogPosition](), FIRST_STRETCH
    while True:
        start = _start_of_stretch(tx, series, end, stretch)
        rows = tx.rows(sql, (ids, -EVER if start is None else start, end, *patterns))
        found += sorted(rows, reverse=True)
        is_late = stretch == STRETCH and time.monotonic() - started > TURN_S
        if start is None or len(found) >= most or is_late:
            break
        end, stretch = start, STRETCH
    last = found[most - 1][0] if len(found) > most else -EVER
    events = lines_at(tx, series, [position for position in found if position[0] >= last], CHARACTERS_OF_PAGE, True)
    if len(events) < len(found):
        start = found[len(events) - 1][0]
    return events[::-1], start


def _start_of_stretch(tx: Tx, series: Sequence[Series], end: float, stretch: int) -> float | None:
    """Return the moment of the report that many reports before `end`; None where there are not so many."""
    offset = max(1, stretch // max(1, len(series)))
    found = [
        row[0]
        for item in series
        for row in tx.rows(
            "SELECT timestamp FROM event_log WHERE series = ? AND timestamp < ?"
            " ORDER BY timestamp DESC LIMIT 1 OFFSET ?",
            (item.id, end, offset),
        )
    ]
    return max(found, default=None)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
