"""Scalars: curves, thinning, raw points, the latest and single values."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.rules.events import SINGLE

from tests.api_client import ApiClient
from tests.integration.events.reporter import T0, UNKNOWN, Reporter

pytestmark = pytest.mark.integration


@pytest.fixture
def curves(task: Reporter) -> Reporter:
    task.scalars("loss", "train", {0: 1.0, 1: 30.0, 2: None})
    task.scalars("loss", "val", {1: 9.0})
    task.scalars("acc", "x", {3: 0.5})
    task.scalars("a.b$c", "ünï", {-5: 1.0})
    task.scalars("Summary", "f1", {SINGLE: 0.9}, start=T0 - SINGLE)
    task.add({"type": "training_stats_scalar", "metric": "no iter", "value": 1.0})
    return task


def test_curves(curves: Reporter) -> None:
    assert curves("scalar_metrics_iter_histogram") == {
        "a.b$c": {"ünï": {"name": "ünï", "x": [-5], "y": [1.0]}},
        "acc": {"x": {"name": "x", "x": [3], "y": [0.5]}},
        "loss": {
            "train": {"name": "train", "x": [0, 1, 2], "y": [1.0, 30.0, None]},
            "val": {"name": "val", "x": [1], "y": [9.0]},
        },
    }


@pytest.mark.parametrize(
    ("key", "x"),
    [
        ("iter", [0, 1, 2]),
        ("timestamp", [T0, T0 + 1, T0 + 2]),
        ("iso_time", ["2026-11-23T04:20:00.000Z", "2026-11-23T04:20:00.001Z", "2026-11-23T04:20:00.002Z"]),
    ],
)
def test_the_axis_of_a_curve(curves: Reporter, key: str, x: list[Any]) -> None:
    selection = [{"metric": "loss", "variants": ["train"]}]
    reply = curves("scalar_metrics_iter_histogram", key=key, metrics=selection)
    assert list(reply) == ["loss"]
    assert reply["loss"]["train"]["x"] == x


def test_a_point_reported_again_replaces_the_one_before(task: Reporter) -> None:
    task.scalars("loss", "train", {0: 1.0, 1: 2.0})
    task.scalars("loss", "train", {1: 5.0})
    assert task("scalar_metrics_iter_histogram")["loss"]["train"]["y"] == [1.0, 5.0]


@pytest.mark.parametrize("key", ["iter", "timestamp"])
@pytest.mark.parametrize(
    ("first", "last", "samples", "starts", "width"),
    [
        (0, 19_999, None, range(0, 20_000, 10), 10),
        (0, 19_999, 100, range(0, 20_000, 200), 200),
        (0, 19_999, 6000, range(0, 20_000, 4), 4),
        (1003, 1102, 10, range(1000, 1101, 10), 10),
        (-105, 94, 20, range(-110, 91, 10), 10),
    ],
)
def test_a_long_curve_is_thinned_to_means_of_equal_buckets(
    task: Reporter, key: str, first: int, last: int, samples: int | None, starts: range, width: int
) -> None:
    task.scalars("loss", "train", {i: float(i) for i in range(first, last + 1)}, start=0)
    request = {"key": key, **({"samples": samples} if samples else {})}
    curve = task("scalar_metrics_iter_histogram", **request)["loss"]["train"]
    assert curve["x"] == list(starts)
    means = [(max(start, first) + min(start + width - 1, last)) / 2 for start in starts]
    assert curve["y"] == pytest.approx(means)


def test_curves_at_the_lowest_iterations_leave_single_values_out(task: Reporter) -> None:
    for count, metric in ((20, "few"), (60, "crowded")):
        task.scalars(metric, "v", {SINGLE: 1000.0} | {SINGLE + 1 + i: 1.0 for i in range(count)}, start=0)
        curve = task("scalar_metrics_iter_histogram", samples=10, metrics=[{"metric": metric}])[metric]["v"]
        assert set(curve["y"]) == {1.0}


@pytest.mark.parametrize("key", ["iter", "timestamp"])
@pytest.mark.parametrize("samples", [10, 400])
def test_the_envelope_of_a_thinned_curve_keeps_its_peaks(task: Reporter, key: str, samples: int) -> None:
    """Both where buckets are looked up one by one and where they are counted in one pass."""
    task.scalars("loss", "train", {i: 1000.0 if i == 777 else -5.0 if i == 11 else 1.0 for i in range(1000)}, start=0)
    curve = task("scalar_metrics_iter_histogram", key=key, samples=samples, envelope=True)["loss"]["train"]
    assert (min(curve["low"]), max(curve["high"])) == (-5.0, 1000.0)
    assert len(curve["x"]) == len(curve["low"]) == len(curve["high"])
    assert max(curve["y"]) < 1000.0
    assert "low" not in task("scalar_metrics_iter_histogram", key=key, samples=samples)["loss"]["train"]
    assert "low" not in task("scalar_metrics_iter_histogram", key=key, samples=2000, envelope=True)["loss"]["train"]


@pytest.mark.parametrize("key", ["iter", "timestamp"])
def test_thinning_of_a_spike_and_of_gaps(task: Reporter, key: str) -> None:
    """The figures that a genuine server gave: raw only below `samples`, means, buckets at multiples of the width."""
    points = dict.fromkeys([*range(10), 1000, 1001, 5000], 0.0) | {1000: 1000.0, 1001: 1001.0, 5000: 5000.0}
    task.scalars("M", "V", {i: value or float(i) for i, value in points.items()}, start=0)

    def x_and_y(samples: int) -> tuple[list[int], list[float]]:
        curve = task("scalar_metrics_iter_histogram", samples=samples, key=key)["M"]["V"]
        return curve["x"], curve["y"]

    assert x_and_y(12) == ([0, 834, 4587], [4.5, 1000.5, 5000.0])
    assert x_and_y(13) == ([0, 770, 4620], [4.5, 1000.5, 5000.0])
    assert x_and_y(5) == ([0, 1001, 4004], [95.0, 1001.0, 5000.0])
    assert x_and_y(14) == (list(points), [float(i) for i in points])


def test_each_variant_is_thinned_by_its_own_range_and_count(task: Reporter) -> None:
    task.scalars("A", "V", {i: float(i) for i in range(100)})
    task.scalars("A", "W", {50 * i: float(i) for i in range(100)}, start=0)
    task.scalars("A", "X", {1000 * i: float(i) for i in range(9)}, start=0)
    curves = task("scalar_metrics_iter_histogram", samples=10)["A"]
    assert (curves["V"]["x"], curves["V"]["y"]) == ([*range(0, 100, 10)], [i + 4.5 for i in range(0, 100, 10)])
    assert curves["W"]["x"] == [*range(0, 4951, 496)][:10]
    assert curves["X"]["x"] == [1000 * i for i in range(9)]


def test_empty_buckets_are_left_out(task: Reporter) -> None:
    task.scalars("loss", "train", {0: 1.0, 1: 3.0, 999_999: 5.0})
    curve = task("scalar_metrics_iter_histogram", samples=2)["loss"]["train"]
    assert (curve["x"], curve["y"]) == ([0, 500_000], [2.0, 5.0])


@pytest.mark.parametrize("samples", [0, -1, 6001])
def test_how_many_points_may_be_asked_for(task: Reporter, samples: int) -> None:
    assert task.refused("scalar_metrics_iter_histogram", samples=samples) == (400, 12)


def test_curves_of_several_tasks(curves: Reporter, api: ApiClient) -> None:
    other = Reporter(api, api("tasks.create", name="other", type="training")["id"])
    other.scalars("loss", "train", {0: 7.0})
    both = [curves.id, other.id]
    name = "events.multi_task_scalar_metrics_iter_histogram"
    assert api(name, tasks=both, metrics=[{"metric": "loss", "variants": ["train"]}]) == {
        "metrics": {
            "loss": {
                "train": {
                    curves.id: {"name": "reported", "x": [0, 1, 2], "y": [1.0, 30.0, None]},
                    other.id: {"name": "other", "x": [0], "y": [7.0]},
                }
            }
        }
    }
    assert api.send(name, tasks=[]).error[:2] == (400, 12)
    assert api.send(name, tasks=[other.id] * 101).error[:2] == (400, 12)
    assert api.send(name, tasks=other.id).error[:2] == (400, 12)
    missing = api.send(name, tasks=[other.id, UNKNOWN, "nope"])
    assert missing.error == (400, 101, f"Invalid task id: ids=({UNKNOWN}, nope)")


def test_raw_points_in_pages(curves: Reporter) -> None:
    request = {"metric": {"metric": "loss"}, "batch_size": 2}
    first = curves("scalar_metrics_iter_raw", **request, count_total=True)
    assert (first["returned"], first["total"]) == (3, 4)
    assert first["variants"] == {"train": {"y": [1.0, 30.0], "iter": [0, 1]}, "val": {"y": [9.0], "iter": [1]}}
    second = curves("scalar_metrics_iter_raw", **request, scroll_id=first["scroll_id"])
    assert (second["variants"], second["total"]) == ({"train": {"y": [None], "iter": [2]}}, None)
    third = curves("scalar_metrics_iter_raw", **request, scroll_id=second["scroll_id"])
    assert (third["returned"], third["variants"]) == (0, {})
    by_time = curves("scalar_metrics_iter_raw", **request, key="timestamp")
    assert by_time["variants"]["val"] == {"y": [9.0], "timestamp": [T0 + 1]}
    assert curves.refused("scalar_metrics_iter_raw", metric="loss") == (400, 12)
    assert curves.refused("scalar_metrics_iter_raw", **request, scroll_id="x") == (400, 1104)


def test_the_latest_values(curves: Reporter) -> None:
    curves.scalars("long", "v", {i: float(i) for i in range(100)})
    reply = curves("get_task_latest_scalar_values")
    by_name = {metric["name"]: metric["variants"] for metric in reply["metrics"]}
    assert by_name["long"] == [{"name": "v", "last_value": 99.0, "last_10_value": 94.5}]
    assert by_name["loss"][0] == {"name": "train", "last_value": None, "last_10_value": 15.5}
    assert list(by_name) == ["a.b$c", "acc", "long", "loss"]
    assert (reply["last_iter"], reply["name"], reply["status"]) == (99, None, "created")
    assert reply["last_timestamp"] == T0 + 99


def test_single_values(curves: Reporter, api: ApiClient) -> None:
    other = api("tasks.create", name="without", type="training")["id"]
    assert api("events.get_task_single_value_metrics", tasks=[curves.id, other]) == {
        "tasks": [
            {
                "task": curves.id,
                "task_name": "reported",
                "values": [{"metric": "Summary", "variant": "f1", "value": 0.9, "timestamp": T0}],
            }
        ]
    }


def test_names(mixed: Reporter, api: ApiClient) -> None:
    one = {"tasks": [mixed.id]}
    assert api("events.get_task_metrics", **one, event_type="training_stats_scalar") == {
        "metrics": [{"task": mixed.id, "metrics": ["loss", "no iter"]}]
    }
    assert api.send("events.get_task_metrics", **one).error[:2] == (400, 12)
    assert api.send("events.get_task_metrics", **one, event_type="zz").error[:2] == (400, 12)
    assert api("events.get_multi_task_metrics", **one, event_type="plot") == {
        "metrics": [{"metric": "fig", "variants": ["s"]}]
    }
    assert mixed("get_scalar_metrics_and_variants") == {"metrics": {"loss": ["train", "val"], "no iter": [""]}}
    assert mixed("get_vector_metrics_and_variants") == {"metrics": []}


def test_vectors(task: Reporter) -> None:
    for iteration in (1, 0):
        vector = {"type": "training_stats_vector", "metric": "h", "variant": "v", "iter": iteration}
        task.add(vector | {"values": [iteration, iteration + 1]})
    reply = {"metric": "h", "variant": "v", "vectors": [[0, 1], [1, 2]], "iterations": [0, 1]}
    assert task("vector_metrics_iter_histogram", metric="h", variant="v") == reply
    empty = task("vector_metrics_iter_histogram", metric="h", variant="x")
    assert (empty["vectors"], empty["iterations"]) == ([], [])
    assert task.refused("vector_metrics_iter_histogram") == (400, 12)
