"""Events of every shape: what can be stored is stored, the rest is counted and named, and neighbours lose nothing."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.rules.events import CONTENT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api_client import ApiClient
from tests.integration.events.reporter import Reporter, messages

pytestmark = pytest.mark.integration

texts = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=20)
hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(
        ["", "x" * 100_000, "0" * 5000, "1e999", "-1", "2026-11-27", "a\0b", "http://[bad", "{", "{}", "log"]
    )
    | st.sampled_from([0, -1, 2**31, -(2**31), -(2**31) - 1, 2**53 + 1, 2**63, 2**64, 10**30, 10**400, -(10**30)])
    | st.floats()
    | texts,
    lambda items: st.lists(items, max_size=3) | st.dictionaries(texts, items, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "type", "task", "metric", "variant", "iter", "timestamp", "worker", "level", "key", "allow_locked", "model_event",
    "model", "x_axis_label", "source_urls", "plot_len", "@timestamp", "_id", *CONTENT.values(),
]  # fmt: skip
bad_events = st.builds(
    lambda type_, fields: {"type": type_, "metric": "hostile", "variant": "v", "iter": 1} | fields,
    st.sampled_from(list(CONTENT)),
    st.dictionaries(st.sampled_from(FIELDS), hostile, min_size=1, max_size=3),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(bad_events, min_size=1, max_size=10))
def test_good_events_are_stored_whatever_stands_beside_them(task: Reporter, others: list[dict[str, Any]]) -> None:
    mark = uuid4().hex
    log = {"type": "log", "metric": mark, "msg": f"line {mark}"}
    scalar = {"type": "training_stats_scalar", "metric": mark, "variant": "v", "iter": 3, "value": 0.5}
    status, reply = task.send(log, *others, scalar)
    assert status == 200, reply
    data = reply["data"]
    assert data["added"] + data["errors"] == len(others) + 2
    assert sum(data["errors_info"].values()) == data["errors"]
    assert messages(task("get_task_log", metrics=[{"metric": mark}])) == [log["msg"]]
    assert task("scalar_metrics_iter_histogram", metrics=[{"metric": mark}])[mark]["v"]["y"] == [0.5]
    for endpoint in ("get_task_events", "get_task_plots", "get_task_latest_scalar_values", "get_task_log"):
        task(endpoint)
    assert task.document["id"] == task.id


@pytest.mark.parametrize(
    ("event", "refusal"),
    [
        ({"type": ["log"]}, "Invalid event type ['log']"),
        ({"type": "log", "task": ["x" * 1000]}, "Invalid task id ['xxxxxxxxxxxx...xxxxxxxxxxxxx']"),
        ({"type": "training_stats_scalar", "value": float("nan")}, "Invalid value nan (a finite number is needed)"),
        ({"type": "training_stats_scalar", "value": float("-inf")}, "Invalid value -inf (a finite number is needed)"),
        ({"type": "training_stats_vector", "values": [1, float("nan")]}, "Invalid values [1, nan] (a list of finite"),
        ({"type": "training_stats_scalar", "iter": 2**70}, "Invalid iter 1.1805916207174113e+21 (outside"),
        ({"type": "log", "timestamp": -(2**70)}, "Invalid timestamp -1.1805916207174113e+21 (outside"),
        ({"type": "log", "timestamp": "yesterday"}, "Invalid timestamp yesterday (a whole number is needed)"),
        ({"type": "plot", "metric": "m" * 2**20}, f"Invalid metric {'m' * 37}... (longer than 4096 characters)"),
        ({"type": "plot", "variant": {}}, "Invalid variant {} (a string is needed)"),
        ({"type": "training_debug_image", "url": {"a": 1}}, "Invalid url {'a': 1} (a string is needed)"),
        ({"type": "training_debug_image", "key": []}, "Invalid key [] (a string is needed)"),
        ({"type": "plot", "plot_str": {"data": []}}, "Invalid plot_str {'data': []} (a string is needed)"),
        ({"type": "log", "model_event": True}, "Invalid event type log (a model has no console)"),
    ],
)
def test_what_cannot_be_stored_is_named(task: Reporter, event: dict[str, Any], refusal: str) -> None:
    status, reply = task.send({"type": "log", "msg": "before"}, event, {"type": "log", "msg": "after"})
    assert (status, reply["data"]["added"], reply["data"]["errors"]) == (200, 2, 1)
    (named,) = reply["data"]["errors_info"]
    assert named.startswith(refusal)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("field", "reason"),
    [(deep(200), "nested more than 100 levels"), ([0] * 200_000, "more than 100000 values")],
    ids=["deep", "large"],
)
def test_a_line_that_is_too_much_costs_no_other(task: Reporter, field: Any, reason: str) -> None:
    status, reply = task.send({"type": "log", "msg": "a"}, {"type": "log", "x": field}, {"type": "log", "msg": "b"})
    assert (status, reply["data"]["added"], reply["data"]["errors"]) == (200, 2, 1)
    assert reason in next(iter(reply["data"]["errors_info"]))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "log", "msg": "caf\udce9.py", "level": "\ud83d"},
        {"type": "log", "msg": {"a": [1, None, float("nan")]}},
        {"type": "log", "msg": "x" * 2**20, "metric": "a\0b"},
        {"type": "plot", "metric": "", "variant": "", "plot_str": "not JSON"},
        {"type": "plot", "plot_str": "{}", "source_urls": 5, "plot_len": "x", "@timestamp": {}},
        {"type": "training_debug_image", "url": "http://[bad"},
        {"type": "training_stats_scalar", "value": 1, "iter": "7", "timestamp": "-5.5"},
    ],
)
def test_what_can_be_stored_is(task: Reporter, api: ApiClient, event: dict[str, Any]) -> None:
    task.add(event)
    (stored,) = task("get_task_events", event_type=event["type"])["events"]
    assert stored["type"] == event["type"]
    api("tasks.delete", task=task.id, force=True, return_file_urls=True)


def test_a_lone_surrogate_costs_its_own_character_only(task: Reporter, api: ApiClient) -> None:
    """Python reads a file name that is not UTF-8 as half characters, and the SDK sends these as JSON escapes."""
    task.add({"type": "log", "msg": "cannot open caf\udce9.py"}, {"type": "log", "msg": "next line"})
    assert messages(task("get_task_log", order="asc")) == ["cannot open caf\ufffd.py", "next line"]
    body = json.dumps({"task": task.id, "comment": "caf\udce9"})
    assert api.http.post("/v2.23/tasks.edit", content=body, headers={"Content-Type": "application/json"}).is_success
    assert task.document["comment"] == "caf\ufffd"


def test_the_greatest_numbers_have_a_mean(task: Reporter) -> None:
    task.scalars("loss", "train", {0: 1e308, 1: 1.1e308, 2: 1.2e308})
    task.scalars("loss", "train", {3: 1.5e308})
    ((metric,),) = [variants.values() for variants in task.document["last_metrics"].values()]
    assert metric["mean_value"] == pytest.approx(1.2e308)
    assert metric["max_value"] == 1.5e308
    assert task("get_task_latest_scalar_values")["metrics"][0]["variants"][0]["last_10_value"] == pytest.approx(1.2e308)
    assert task("scalar_metrics_iter_histogram", samples=2)["loss"]["train"]["x"] == [0, 2]


NEVER = {"metric": "nobody reported it"}


@pytest.mark.parametrize(
    ("endpoint", "request_", "answer"),
    [
        ("scalar_metrics_iter_raw", {"metric": NEVER}, {"returned": 0, "variants": {}}),
        ("scalar_metrics_iter_raw", {"metric": NEVER, "key": "timestamp", "count_total": True}, {"total": 0}),
        ("get_scalar_metric_data", NEVER, {"events": [], "total": 0}),
        ("get_task_events", {"event_type": "plot"}, {"events": [], "total": 0}),
        ("get_task_plots", {"metrics": [NEVER]}, {"plots": []}),
        ("get_task_log", {"metrics": [NEVER]}, {"events": [], "total": 0}),
        ("get_plot_sample", NEVER, {"events": [], "min_iteration": None, "max_iteration": None}),
        ("get_debug_image_sample", NEVER | {"variant": "v"}, {"event": None, "min_iteration": None}),
        ("vector_metrics_iter_histogram", NEVER | {"variant": "v"}, {"vectors": [], "iterations": []}),
        ("clear_task_log", {"include_metrics": ["none"]}, {"deleted": 0}),
    ],
)
def test_what_nobody_reported_is_empty(
    task: Reporter, endpoint: str, request_: dict[str, Any], answer: dict[str, Any]
) -> None:
    reply = task(endpoint, **request_)
    assert answer.items() <= reply.items()


SCROLLS = ["", "x", "\udcff\0", "W10", "WzFd", "e30", "[" * 10_000, "WyJldmVudHMiLDEsMV0", "bnVsbA"]


@pytest.mark.parametrize(
    ("endpoint", "request_"),
    [
        ("get_task_events", {}),
        ("get_scalar_metric_data", {"metric": "m"}),
        ("scalar_metrics_iter_raw", {"metric": {"metric": "m"}}),
        ("get_multi_task_plots", {}),
        ("plots", {}),
        ("debug_images", {}),
        ("get_plot_sample", {"metric": "m"}),
        ("get_debug_image_sample", {"metric": "m", "variant": "v"}),
        ("next_plot_sample", {}),
        ("next_debug_image_sample", {}),
    ],
)
def test_garbage_as_a_scroll_id(task: Reporter, endpoint: str, request_: dict[str, Any]) -> None:
    request = {"task": task.id, "tasks": [task.id], "metrics": [{"task": task.id, "metric": "m"}]}
    for scroll in SCROLLS:
        body = json.dumps(request | request_ | {"scroll_id": scroll})
        reply = task.api.http.post(f"/v2.23/events.{endpoint}", content=body)
        assert (reply.status_code, reply.json()["meta"]["result_subcode"]) in ((200, 0), (400, 1104)), scroll
