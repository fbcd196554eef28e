"""Service `events`, plots and debug images: the last ones, page by page of iterations, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clearml_localserver.endpoints.events_fields import FLAG, METRICS, TEXT, TEXTS, owner_of
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.events.owners import find_owners
from clearml_localserver.events.samples import Place, Walk, last_iterations, window
from clearml_localserver.events.store import ReplySize, Series, find_series
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules.events import IMAGE, MAX_ITER, NO_ITER, PLOT
from clearml_localserver.rules.scroll import decode_scroll, encode_scroll
from clearml_localserver.store import Tx

MAX_ITERATIONS = 10_000
"""Most iterations in a reply, however many are asked for."""

TASK_METRICS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["task"],
        "properties": {"task": TEXT, "metric": TEXT, "variants": TEXTS},
    },
}
BY_ITERATION = {
    "type": "object",
    "properties": {
        "metrics": TASK_METRICS,
        "task": TEXT,
        "iters": {"type": "integer", "minimum": 1},
        "scroll_id": TEXT,
        "navigate_earlier": FLAG,
        "refresh": FLAG,
        "model_events": FLAG,
    },
}
MULTI_TASK_PLOTS = {
    "type": "object",
    "required": ["tasks"],
    "properties": {
        "tasks": TEXTS | {"minItems": 1},
        "metrics": METRICS,
        "iters": {"type": "integer", "minimum": 1},
        "scroll_id": TEXT,
        "no_scroll": FLAG,
        "model_events": FLAG,
    },
}

OPTIONAL = (int, type(None))
SAMPLE_POSITION = (str, (str, type(None)), OPTIONAL, str, str, bool, OPTIONAL, OPTIONAL)
"""What a scroll id of one sample holds: metric and variant asked for, the stop, whether to stay there, its range."""


@endpoint("events.get_task_plots")
def get_task_plots(call: Call, tx: Tx) -> Data:
    """Return the plots of the last iterations of each variant."""
    owner = owner_of(call, tx)
    plots = last_iterations(tx, find_series(tx, owner, [PLOT], call.data.get("metrics")), _iterations(call))
    return {"plots": plots, "returned": len(plots), "total": len(plots), "scroll_id": None}


@endpoint("events.get_multi_task_plots", schema=MULTI_TASK_PLOTS)
def get_multi_task_plots(call: Call, tx: Tx) -> Data:
    """Return the last plots of several tasks, by metric, variant, task and iteration, all in one page."""
    tasks = find_owners(tx, call.data["tasks"], call.data.get("model_events", False))
    metrics: Data = {}
    total, size = 0, ReplySize()
    for id_, task in tasks.items():
        plots = last_iterations(tx, find_series(tx, id_, [PLOT], call.data.get("metrics")), _iterations(call), size)
        total += len(plots)
        for plot in [] if call.data.get("scroll_id") else plots:
            by_task = metrics.setdefault(plot["metric"], {}).setdefault(plot["variant"], {}).setdefault(id_, {})
            at = by_task.setdefault(str(plot.get("iter")), {"name": task.get("name"), "plots": []})
            at["plots"].append(plot)
    scroll = None if call.data.get("no_scroll") else encode_scroll("plots of tasks")
    return {"plots": metrics, "returned": len(metrics), "total": total, "scroll_id": scroll}


@endpoint("events.plots", schema=BY_ITERATION)
def plots(call: Call, tx: Tx) -> Data:
    """Walk through the plots of one or more tasks, some iterations at a time."""
    return _by_iteration(call, tx, PLOT)


@endpoint("events.debug_images", schema=BY_ITERATION)
def debug_images(call: Call, tx: Tx) -> Data:
    """Walk through the debug images of one or more tasks, some iterations at a time."""
    return _by_iteration(call, tx, IMAGE) if call.version >= (2, 7) else _flat_debug_images(call, tx)


def _flat_debug_images(call: Call, tx: Tx) -> Data:
    """Answer API versions below 2.7: the last iterations of each variant of one task, in one page."""
    owner = owner_of(call, tx)
    images = last_iterations(tx, find_series(tx, owner, [IMAGE]), _iterations(call))
    shown = [] if call.data.get("scroll_id") else images
    scroll = encode_scroll("images")
    return {"task": owner, "images": shown, "returned": len(shown), "total": len(images), "scroll_id": scroll}


def _by_iteration(call: Call, tx: Tx, type_: str) -> Data:
    """Page through iterations; the scroll id holds, per task, the newest and the oldest one that were shown last."""
    if "metrics" not in call.data:
        raise validation_error("metrics: field is required!")
    wanted: dict[str, list[Data]] = {}
    for item in call.data["metrics"]:
        wanted.setdefault(item["task"], []).append(item)
    find_owners(tx, wanted, call.data.get("model_events", False))
    earlier = call.data.get("navigate_earlier", True)
    edges = {} if call.data.get("refresh") else _edges(call.data.get("scroll_id"), type_)
    shown, size = [], ReplySize()
    for task, selection in wanted.items():
        edge = edges.get(task, (None, None))[1 if earlier else 0]
        found = window(tx, find_series(tx, task, [type_], selection), _iterations(call), earlier, edge, size)
        if found:
            edges[task] = [NO_ITER if at is None else at for at in (found[0][0], found[-1][0])]
        shown.append({"task": task, "iterations": [{"iter": at, "events": events} for at, events in found]})
    return {"metrics": shown, "scroll_id": encode_scroll(f"walk {type_}", edges)}


def _edges(scroll_id: str | None, type_: str) -> dict[str, Any]:
    """Read a walk's scroll id; a bad one starts afresh, as clients expect of these two endpoints."""
    try:
        (edges,) = decode_scroll(scroll_id or "", f"walk {type_}", dict)
    except ApiError:
        return {}
    well_formed = all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(at, int) and abs(at) <= MAX_ITER for at in pair)
        for pair in edges.values()
    )
    return edges if well_formed else {}


@endpoint("events.get_plot_sample", fields={"variant": TEXT})
def get_plot_sample(call: Call, tx: Tx) -> Data:
    """Return the plots of a metric at an iteration, or the last ones before it."""
    return _sample(call, tx, PLOT, _plots_of)


@endpoint("events.next_plot_sample")
def next_plot_sample(call: Call, tx: Tx) -> Data:
    """Step to the neighbouring plots."""
    return _next_sample(call, tx, PLOT, _plots_of)


@endpoint("events.get_debug_image_sample", since="2.12")
def get_debug_image_sample(call: Call, tx: Tx) -> Data:
    """Return the image of a variant at an iteration, or the last one before it."""
    return _sample(call, tx, IMAGE, _image_of)


@endpoint("events.next_debug_image_sample", since="2.12")
def next_debug_image_sample(call: Call, tx: Tx) -> Data:
    """Step to the neighbouring image."""
    return _next_sample(call, tx, IMAGE, _image_of)


def _plots_of(events: list[Data]) -> Data:
    return {"events": events}


def _image_of(events: list[Data]) -> Data:
    return {"event": events[-1] if events else None}


Render = Callable[[list[Data]], Data]


def _sample(call: Call, tx: Tx, type_: str, render: Render) -> Data:
    owner = owner_of(call, tx)
    metric, variant = call.data["metric"], call.data.get("variant")
    walk = Walk(tx, _series(tx, owner, type_, metric, variant), by_variant=type_ == IMAGE)
    iteration = call.data.get("iteration")
    place = walk.nearest(None if iteration is None else max(NO_ITER, min(iteration, MAX_ITER)))
    stay = call.data.get("navigate_current_metric", True)
    bounds = _old_bounds(call, type_, metric, variant) or walk.extent(metric, variant or "")
    scroll = encode_scroll(f"sample {type_}", metric, variant, *_position(place), stay, *bounds)
    return {"scroll_id": scroll, **render(walk.at(place) if place else []), **_named(bounds)}


def _old_bounds(call: Call, type_: str, metric: str, variant: str | None) -> tuple[int | None, int | None] | None:
    """Return the range that a viewer was told with its scroll id: it keeps it until it asks for a fresh one."""
    if call.data.get("refresh") or not call.data.get("scroll_id"):
        return None
    try:
        position = decode_scroll(call.data["scroll_id"], f"sample {type_}", *SAMPLE_POSITION)
    except ApiError:  # as on a genuine server, a bad one starts afresh here
        return None
    return (position[-2], position[-1]) if position[:2] == [metric, variant] else None


def _next_sample(call: Call, tx: Tx, type_: str, render: Render) -> Data:
    owner = owner_of(call, tx)
    metric, variant, at, at_metric, at_variant, stay, *bounds = decode_scroll(
        call.data["scroll_id"], f"sample {type_}", *SAMPLE_POSITION
    )
    # Images step from variant to variant; plots show all variants of their metric unless one was asked for.
    asked_variant = variant if type_ == PLOT and stay else None
    walk = Walk(tx, _series(tx, owner, type_, metric if stay else None, asked_variant), by_variant=type_ == IMAGE)
    here = Place(at, at_metric, at_variant) if at is not None else None
    earlier, jump = call.data.get("navigate_earlier", True), call.data.get("next_iteration", False)
    place = walk.neighbour(here, earlier, jump) if here else walk.nearest(None)
    if (stop := place or here) is not None and (stop.metric, stop.variant) != (at_metric, at_variant):
        bounds = list(walk.extent(stop.metric, stop.variant))
    scroll = encode_scroll(f"sample {type_}", metric, variant, *_position(stop), stay, *bounds)
    return {"scroll_id": scroll, **render(walk.at(place) if place else []), **_named(bounds)}


def _series(tx: Tx, owner: str, type_: str, metric: str | None, variant: str | None) -> list[Series]:
    selection = [{"metric": metric, "variants": [variant] if variant is not None else None}]
    return find_series(tx, owner, [type_], selection)


def _position(place: Place | None) -> tuple[int | None, str, str]:
    return (place.iter, place.metric, place.variant) if place else (None, "", "")


def _named(bounds: Sequence[int | None]) -> Data:
    return {"min_iteration": bounds[0], "max_iteration": bounds[1]}


def _iterations(call: Call) -> int:
    iterations: int = call.data.get("iters", 1)
    if iterations < 1:
        raise validation_error(f"field=iters: {iterations} is less than 1")
    return min(iterations, MAX_ITERATIONS)
