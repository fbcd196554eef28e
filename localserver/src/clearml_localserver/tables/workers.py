"""SQL over workers, and over what they report of their machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from clearml_localserver.rules.workers import ACTIVITY, Sample, Span
from clearml_localserver.store import Document, Tx

AGGREGATIONS = ("avg", "min", "max")

REPORTS = """
    FROM json_each(?) AS chosen CROSS JOIN worker_statistic AS statistic
    ON statistic.worker = chosen.value AND statistic.metric = ? AND statistic.time BETWEEN ? AND ?"""
"""One metric of some workers over a time, found by index."""


def all_workers(tx: Tx) -> list[Document]:
    """Return all workers, also those that are no longer alive."""
    return tx.docs("SELECT doc FROM worker")


def of_session(tx: Tx, session: str) -> Document | None:
    """Return the worker that registered or reported in this login session.

    A request for a task does not name its worker, and the worker header holds only the host's name.
    """
    found = tx.docs("SELECT doc FROM worker WHERE json_extract(doc, '$.session') = ?", (session,)) if session else []
    return found[0] if found else None


def add_samples(tx: Tx, worker: str, samples: Sequence[Sample], now: float, oldest: float) -> None:
    """Store the figures of a worker's report; delete those of the same metrics that are older than `oldest`."""
    tx.executemany(
        "INSERT INTO worker_statistic (worker, time, metric, value, resources) VALUES (?, ?, ?, ?, ?)",
        [
            (worker, now, item.metric, item.value, item.resources and orjson.dumps(item.resources).decode())
            for item in samples
        ],
    )
    # By worker and metric, which the index leads by: a week has a quarter of a million figures of one worker.
    tx.executemany(
        "DELETE FROM worker_statistic WHERE worker = ? AND metric = ? AND time < ?",
        [(worker, item.metric, oldest) for item in samples],
    )


def reporters(tx: Tx) -> list[str]:
    """Return the ids of all workers that have reported."""
    # One step along the index per worker: DISTINCT would read every figure of a week.
    rows = tx.rows(
        """WITH RECURSIVE reporter (id) AS (
            SELECT min(worker) FROM worker_statistic UNION ALL
            SELECT (SELECT min(worker) FROM worker_statistic WHERE worker > reporter.id) FROM reporter
            WHERE reporter.id IS NOT NULL
        ) SELECT id FROM reporter WHERE id IS NOT NULL"""
    )
    return [id for (id,) in rows]


def reported_metrics(tx: Tx, workers: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Return those of `metrics` that one of `workers` has reported, in their order."""
    rows = tx.rows(
        """SELECT metric.value FROM json_each(?) AS metric WHERE EXISTS (
            SELECT 1 FROM json_each(?) AS chosen CROSS JOIN worker_statistic AS statistic
            ON statistic.worker = chosen.value AND statistic.metric = metric.value)""",
        (json.dumps(list(metrics)), json.dumps(list(workers))),
    )
    return [name for (name,) in rows]


def statistics(tx: Tx, workers: Iterable[str], span: Span, metric: str, aggregation: str) -> list[tuple[Any, ...]]:
    """Return worker, start of the interval and figure; `min` and `max` are those of all cores or GPUs."""
    figure = "statistic.value"
    if aggregation != "avg":
        figure = f"coalesce((SELECT {aggregation}(value) FROM json_each(resources)), statistic.value)"
    return tx.rows(
        f"SELECT worker, CAST(time / ? AS INTEGER) * ?, {aggregation}({figure}) {REPORTS} GROUP BY 1, 2",
        (span.step, span.step, *_reports(workers, span, metric)),
    )


def statistics_by_resource(
    tx: Tx, workers: Iterable[str], span: Span, metric: str, aggregation: str
) -> list[tuple[Any, ...]]:
    """Return worker, number of the core or GPU, start of the interval and figure."""
    return tx.rows(
        f"""SELECT worker, resource.key, CAST(time / ? AS INTEGER) * ?, {aggregation}(resource.value)
        FROM (SELECT worker, time, resources {REPORTS}) CROSS JOIN json_each(resources) AS resource
        GROUP BY 1, 2, 3 ORDER BY 1, 2""",
        (span.step, span.step, *_reports(workers, span, metric)),
    )


def activity(tx: Tx, workers: Iterable[str], span: Span) -> list[tuple[Any, ...]]:
    """Return start of the interval, number of workers that reported and number of those that had a task."""
    return tx.rows(
        "SELECT CAST(time / ? AS INTEGER) * ?, count(DISTINCT worker), "
        f"count(DISTINCT CASE WHEN statistic.value > 0 THEN worker END) {REPORTS} GROUP BY 1 ORDER BY 1",
        (span.step, span.step, *_reports(workers, span, ACTIVITY)),
    )


def machine_figures(tx: Tx, since: float) -> list[tuple[Any, ...]]:
    """Return worker, metric, least, greatest and mean value, and number of cores, of load and memory since a time."""
    return tx.rows(
        "SELECT worker, metric, min(value), max(value), avg(value), max(json_array_length(resources)) "
        "FROM worker_statistic WHERE time >= ? AND metric IN ('cpu_usage', 'memory_used', 'memory_free') "
        "GROUP BY 1, 2 ORDER BY 1, 2",
        (since,),
    )


def _reports(workers: Iterable[str], span: Span, metric: str) -> tuple[Any, ...]:
    """Return the arguments of `REPORTS`."""
    return json.dumps(list(workers)), metric, span.start, span.end
