"""SQL of the event tables: series, points, samples and console lines of one owner (a task or a model).

What is read in pages is found by index in every page; nothing here loads a whole curve unless the caller asks for it.
Knows no task document and no wire format but that of a single event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import orjson

from clearml_localserver.changes import EVERYTHING
from clearml_localserver.errors import MAX_REPLY_BYTES, too_large_reply
from clearml_localserver.rules.events import (
    CONTENT,
    IMAGE,
    LOG,
    NO_ITER,
    PLOT,
    SCALAR,
    VECTOR,
    Event,
)
from clearml_localserver.store import Tx

Data = dict[str, Any]

TABLE = {SCALAR: "event_scalar", VECTOR: "event_sample", IMAGE: "event_sample", PLOT: "event_sample", LOG: "event_log"}
TABLES = tuple(dict.fromkeys(TABLE.values()))

INSERT = {
    "event_scalar": """
        INSERT INTO event_scalar (series, iter, timestamp, received, value, extra) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (series, iter) DO UPDATE SET timestamp = excluded.timestamp, received = excluded.received,
            value = excluded.value, extra = excluded.extra""",
    "event_sample": """
        INSERT INTO event_sample (series, iter, timestamp, received, content, extra, key) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (series, iter, key) DO UPDATE SET timestamp = excluded.timestamp, received = excluded.received,
            content = excluded.content, extra = excluded.extra""",
    "event_log": """
        INSERT INTO event_log (series, iter, timestamp, received, content, extra) VALUES (?, ?, ?, ?, ?, ?)""",
}

COLUMNS = {
    "event_scalar": "series, iter, timestamp, received, value, extra, ''",
    "event_sample": "series, iter, timestamp, received, content, extra, key",
    "event_log": "series, iter, timestamp, received, content, extra, ''",
}

CONTENT_PLACE = 4
"""Place, among `COLUMNS`, of a text, which may be long."""

IDS = "(SELECT value FROM json_each(?))"
"""One parameter for any number of series: SQLite bounds how many parameters a statement may have."""

OLDER = f"series IN {IDS} AND timestamp < ?"

POINTS = "points"
"""Kind of change: points of a scalar series, from an iteration on."""

CHUNK = 1000
"""Rows that one statement deletes: some milliseconds."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve, plot sequence or console: its key and the fields that its events share."""

    id: int
    owner: str
    type: str
    metric: str
    variant: str
    common: Data


def write(tx: Tx, events: Sequence[Event], received_ms: int) -> None:
    """Store checked events in their order: a later one of the same key overwrites an earlier one."""
    known: dict[tuple[str, str, str, str], tuple[int, str]] = {}
    rows: dict[str, list[Row]] = {table: [] for table in TABLES}
    for event in events:
        key = (event.owner, event.type, event.metric, event.variant)
        if key not in known:
            known[key] = _ensure_series(tx, key, event.extra)
        series, common = known[key]
        extra = None if event.extra == common else event.extra
        row: Row = (series, event.iter, event.timestamp, received_ms, event.content, extra)
        table = TABLE[event.type]
        rows[table].append((*row, event.key) if table == "event_sample" else row)
    for table, batch in rows.items():
        if batch:
            tx.executemany(INSERT[table], batch)
    if points := rows["event_scalar"]:
        tx.changed.append((POINTS, ((row[0], row[1]) for row in points)))


def _ensure_series(tx: Tx, key: tuple[str, str, str, str], extra: str) -> tuple[int, str]:
    find = "SELECT id, common FROM event_series WHERE owner = ? AND type = ? AND metric = ? AND variant = ?"
    found = tx.rows(find, key)
    if not found:
        tx.execute(
            "INSERT INTO event_series (owner, type, metric, variant, common) VALUES (?, ?, ?, ?, ?)", (*key, extra)
        )
        found = tx.rows(find, key)
    return found[0][0], found[0][1]


NOBODY = ""
"""Owner of series that were taken from their owner: they are invisible, and `sweep` deletes them bit by bit."""

LOST = "events.lost"
"""Topic that is notified when there is something to sweep."""


def delete_task_events(tx: Tx, task_id: str) -> None:
    """Take every event from a task or model: they become invisible, and `sweep` deletes them."""
    _take(tx, "owner = ?", task_id)


def delete_series(tx: Tx, series: Sequence[Series]) -> None:
    """Take series from their owner: they become invisible, and `sweep` deletes them."""
    _take(tx, f"id IN {IDS}", ids_of(series))


def _take(tx: Tx, where: str, which: str) -> None:
    # A series keeps its id until its rows are gone: a new one of the same id would have them.
    if tx.execute(f"UPDATE event_series SET owner = ?, metric = id, variant = '' WHERE {where}", (NOBODY, which)):
        tx.notify(LOST)


def sweep(tx: Tx) -> bool:
    """Delete events without an owner for the length of a turn; return whether there are more."""
    while lost := tx.rows("SELECT id, type FROM event_series WHERE owner = ? LIMIT 1", (NOBODY,)):
        id_, type_ = lost[0]
        while _delete_some(tx, TABLE[type_], "series = ?", (id_,)) == CHUNK:
            if tx.turn_is_over:
                return True
        tx.execute("DELETE FROM event_series WHERE id = ?", (id_,))
        tx.changed.append((POINTS, ((id_, EVERYTHING),)))  # a new series may get its id
        if tx.turn_is_over:
            return True
    return False


def delete_log(tx: Tx, series: Sequence[Series], before_ms: int | None = None) -> tuple[int, bool]:
    """Delete console lines of some series, or only those older than a timestamp, for the length of a turn.

    Returns:
        How many were deleted, and whether that was all.
    """
    ids, deleted = ids_of(series), 0
    where, args = (f"series IN {IDS}", [ids]) if before_ms is None else (OLDER, [ids, before_ms])
    while (count := _delete_some(tx, "event_log", where, args)) == CHUNK:
        deleted += count
        if tx.turn_is_over:
            return deleted, False
    tx.execute(
        f"DELETE FROM event_series WHERE id IN {IDS}"
        " AND NOT EXISTS (SELECT 1 FROM event_log WHERE event_log.series = event_series.id)",
        (ids,),
    )
    return deleted + count, True


def _delete_some(tx: Tx, table: str, where: str, args: Sequence[Any]) -> int:
    """Delete at most `CHUNK` rows; return how many."""
    key = "(series, iter)" if table == "event_scalar" else "id"
    columns = key.strip("()")
    chosen = f"SELECT {columns} FROM {table} WHERE {where} LIMIT {CHUNK}"
    return tx.execute(f"DELETE FROM {table} WHERE {key} IN ({chosen})", args)


def event_urls(tx: Tx, task_id: str) -> list[str]:
    """Return the addresses of the files that a task's debug images and plots point at, each once."""
    series = {item.id: item for item in find_series(tx, task_id, [IMAGE, PLOT])}
    urls: dict[str, None] = {}
    for item in series.values():
        if item.type == IMAGE:
            images = "SELECT DISTINCT content FROM event_sample WHERE series = ? AND content IS NOT NULL"
            urls.update(dict.fromkeys(url for (url,) in tx.rows(images, (item.id,))))
            continue
        for (extra,) in tx.rows("SELECT extra FROM event_sample WHERE series = ?", (item.id,)):
            urls.update(dict.fromkeys((orjson.loads(extra) if extra else item.common).get("source_urls", [])))
    return list(urls)


def find_series(
    tx: Tx,
    owner: str,
    types: Iterable[str] | None = None,
    metrics: Sequence[Data] | None = None,
) -> list[Series]:
    """Return an owner's series, ordered by metric and variant.

    Args:
        tx: Transaction.
        owner: Id of a task or model.
        types: Only these event types.
        metrics: Only these: `[{"metric": name, "variants": [names]}]`, no variants meaning all of them, no metric
            every metric. None or an empty list filters nothing.
    """
    rows = tx.rows(
        "SELECT id, owner, type, metric, variant, common FROM event_series WHERE owner = ? ORDER BY metric, variant",
        (owner,),
    )
    wanted = set(types) if types is not None else set(CONTENT)

    def selected(series: Series) -> bool:
        return not metrics or any(
            item.get("metric") in (None, series.metric)
            and (not item.get("variants") or series.variant in item["variants"])
            for item in metrics
        )

    found = [
        Series(id_, of, type_, metric, variant, orjson.loads(common))
        for id_, of, type_, metric, variant, common in rows
    ]
    return [series for series in found if series.type in wanted and selected(series)]


def count(tx: Tx, series: Sequence[Series]) -> int:
    """Return how many events the series hold."""
    return sum(
        tx.rows(f"SELECT count(*) FROM {table} WHERE series IN {IDS}", (ids_of(own),))[0][0]
        for table, own in by_table(series)
    )


class ReplySize:
    """How much the events of one reply take: all of them are in memory until it is sent."""

    def __init__(self) -> None:
        self._left = MAX_REPLY_BYTES

    def add(self, characters: int) -> None:
        """Count characters of an event.

        Raises:
            ApiError: 400/0, the reply would be too large.
        """
        self._left -= characters
        if self._left < 0:
            raise too_large_reply("fewer events (metrics, iters or batch_size)")


def read_events(
    tx: Tx,
    series: Sequence[Series],
    where: str = "",
    args: Sequence[Any] = (),
    tail: str = "",
    size: ReplySize | None = None,
) -> list[Data]:
    """Return events as the wire shows them.

    Args:
        tx: Transaction.
        series: Their series.
        where: SQL of the caller, about the table as `e`.
        args: Values for it.
        tail: More SQL, behind it.
        size: Of a reply with the events of several calls.

    Raises:
        ApiError: 400/0, the reply would be too large.
    """
    size = size or ReplySize()
    events: list[Data] = []
    for item, row in _rows(tx, series, where, args, tail):
        if isinstance(row[CONTENT_PLACE], str):
            size.add(len(row[CONTENT_PLACE]))
        events.append(render_event(item, row))
    return events


def each_event(tx: Tx, series: Sequence[Series], tail: str) -> Iterator[Data]:
    """Yield all events of some series as they are taken; `tail` is SQL of the caller."""
    for item, row in _rows(tx, series, "", (), tail):
        yield render_event(item, row)


def _rows(tx: Tx, series: Sequence[Series], where: str, args: Sequence[Any], tail: str) -> Iterator[tuple[Series, Row]]:
    names = {item.id: item for item in series}
    for table, own in by_table(series):
        sql = f"SELECT {COLUMNS[table]} FROM {table} AS e WHERE series IN {IDS} {where} {tail}"
        for row in tx.each(sql, (ids_of(own), *args)):
            yield names[row[0]], row


def render_event(series: Series, row: Row) -> Data:
    """Return a stored row (columns of `COLUMNS`) as the wire shows it."""
    _, iteration, timestamp, received, content, extra, key = row
    event: Data = {"type": series.type, "task": series.owner, "metric": series.metric, "variant": series.variant}
    if iteration != NO_ITER:
        event["iter"] = iteration
    event["timestamp"] = timestamp
    if series.type == VECTOR:
        event["values"] = orjson.loads(content) if content is not None else None
    elif content is not None or series.type == SCALAR:
        event[CONTENT[series.type]] = content
    if key:
        event["key"] = key
    if series.type == PLOT and content is not None:
        event["plot_len"] = len(content)
    event.update(orjson.loads(extra) if extra else series.common)
    event["@timestamp"] = iso_ms(received)
    return event


@lru_cache(maxsize=4096)  # events that came in one batch were received at one moment
def iso_ms(epoch_ms: int) -> str:
    """Return milliseconds since 1970 as `2026-11-23T04:21:27.793Z`; what no calendar holds stays a number."""
    try:
        moment = datetime.fromtimestamp(epoch_ms / 1000, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def by_table(series: Sequence[Series]) -> Iterator[tuple[str, list[Series]]]:
    """Yield each table that holds some of the series, with those."""
    for table in TABLES:
        own = [item for item in series if TABLE[item.type] == table]
        if own:
            yield table, own


def ids_of(series: Sequence[Series]) -> str:
    """Return the argument that `IDS` takes for these series."""
    return orjson.dumps([item.id for item in series]).decode()
