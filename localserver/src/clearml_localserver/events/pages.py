"""Pages of events: by iteration for points and samples, by time for console lines.

Every page starts, by index, where the previous one stopped, so the millionth event costs as much as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from clearml_localserver.events.store import (
    COLUMNS,
    CONTENT_PLACE,
    IDS,
    Data,
    Series,
    by_table,
    ids_of,
    read_events,
    render_event,
)
from clearml_localserver.rules.events import MAX_ITER, NO_ITER
from clearml_localserver.store import Tx

BEFORE_ALL = NO_ITER - 1
AFTER_ALL = MAX_ITER + 1

LogPosition = tuple[float, int]
"""Timestamp and row of a console line: where a page stopped."""

LAST_ROW = 2**62

CHARACTERS_OF_PAGE = 2**26
"""Console lines that one reply holds: 10,000, the most that a client may ask for, of 6,700 characters each."""

NO_ROOM = "[this line was left out of a reply that is full: download the console, or ask for fewer lines]"

LINES = f"""
    SELECT {COLUMNS["event_log"].replace("content", "{}")}
    FROM json_each(?) AS wanted CROSS JOIN event_log ON event_log.id = wanted.value"""
"""Console lines by their rows, in the order of these: `CROSS JOIN` keeps it. The place is for their text."""

MAX_OF_MOMENT = 10_000
"""Lines of one timestamp that complete a page of the console."""

WINDOW = 4
"""A page is looked for among at most this many times its events, where that is possible."""


def last_iteration_of_page(
    tx: Tx, table: str, series: Sequence[Series], batch: int, after: int, descending: bool
) -> int | None:
    """Return the iteration that completes a page of `batch` events beyond `after`; None if nothing is left.

    Sorting all that is left would make every page cost as much as the whole listing. So the search is first narrowed:
    where m series have k events each, and m * k reaches the batch size, the page ends at the m-th nearest of their
    k-th iterations at the latest. Which k is good depends on how the series lie to each other; small ones are cheap.
    """
    if not series:
        return None
    order, beyond, within, nearest = ("DESC", "<", ">=", max) if descending else ("ASC", ">", "<=", min)
    ids = ids_of(series)
    of_window = f"FROM {table} WHERE series IN {IDS} AND iter {beyond} ? AND iter {within} ?"
    bound = BEFORE_ALL if descending else AFTER_ALL
    each = -(-batch // len(series))
    while True:
        found = tx.rows(
            f"""SELECT at FROM (
                SELECT (SELECT iter FROM {table} WHERE series = one AND iter {beyond} ?
                        ORDER BY iter {order} LIMIT 1 OFFSET ?) AS at
                FROM (SELECT value AS one FROM json_each(?))
            ) WHERE at IS NOT NULL ORDER BY at {order} LIMIT 1 OFFSET ?""",
            (after, each - 1, ids, -(-batch // each) - 1),
        )
        if found:
            bound = nearest(bound, found[0][0])
        enough = WINDOW * batch
        size = tx.rows(f"SELECT count(*) FROM (SELECT 1 {of_window} LIMIT ?)", (ids, after, bound, enough))[0][0]
        if size < enough or each >= batch:
            break
        each = min(4 * each, batch)
    rows = tx.rows(
        f"SELECT iter FROM (SELECT iter {of_window} ORDER BY iter {order} LIMIT ?) ORDER BY iter {order}",
        (ids, after, bound, batch),
    )
    return rows[-1][0] if rows else None


def page_by_iteration(
    tx: Tx, series: Sequence[Series], batch: int, after: int | None, descending: bool
) -> tuple[list[Data], int | None]:
    """Return the next events in order of iteration, and the last iteration among them.

    A page holds whole iterations: at least `batch` events while there are as many, and the rest of the last iteration.
    """
    start = after if after is not None else AFTER_ALL if descending else BEFORE_ALL
    lasts = [
        last
        for table, own in by_table(series)
        if (last := last_iteration_of_page(tx, table, own, batch, start, descending)) is not None
    ]
    if not lasts:
        return [], after
    # Up to the nearest of the tables' last iterations every table is complete.
    last = max(lasts) if descending else min(lasts)
    low, high = (last, start - 1) if descending else (start + 1, last)
    order = "DESC" if descending else "ASC"
    events = read_events(
        tx, series, "AND iter BETWEEN ? AND ?", (low, high), f"ORDER BY iter {order}, series, timestamp"
    )
    events.sort(key=lambda event: event.get("iter", NO_ITER), reverse=descending)
    return events, last


@dataclass(frozen=True, slots=True)
class LogPage:
    """Console lines in order of time."""

    events: list[Data]

    last: LogPosition | None
    """Where it stopped: the position of its last line, or where it began if it has none."""

    is_cut: bool
    """Whether it ended before it had as many lines as were asked for, since those took too many characters."""


def page_of_log(
    tx: Tx,
    series: Sequence[Series],
    batch: int,
    descending: bool,
    after: LogPosition | None = None,
    whole_last_moment: bool = False,
    room: int = CHARACTERS_OF_PAGE,
) -> LogPage:
    """Return the next console lines in order of time.

    Args:
        tx: Transaction.
        series: Series of type log, usually one.
        batch: How many lines.
        descending: Newest first.
        after: Where the page before stopped.
        whole_last_moment: Add the further lines with the last line's timestamp, for clients that go on from there by
            timestamp alone and would lose them.
        room: Characters after which the page ends, with the line that reaches them.
    """
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    start = after if after is not None else ((float("inf"), LAST_ROW) if descending else (float("-inf"), -1))
    sql = f"""
        SELECT timestamp, id FROM event_log
        WHERE series = ? AND timestamp {beyond}= ? AND (timestamp, id) {beyond} (?, ?)
        ORDER BY timestamp {order}, id {order} LIMIT ?"""
    found = [position for item in series for position in tx.rows(sql, (item.id, start[0], *start, batch))]
    found.sort(reverse=descending)
    positions: list[LogPosition] = found[:batch]
    if positions and whole_last_moment:
        positions += _rest_of_moment(tx, series, positions, order)
    events = lines_at(tx, series, positions, room, whole_last_moment)
    return LogPage(events, positions[len(events) - 1] if events else after, len(events) < len(positions))


def _rest_of_moment(tx: Tx, series: Sequence[Series], positions: list[LogPosition], order: str) -> list[LogPosition]:
    moment, beyond = positions[-1][0], "<" if order == "DESC" else ">"
    sql = f"""
        SELECT timestamp, id FROM event_log WHERE series = ? AND timestamp = ? AND id {beyond} ?
        ORDER BY id {order} LIMIT {MAX_OF_MOMENT}"""
    rest = [position for item in series for position in tx.rows(sql, (item.id, moment, positions[-1][1]))]
    rest.sort(reverse=order == "DESC")
    return rest


def lines_at(
    tx: Tx, series: Sequence[Series], positions: Sequence[LogPosition], room: int, whole_last_moment: bool
) -> list[Data]:
    """Return the lines at these positions, up to the one that fills the room.

    Lines of megabytes must not all be in memory at once. With `whole_last_moment`, the further lines with the timestamp
    of the last one follow; they say `NO_ROOM` in place of their text.
    """
    names = {item.id: item for item in series}
    ids = orjson.dumps([row for _, row in positions]).decode()
    events: list[Data] = []
    for row in tx.each(LINES.format("content"), (ids,)):
        events.append(render_event(names[row[0]], row))
        room -= len(row[CONTENT_PLACE] or "")
        if room <= 0:
            break
    rest = [row for moment, row in positions[len(events) :] if moment == positions[len(events) - 1][0]]
    if rest and whole_last_moment:
        ids = orjson.dumps(rest).decode()
        events += [render_event(names[row[0]], row) for row in tx.rows(LINES.format(f"'{NO_ROOM}'"), (ids,))]
    return events
