"""Events: validation of reported events, and what a batch changes in its task's document.

Pure: no store, no clock. The five types, their checks and the arithmetic of `last_metrics` and of down-sampling
are here; SQL is in `clearml_localserver.events.store`.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Iterable
from hashlib import md5
from itertools import groupby
from typing import Any, NamedTuple

import orjson

Data = dict[str, Any]

SCALAR = "training_stats_scalar"
VECTOR = "training_stats_vector"
IMAGE = "training_debug_image"
PLOT = "plot"
LOG = "log"

CONTENT = {SCALAR: "value", VECTOR: "values", IMAGE: "url", PLOT: "plot_str", LOG: "msg"}
"""Event types, each with the field that holds what is reported."""

SINGLE = -(2**31)
"""Iteration by which the SDK marks a single value: a scalar without a curve."""

NO_ITER = SINGLE - 1
"""Means "no iteration given" in the store; sorts before all real ones."""

MAX_ITER = 2**53
MAX_TIMESTAMP = 2**53
"""Largest integers that every JSON client reads exactly."""

MAX_NAME = 4096
"""Longest name of a metric or variant: each is in its task's document, which is written with every batch."""

MAX_READ_PLOT = 2**20
"""Characters of a plot that are read as JSON at once: a parser lets no other thread run meanwhile."""

IMAGES_KEY = re.compile(r'"images"\s*:\s*(?=\[)')
JSON_DECODER = json.JSONDecoder()

OURS = frozenset({"@timestamp", "plot_len", "source_urls"})
"""Fields that the server adds; a sender's own are ignored."""

KNOWN = {
    type_: OURS
    | {"type", "task", "metric", "variant", "iter", "timestamp", "allow_locked", content}
    | ({"key"} if type_ == IMAGE else set())
    for type_, content in CONTENT.items()
}
"""Fields that have a place of their own in the store, or none, by event type; all others are kept as they came."""

UNKNOWN_WORKER = "<unknown>"
MAX_SAMPLES = 6000
DEFAULT_SAMPLES = 2000


class EventRefusedError(ValueError):
    """An event that is not stored; the text is counted in the reply's `errors_info`."""


class Event(NamedTuple):
    """One checked event, ready for the store: a tuple, since hundreds are made in a call."""

    type: str
    owner: str
    is_model: bool
    metric: str
    variant: str
    iter: int
    timestamp: int
    key: str
    content: float | str | None
    extra: str
    """JSON of every other field, the sender's own ones included."""
    x_axis_label: str | None = None


def parse_event(raw: Data, worker: str, now_ms: int) -> Event:
    """Check a reported event.

    Args:
        raw: The event as sent.
        worker: Name of the reporting process, for events that do not name one.
        now_ms: Timestamp of events that carry none.

    Raises:
        EventRefusedError: It names no type or no task, or a field is not of its type.
    """
    type_ = raw.get("type")
    if not type_:
        raise EventRefusedError("Event must have a 'type' field")
    if not isinstance(type_, str) or type_ not in CONTENT:
        raise EventRefusedError(f"Invalid event type {_cut(type_)}")
    is_model = bool(raw.get("model_event"))
    if is_model and type_ == LOG:
        raise EventRefusedError("Invalid event type log (a model has no console)")
    owner = raw.get("task") or (raw.get("model") if is_model else None)
    if owner is None or owner == "":
        raise EventRefusedError("Event must have a 'task' field")
    if not isinstance(owner, str):
        raise invalid_owner(owner, is_model)
    field, known = CONTENT[type_], KNOWN[type_]
    extra = {} if raw.keys() <= known else {name: value for name, value in raw.items() if name not in known}
    extra["model_event"] = is_model
    extra["worker"] = raw.get("worker") or worker or UNKNOWN_WORKER
    content = _content(type_, raw.get(field), extra)
    if type_ == PLOT and isinstance(content, str) and (urls := plot_source_urls(content)):
        extra["source_urls"] = urls
    iteration = raw.get("iter")
    timestamp = raw.get("timestamp")
    return Event(
        type=type_,
        owner=owner,
        is_model=is_model,
        metric=_name("metric", raw.get("metric")),
        variant=_name("variant", raw.get("variant")),
        iter=NO_ITER if iteration is None else _integer("iter", iteration, SINGLE, MAX_ITER),
        timestamp=now_ms if timestamp is None else _integer("timestamp", timestamp, -MAX_TIMESTAMP, MAX_TIMESTAMP),
        key=_name("key", raw.get("key")) if type_ == IMAGE else "",
        content=content,
        extra=_json("fields", extra),
        x_axis_label=axis_label(extra),
    )


def axis_label(fields: Data) -> str | None:
    """Return how an event's sender calls the x axis of its curve; None where it does not say."""
    label = fields.get("x_axis_label")
    return label if isinstance(label, str) else None


def invalid_owner(owner: Any, is_model: bool) -> EventRefusedError:
    """Return the refusal of an event whose task or model does not exist or cannot be changed."""
    return EventRefusedError(f"Invalid {'model' if is_model else 'task'} id {_cut(owner)}")


def plot_source_urls(plot: str) -> list[str]:
    """Return the addresses of the pictures in a plot's layout; a plot that is not JSON has none."""
    if '"images"' not in plot:
        return []
    try:
        images = orjson.loads(plot)["layout"]["images"] if len(plot) <= MAX_READ_PLOT else _first_images(plot)
        sources = [image.get("source") for image in images]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return [source for source in sources if isinstance(source, str) and not source.startswith("data:")]


def _first_images(plot: str) -> Any:
    """Return the first list of images in a plot that is too long to be read whole.

    Of plotly.js' attributes only a layout's `images` has that name; within a string its quotes would be escaped.

    Raises:
        ValueError: There is none, or it is too long as well.
    """
    key = IMAGES_KEY.search(plot)
    if key is None:
        raise ValueError("no images")
    images, _ = JSON_DECODER.raw_decode(plot[key.end() : key.end() + MAX_READ_PLOT])
    return images


def _content(type_: str, value: Any, extra: Data) -> float | str | None:
    """Return what the store keeps in the content column; a log message of another type than text goes to `extra`."""
    if value is None:
        return None
    if type_ == SCALAR:
        if type(value) is float and math.isfinite(value):
            return value
        if not _is_finite(value):
            raise EventRefusedError(f"Invalid value {_cut(value)} (a finite number is needed)")
        return float(value)
    if type_ == VECTOR:
        if not isinstance(value, list) or not all(_is_finite(item) for item in value):
            raise EventRefusedError(f"Invalid values {_cut(value)} (a list of finite numbers is needed)")
        return _json("values", value)
    if isinstance(value, str):
        return _text(CONTENT[type_], value)
    if type_ == LOG:
        extra["msg"] = value
        return None
    raise EventRefusedError(f"Invalid {CONTENT[type_]} {_cut(value)} (a string is needed)")


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _json(what: str, value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:  # nested too deeply, a number beyond 64 bits, half a surrogate pair
        raise EventRefusedError(f"Invalid {what} ({error})") from None


def _text(field: str, value: str) -> str:
    try:
        if not value.isascii():
            value.encode()
    except UnicodeEncodeError:
        raise EventRefusedError(f"Invalid {field} {_cut(value)!a} (not Unicode)") from None
    return value


def _name(field: str, value: Any) -> str:
    if value is None:
        return ""
    if type(value) is str and len(value) <= MAX_NAME and value.isascii():
        return value
    if isinstance(value, str):
        if len(value) > MAX_NAME:
            raise EventRefusedError(f"Invalid {field} {_cut(value)} (longer than {MAX_NAME} characters)")
        return _text(field, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise EventRefusedError(f"Invalid {field} {_cut(value)} (a string is needed)")


def _integer(field: str, value: Any, low: int, high: int) -> int:
    if type(value) is int and low <= value <= high:
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        number = int(float(value)) if isinstance(value, str) and not value.lstrip("-").isdigit() else int(value)
    except (TypeError, ValueError, OverflowError):
        raise EventRefusedError(f"Invalid {field} {_cut(value)} (a whole number is needed)") from None
    if not low <= number <= high:
        raise EventRefusedError(f"Invalid {field} {_cut(value)} (outside {low}..{high})")
    return number


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def name_hash(name: str) -> str:
    """Return the key under which a metric or variant has in a task's document."""
    return md5(name.encode(), usedforsecurity=False).hexdigest()


def merge_last_metrics(last_metrics: Data, scalars: Iterable[Event]) -> Data:
    """Return `last_metrics` after one batch of scalars.

    The batch's value of a variant is that of its highest iteration, and it replaces the one before even where that
    came from a later iteration: the last report counts. Count and mean cover re-reported points as well.
    """

    def names(event: Event) -> tuple[str, str]:
        return event.metric, event.variant

    merged = dict(last_metrics)
    valued = sorted((event for event in scalars if event.content is not None), key=names)
    for metric, of_metric in groupby(valued, key=lambda event: event.metric):
        variants = merged[name_hash(metric)] = dict(merged.get(name_hash(metric), {}))
        for variant, group in groupby(of_metric, key=lambda event: event.variant):
            events = list(group)
            points = [(0 if event.iter == NO_ITER else event.iter, event.content) for event in events]
            before = variants.get(name_hash(variant), {})
            entry = {"metric": metric, "variant": variant, **_merged(before, points)}
            labels = [event.x_axis_label for event in events if event.x_axis_label is not None]
            if label := labels[-1] if labels else axis_label(before):
                entry["x_axis_label"] = label
            variants[name_hash(variant)] = entry
    return merged


def _merged(before: Data, points: list[tuple[int, Any]]) -> Data:
    latest = max(enumerate(points), key=lambda item: (item[1][0], item[0]))[1]
    first = min(points, key=lambda point: point[0])
    low = min(points, key=lambda point: point[1])
    high = max(points, key=lambda point: point[1])
    count = before.get("count", 0)
    after = {
        "value": latest[1],
        "min_value": low[1],
        "min_value_iteration": low[0],
        "max_value": high[1],
        "max_value_iteration": high[0],
        "first_value": before.get("first_value", first[1]),
        "first_value_iteration": before.get("first_value_iteration", first[0]),
        "count": count + len(points),
        "mean_value": _mean(before.get("mean_value", 0.0), count, [value for _, value in points]),
    }
    for bound, beats in (("min_value", low[1].__ge__), ("max_value", high[1].__le__)):
        if bound in before and beats(before[bound]):
            after[bound], after[f"{bound}_iteration"] = before[bound], before[f"{bound}_iteration"]
    return after


def _mean(before: float, count: int, values: list[float]) -> float:
    """Return the mean of `count` values of mean `before` and further ones."""
    size = count + len(values)
    try:
        mean = (before * count + math.fsum(values)) / size
    except OverflowError:
        mean = math.inf
    # A sum can be beyond all floats where the mean is not; dividing first costs a few digits.
    return mean if math.isfinite(mean) else before * (count / size) + math.fsum(value / size for value in values)


def last_iteration(before: int, events: Iterable[Event]) -> int:
    """Return a task's `last_iteration` after a batch; it never goes down."""
    return max([before, *(event.iter for event in events)])


def metric_stats(before: Data, events: Iterable[Event], now: str) -> Data:
    """Return a task's `metric_stats` after a batch: the last batch's metrics replace those before."""
    stats: Data = {}
    for event in events:
        if event.type in (PLOT, IMAGE, VECTOR):
            entry = stats.setdefault(name_hash(event.metric), {"metric": event.metric, "event_stats_by_type": {}})
            entry["event_stats_by_type"][event.type] = {"last_update": now}
    return stats or before


def bucket_width(first: int, last: int, samples: int) -> int:
    """Return how many keys share one point when `first`..`last` is thinned to about `samples` points."""
    return max(1, math.ceil((last - first + 1) / samples))
