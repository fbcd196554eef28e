"""Service `events`, scalars and names: curves, last values, and which metrics a task has reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clearml_localserver.endpoints.events_fields import FLAG, METRICS, TEXTS
from clearml_localserver.errors import validation_error
from clearml_localserver.events.owners import find_owners
from clearml_localserver.events.scalars import (
    Axis,
    Curve,
    count_points,
    page_of_points,
    read_curve,
    read_latest,
    read_single,
)
from clearml_localserver.events.store import Series, find_series, iso_ms, read_events
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules.events import CONTENT, DEFAULT_SAMPLES, MAX_SAMPLES, NO_ITER, SCALAR, VECTOR
from clearml_localserver.rules.scroll import decode_scroll, encode_scroll
from clearml_localserver.store import Document, Tx

MAX_TASKS = 100
MAX_REPLY_POINTS = 500_000
"""Curves of one reply share so many points: of more than 250 curves each has fewer than are given by default."""

MAX_VECTORS = 10_000
MAX_RAW_BATCH = 200_000
DEFAULT_RAW_BATCH = 10_000

TASKS_AND_METRICS = {
    "type": "object",
    "required": ["tasks"],
    "properties": {
        "tasks": TEXTS | {"minItems": 1},
        "metrics": METRICS,
        "samples": {"type": "integer"},
        "key": {"enum": ["iter", "timestamp", "iso_time"]},
        "model_events": FLAG,
        "event_type": {"enum": list(CONTENT)},
        "envelope": FLAG,
    },
}
ENVELOPE = (
    "`envelope` adds the lowest and highest value behind each point of a thinned curve, which then has up to an eighth"
    " fewer points"
)


@endpoint("events.scalar_metrics_iter_histogram", fields={"envelope": FLAG}, differs=ENVELOPE)
def scalar_metrics_iter_histogram(call: Call, tx: Tx) -> Data:
    """Return a task's curves, thinned to about `samples` points each."""
    find_owners(tx, [call.data["task"]], call.data.get("model_events", False))
    reply: Data = {}
    for curve in _curves(call, tx, find_series(tx, call.data["task"], [SCALAR], call.data.get("metrics"))):
        series = curve.series
        reply.setdefault(series.metric, {})[series.variant] = {
            "name": series.variant,
            **_xy(call, curve),
            **_envelope(call, curve),
        }
    return reply


@endpoint("events.multi_task_scalar_metrics_iter_histogram", schema=TASKS_AND_METRICS, differs=ENVELOPE)
def multi_task_scalar_metrics_iter_histogram(call: Call, tx: Tx) -> Data:
    """Return the curves of several tasks, grouped by metric and variant so that they can be compared."""
    metrics: Data = {}
    names = {task["id"]: task.get("name") for task in _tasks(call, tx)}
    series = [item for task in names for item in find_series(tx, task, [SCALAR], call.data.get("metrics"))]
    for curve in _curves(call, tx, series):
        task = curve.series.owner
        by_task = metrics.setdefault(curve.series.metric, {}).setdefault(curve.series.variant, {})
        by_task[task] = {"name": names[task], **_xy(call, curve), **_envelope(call, curve)}
    return {"metrics": metrics}


def _tasks(call: Call, tx: Tx) -> Iterable[Document]:
    if len(call.data["tasks"]) > MAX_TASKS:
        raise validation_error(f"field=tasks: more than {MAX_TASKS} items")
    return find_owners(tx, call.data["tasks"], call.data.get("model_events", False)).values()


def _curves(call: Call, tx: Tx, series: Sequence[Series]) -> Iterator[Curve]:
    samples = call.data.get("samples", DEFAULT_SAMPLES)
    if not 1 <= samples <= MAX_SAMPLES:
        raise validation_error(f"field=samples: {samples} is not between 1 and {MAX_SAMPLES}")
    samples = min(samples, max(1, MAX_REPLY_POINTS // max(1, len(series))))
    for item in series:
        curve = read_curve(tx, item, _axis(call), samples, steady=call.data.get("envelope", False))
        if curve.x:
            yield curve


def _axis(call: Call) -> Axis:
    return "iter" if call.data.get("key", "iter") == "iter" else "timestamp"


def _xy(call: Call, curve: Curve) -> Data:
    as_text = call.data.get("key") == "iso_time"
    label = {} if curve.x_axis_label is None else {"x_axis_label": curve.x_axis_label}
    return {"x": [iso_ms(x) for x in curve.x] if as_text else curve.x, "y": curve.y, **label}


def _envelope(call: Call, curve: Curve) -> Data:
    wanted = call.data.get("envelope", False) and curve.low is not None
    return {"low": curve.low, "high": curve.high} if wanted else {}


@endpoint("events.scalar_metrics_iter_raw", since="2.16")
def scalar_metrics_iter_raw(call: Call, tx: Tx) -> Data:
    """Page through a metric's points as they were reported."""
    find_owners(tx, [call.data["task"]], call.data.get("model_events", False))
    axis = _axis(call)
    batch, after = DEFAULT_RAW_BATCH, None
    if text := call.data.get("scroll_id"):
        after, batch = decode_scroll(text, f"raw {axis}", (int, type(None)), int)
    batch = call.data.get("batch_size", batch)
    if not 1 <= batch <= MAX_RAW_BATCH:
        raise validation_error(f"field=batch_size: {batch} is not between 1 and {MAX_RAW_BATCH}")
    series = find_series(tx, call.data["task"], [SCALAR], [call.data["metric"]])
    curves, last = page_of_points(tx, series, axis, batch, after)
    key = call.data.get("key", "iter")
    variants = {}
    for curve in curves:
        xy = _xy(call, curve)
        variants[curve.series.variant] = {"y": xy["y"], key: xy["x"]}
    return {
        "returned": sum(len(curve.x) for curve in curves),
        "total": count_points(tx, series) if call.data.get("count_total") else None,
        "scroll_id": encode_scroll(f"raw {axis}", last, batch),
        "variants": variants,
    }


@endpoint("events.get_task_latest_scalar_values")
def get_task_latest_scalar_values(call: Call, tx: Tx) -> Data:
    """Return the last value of every curve, and the mean of its last ten."""
    (task,) = find_owners(tx, [call.data["task"]]).values()
    metrics: dict[str, list[Data]] = {}
    ends = [end for series in find_series(tx, task["id"], [SCALAR]) if (end := read_latest(tx, series))]
    for end in ends:
        variant = {"name": end.series.variant, "last_value": end.value, "last_10_value": end.mean_of_last}
        metrics.setdefault(end.series.metric, []).append(variant)
    return {
        "metrics": [{"name": metric, "variants": variants} for metric, variants in metrics.items()],
        "last_iter": max((end.iter for end in ends), default=None),
        "name": None,
        "status": task.get("status"),
        "last_timestamp": max((float(end.timestamp) for end in ends), default=None),
    }


@endpoint("events.get_task_single_value_metrics", fields={"metrics": METRICS})
def get_task_single_value_metrics(call: Call, tx: Tx) -> Data:
    """Return the single values of several tasks; a task without any is left out."""
    tasks = []
    for owner in find_owners(tx, call.data["tasks"], call.data.get("model_events", False)).values():
        values = [
            {"metric": series.metric, "variant": series.variant, "value": single[0], "timestamp": single[1]}
            for series in find_series(tx, owner["id"], [SCALAR], call.data.get("metrics"))
            if (single := read_single(tx, series))
        ]
        if values:
            tasks.append({"task": owner["id"], "task_name": owner.get("name"), "values": values})
    return {"tasks": tasks}


@endpoint("events.get_task_metrics")
def get_task_metrics(call: Call, tx: Tx) -> Data:
    """Name the metrics of one event type that each of several tasks has."""
    if "event_type" not in call.data:
        raise validation_error("event_type: field is required!")
    owners = find_owners(tx, call.data["tasks"], call.data.get("model_events", False))
    return {
        "metrics": [
            {"task": owner, "metrics": list(_names(find_series(tx, owner, [call.data["event_type"]])))}
            for owner in owners
        ]
    }


@endpoint("events.get_multi_task_metrics", schema=TASKS_AND_METRICS)
def get_multi_task_metrics(call: Call, tx: Tx) -> Data:
    """Name the metrics and variants that any of several tasks has."""
    types = [call.data["event_type"]] if "event_type" in call.data else None
    series = [item for owner in _tasks(call, tx) for item in find_series(tx, owner["id"], types)]
    names = _names(sorted(series, key=lambda item: (item.metric, item.variant)))
    return {"metrics": _listed(names)}


@endpoint("events.get_scalar_metrics_and_variants")
def get_scalar_metrics_and_variants(call: Call, tx: Tx) -> Data:
    """Name a task's scalars."""
    return {"metrics": _names(_own_series(call, tx, SCALAR))}


@endpoint("events.get_vector_metrics_and_variants")
def get_vector_metrics_and_variants(call: Call, tx: Tx) -> Data:
    """Name a task's vectors."""
    return {"metrics": _listed(_names(_own_series(call, tx, VECTOR)))}


@endpoint("events.vector_metrics_iter_histogram")
def vector_metrics_iter_histogram(call: Call, tx: Tx) -> Data:
    """Return the last vectors of one variant with their iterations."""
    selection = [{"metric": call.data["metric"], "variants": [call.data["variant"]]}]
    series = _own_series(call, tx, VECTOR, selection)
    events = read_events(tx, series, "AND iter > ?", (NO_ITER,), f"ORDER BY iter DESC LIMIT {MAX_VECTORS}")[::-1]
    return {
        "metric": call.data["metric"],
        "variant": call.data["variant"],
        "vectors": [event["values"] for event in events],
        "iterations": [event["iter"] for event in events],
    }


def _own_series(call: Call, tx: Tx, type_: str, metrics: list[Data] | None = None) -> list[Series]:
    find_owners(tx, [call.data["task"]], call.data.get("model_events", False))
    return find_series(tx, call.data["task"], [type_], metrics)


def _listed(names: dict[str, list[Any]]) -> list[Data]:
    return [{"metric": metric, "variants": variants} for metric, variants in names.items()]


def _names(series: Iterable[Series]) -> dict[str, list[Any]]:
    names: dict[str, list[Any]] = {}
    for item in series:
        variants = names.setdefault(item.metric, [])
        if item.variant not in variants:
            variants.append(item.variant)
    return names
