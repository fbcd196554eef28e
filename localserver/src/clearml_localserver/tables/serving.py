"""SQL over the containers that serve models, and over their reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from clearml_localserver.rules.serving import Metric
from clearml_localserver.rules.workers import Span
from clearml_localserver.store import Document, Tx


def container(tx: Tx, id: str, now: float) -> Document | None:
    """Return a container that is alive; delete the records of those that are not."""
    tx.execute("DELETE FROM serving_container WHERE expires < ?", (now,))
    found = tx.docs("SELECT doc FROM serving_container WHERE id = ?", (id,))
    return found[0] if found else None


def put_container(tx: Tx, id: str, url: str | None, expires: float, container: Document) -> None:
    """Store a container; it is alive until `expires`."""
    tx.execute(
        "INSERT OR REPLACE INTO serving_container VALUES (?, ?, ?, ?)", (id, url, expires, json.dumps(container))
    )


def remove_container(tx: Tx, id: str) -> None:
    """Delete a container; an unknown id is not an error."""
    tx.execute("DELETE FROM serving_container WHERE id = ?", (id,))


def serving(tx: Tx, now: float) -> list[Document]:
    """Return the live containers that have an address, by address."""
    return _alive(tx, "url IS NOT NULL", now)


def loading(tx: Tx, now: float) -> list[Document]:
    """Return the live containers that have no address yet."""
    return _alive(tx, "url IS NULL", now)


def serving_at(tx: Tx, url: str, now: float) -> list[Document]:
    """Return the live containers at one address."""
    return _alive(tx, "url = ?", now, url)


def add_report(tx: Tx, url: str, container: str, now: float, figures: Sequence[float], oldest: float) -> None:
    """Store the figures of a container's report; delete the reports that are older than `oldest`."""
    row = (url, container, now, *figures)
    tx.execute(f"INSERT INTO serving_report VALUES ({', '.join('?' * len(row))})", row)
    tx.execute("DELETE FROM serving_report WHERE time < ?", (oldest,))


def history(tx: Tx, url: str, metric: Metric, span: Span) -> list[tuple[Any, ...]]:
    """Return container, start of the interval and figure of the reports from one address."""
    return tx.rows(
        f"SELECT container, CAST(time / ? AS INTEGER) * ?, {metric.figure} FROM serving_report "
        "WHERE url = ? AND time BETWEEN ? AND ? GROUP BY 1, 2 ORDER BY 1, 2",
        (span.step, span.step, url, span.start, span.end),
    )


def _alive(tx: Tx, where: str, now: float, *args: str) -> list[Document]:
    sql = f"SELECT doc FROM serving_container WHERE {where} AND expires >= ? ORDER BY url, id"
    return tx.docs(sql, (*args, now))
