"""SQL over queues, and over how long tasks wait in them."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import Clause, all_of, listed
from clearml_localserver.store import Document, Tx


def all_queues(tx: Tx) -> list[Document]:
    """Return all queues."""
    return tx.docs("SELECT doc FROM queue")


def count(tx: Tx) -> int:
    """Return how many queues there are."""
    return int(tx.rows("SELECT count(*) FROM queue")[0][0])


def is_name_taken(tx: Tx, name: str) -> bool:
    """Return whether a queue has this name."""
    return bool(tx.rows("SELECT 1 FROM queue WHERE json_extract(doc, '$.name') = ?", (name,)))


def record_wait(tx: Tx, queue: str, now: float, waited_s: float, length: int, oldest: float) -> None:
    """Record how long a task waited and how many tasks it left behind; delete what is older than `oldest`."""
    tx.execute("DELETE FROM queue_wait WHERE queue = ? AND time < ?", (queue, oldest))
    tx.execute(
        "INSERT INTO queue_wait (queue, time, waited, length) VALUES (?, ?, ?, ?)", (queue, now, waited_s, length)
    )


def remove_waits(tx: Tx, queue: str) -> None:
    """Delete all that was recorded of a queue."""
    tx.execute("DELETE FROM queue_wait WHERE queue = ?", (queue,))


def waits(tx: Tx, queues: list[str], start: float, end: float, step: int) -> list[tuple[Any, ...]]:
    """Return queue, start of the interval, mean wait and greatest length, for intervals of `step` seconds.

    Args:
        tx: The transaction.
        queues: Ids of queues; without any, all queues together under the name `total`.
        start: Start of the time, in seconds since 1970.
        end: End of the time.
        step: Length of an interval.
    """
    chosen: Clause = all_of([listed("queue", queues)] if queues else [])
    return tx.rows(
        f"SELECT {'queue' if queues else repr('total')}, CAST(time / ? AS INTEGER) * ? AS bucket, "
        f"avg(waited), max(length) FROM queue_wait WHERE time BETWEEN ? AND ? AND {chosen.sql} "
        "GROUP BY 1, 2 ORDER BY 1, 2",
        (step, step, start, end, *chosen.args),
    )
