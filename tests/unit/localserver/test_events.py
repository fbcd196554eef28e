"""Events: which are refused, what a batch does to `last_metrics`, how wide a bucket is, what a scroll id holds."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import events as event_rules
from clearml_localserver.rules.events import (
    NO_ITER,
    SINGLE,
    Event,
    EventRefusedError,
    bucket_width,
    last_iteration,
    merge_last_metrics,
    metric_stats,
    name_hash,
    parse_event,
    plot_source_urls,
)
from clearml_localserver.rules.scroll import decode_scroll, encode_scroll
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_795_407_805_293
TASK = "a1cb3e79552148258f285219c2883459"


def parsed(type_: str = "training_stats_scalar", **fields: Any) -> Event:
    return parse_event({"type": type_, "task": TASK, **fields}, "", NOW)


def test_type_and_task_are_enough() -> None:
    event = parse_event({"type": "log", "task": TASK}, "host:1", NOW)
    assert (event.owner, event.metric, event.variant, event.iter, event.timestamp) == (TASK, "", "", NO_ITER, NOW)
    assert orjson.loads(event.extra) == {"model_event": False, "worker": "host:1"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"task": TASK}, "Event must have a 'type' field"),
        ({"type": None, "task": TASK}, "Event must have a 'type' field"),
        ({"events": []}, "Event must have a 'type' field"),
        ({"type": "foo", "task": TASK}, "Invalid event type foo"),
        ({"type": "log"}, "Event must have a 'task' field"),
        ({"type": "log", "task": None}, "Event must have a 'task' field"),
        ({"type": "log", "task": 7}, "Invalid task id 7"),
        ({"type": "plot", "task": 7, "model_event": True}, "Invalid model id 7"),
    ],
)
def test_an_event_needs_a_type_and_an_owner(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(EventRefusedError) as refused:
        parse_event(raw, "", NOW)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("type_", "fields", "message"),
    [
        ("training_stats_scalar", {"value": "0.5"}, "Invalid value 0.5 (a finite number is needed)"),
        ("training_stats_scalar", {"value": True}, "Invalid value True (a finite number is needed)"),
        ("training_stats_scalar", {"value": float("nan")}, "Invalid value nan (a finite number is needed)"),
        ("training_stats_scalar", {"value": float("inf")}, "Invalid value inf (a finite number is needed)"),
        ("training_stats_scalar", {"iter": "zz"}, "Invalid iter zz (a whole number is needed)"),
        ("training_stats_scalar", {"iter": True}, "Invalid iter True (a whole number is needed)"),
        ("training_stats_scalar", {"iter": 2**60}, f"Invalid iter {2**60} (outside {SINGLE}..{2**53})"),
        ("log", {"timestamp": "2026-11-23"}, "Invalid timestamp 2026-11-23 (a whole number is needed)"),
        ("log", {"metric": []}, "Invalid metric [] (a string is needed)"),
        ("plot", {"plot_str": {"data": []}}, "Invalid plot_str {'data': []} (a string is needed)"),
        ("training_debug_image", {"url": 1}, "Invalid url 1 (a string is needed)"),
        ("training_stats_vector", {"values": [1, "x"]}, "Invalid values [1, 'x'] (a list of finite numbers is needed)"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_type_is_refused(type_: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EventRefusedError) as refused:
        parsed(type_, **fields)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("given", "stored"), [("7", 7), (2.7, 2), ("2.7", 2), (-5, -5), (0, 0), (SINGLE, SINGLE), (None, NO_ITER)]
)
def test_iterations_become_integers(given: Any, stored: int) -> None:
    assert parsed(iter=given).iter == stored


@pytest.mark.parametrize(("given", "stored"), [("1795", 1795), (-5, -5), (3.9, 3), (None, NOW)])
def test_timestamps_become_integers(given: Any, stored: int) -> None:
    assert parsed(timestamp=given).timestamp == stored


def test_unknown_fields_and_odd_messages_are_kept() -> None:
    event = parsed("log", msg=5, level="odd", mine={"a": [1]}, allow_locked=True)
    assert (event.content, orjson.loads(event.extra)) == (
        None,
        {"level": "odd", "mine": {"a": [1]}, "model_event": False, "worker": "<unknown>", "msg": 5},
    )


@pytest.mark.parametrize(
    ("plot", "urls"),
    [
        ('{"layout": {"images": [{"source": "http://h/a.png"}, {"source": "data:image/png;base64,xx"}]}}', ["http://h/a.png"]),
        ('{"layout": {"images": [{"x": 1}, {"source": 5}]}}', []),
        ('{"layout": {"images": 7}}', []),
        ('{"images": []}', []),
        ('not "images" JSON', []),
    ],
)  # fmt: skip
def test_the_pictures_of_a_plot(plot: str, urls: list[str]) -> None:
    assert plot_source_urls(plot) == urls


@pytest.mark.parametrize(
    ("images", "urls"),
    [
        ('[{"source":"http://h/a.png"},{"source":"data:x"}]', ["http://h/a.png"]),
        ('[{"source":"http://h/' + "a" * 60 + '.png"}]', []),
        ("7", []),
        ("[", []),
    ],
)
def test_the_pictures_of_a_plot_that_is_too_long_to_be_read_whole(
    monkeypatch: pytest.MonkeyPatch, images: str, urls: list[str]
) -> None:
    monkeypatch.setattr(event_rules, "MAX_READ_PLOT", 60)
    values = "1," * 100
    plot = f'{{"data":[{{"name":"\\"images\\": [","y":[{values}1]}}],"layout":{{"images" : {images}}}}}'
    assert plot_source_urls(plot) == urls
    assert plot_source_urls(plot.replace('"images" :', '"shapes":')) == []


def scalars(*points: tuple[Any, Any]) -> list[Event]:
    return [parsed(metric="loss", variant="train", iter=iteration, value=value) for iteration, value in points]


def merged(*batches: list[Event]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for batch in batches:
        state = merge_last_metrics(state, batch)
    return state[name_hash("loss")][name_hash("train")]


def test_last_metrics_of_one_batch() -> None:
    assert merged(scalars((2, 5.0), (0, 1.0), (1, 9.0))) == {
        "metric": "loss",
        "variant": "train",
        "value": 5.0,
        "min_value": 1.0,
        "min_value_iteration": 0,
        "max_value": 9.0,
        "max_value_iteration": 1,
        "first_value": 1.0,
        "first_value_iteration": 0,
        "count": 3,
        "mean_value": 5.0,
    }


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        # the last batch's value counts, though its iteration is lower
        ([[(5, 1.0)], [(2, 7.0)]], {"value": 7.0, "max_value": 7.0, "max_value_iteration": 2, "min_value": 1.0}),
        # an iteration reported again counts again, and the first report stays the first
        ([[(0, 1.0)], [(0, 3.0)]], {"value": 3.0, "count": 2, "mean_value": 2.0, "first_value": 1.0}),
        # equal extremes keep their first iteration
        ([[(0, 1.0)], [(1, 1.0)]], {"min_value_iteration": 0, "max_value_iteration": 0}),
        # the later of two reports of one iteration in a batch
        ([[(3, 1.0), (3, 2.0)]], {"value": 2.0, "count": 2}),
        # no iteration is 0 here; a null value is nothing
        ([[(None, 4.0), (7, None)]], {"value": 4.0, "first_value_iteration": 0, "count": 1}),
        ([[(SINGLE, 0.9)]], {"value": 0.9, "first_value_iteration": SINGLE}),
    ],
)
def test_last_metrics_over_batches(batches: list[list[tuple[Any, Any]]], expected: dict[str, Any]) -> None:
    result = merged(*(scalars(*points) for points in batches))
    assert {name: result[name] for name in expected} == expected


@given(st.lists(st.lists(st.tuples(st.integers(-5, 50), st.floats(-1e6, 1e6)), min_size=1), min_size=1))
def test_last_metrics_cover_every_reported_point(batches: list[list[tuple[int, float]]]) -> None:
    result = merged(*(scalars(*points) for points in batches))
    values = [value for points in batches for _, value in points]
    assert (result["count"], result["min_value"], result["max_value"]) == (len(values), min(values), max(values))
    assert result["mean_value"] == pytest.approx(sum(values) / len(values), abs=1e-3)


@pytest.mark.parametrize("name", ["", "ünï", "a.b$c", "v/é"])
def test_names_are_keyed_by_their_md5(name: str) -> None:
    state = merge_last_metrics({}, [parsed(metric=name, variant=name, value=1)])
    assert state[name_hash(name)][name_hash(name)]["metric"] == name


def test_a_merge_leaves_what_it_was_given_alone() -> None:
    before = merge_last_metrics({}, scalars((0, 1.0)))
    copy = orjson.dumps(before)
    merge_last_metrics(before, scalars((1, 2.0)))
    assert orjson.dumps(before) == copy


def test_the_last_iteration_never_goes_down() -> None:
    assert last_iteration(3, scalars((1, 1.0), (-5, 1.0), (None, 1.0), (SINGLE, 1.0))) == 3
    assert last_iteration(3, [parsed("plot", iter=9), parsed("log")]) == 9


def test_metric_stats_are_those_of_the_last_batch_that_has_any() -> None:
    stats = metric_stats({"old": {}}, [parsed("plot", metric="A"), parsed("training_debug_image", metric="A")], "now")
    both = {"plot": {"last_update": "now"}, "training_debug_image": {"last_update": "now"}}
    assert stats == {name_hash("A"): {"metric": "A", "event_stats_by_type": both}}
    assert metric_stats(stats, [parsed("log"), parsed(metric="B")], "later") == stats


@pytest.mark.parametrize(
    ("first", "last", "samples", "width"),
    [(0, 19_999, 2000, 10), (0, 19_999, 100, 200), (0, 19_999, 6000, 4), (1003, 1102, 10, 10), (5, 5, 1, 1)],
)
def test_bucket_width(first: int, last: int, samples: int, width: int) -> None:
    assert bucket_width(first, last, samples) == width


def test_a_scroll_id_gives_back_its_position() -> None:
    text = encode_scroll("events", 7, None, {"a": [1, 2]})
    assert decode_scroll(text, "events", int, type(None), dict) == [7, None, {"a": [1, 2]}]


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "",
        "é",
        encode_scroll("other", 7),
        encode_scroll("events"),
        encode_scroll("events", "7"),
        encode_scroll("events", 7, 8),
        encode_scroll("events", 2**63),
        urlsafe_b64encode(b'{"a": 1}').decode(),
        urlsafe_b64encode(b"[").decode(),
        urlsafe_b64encode(b"[]").decode(),
    ],
)
def test_a_foreign_or_damaged_scroll_id_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode_scroll(text, "events", int)
    assert (refused.value.code, refused.value.subcode) == (400, 1104)
    assert refused.value.msg == f"Invalid scroll id: scroll_id={text}"
