"""The `events` service over HTTP: what is stored, what it does to the task, and every way to read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localserver.pytest_plugin import ClearmlServer
from localserver.rules.events import SINGLE, name_hash
from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

UNKNOWN = "0" * 32
T0 = 1_795_407_600_000


class Reporter:
    """A task (or model) and what is reported for it."""

    def __init__(self, api: ApiClient, id_: str, **common: Any) -> None:
        self.api = api
        self.id = id_
        self.common = {"task": id_, **common}

    def send(self, *events: dict[str, Any], method: str = "POST") -> tuple[int, dict[str, Any]]:
        lines = "\n".join(json.dumps(self.common | event) for event in events)
        headers = {"Content-Type": "application/json-lines", "X-ClearML-Worker": "host:1"}
        reply = self.api.http.request(method, "/v2.23/events.add_batch", content=lines, headers=headers)
        return reply.status_code, reply.json()

    def add(self, *events: dict[str, Any]) -> None:
        status, reply = self.send(*events)
        assert (status, reply["data"]["added"], reply["data"]["errors"]) == (200, len(events), 0), reply

    def scalars(self, metric: str, variant: str, values: dict[int, float | None], start: int = T0) -> None:
        self.add(
            *(
                {"type": "training_stats_scalar", "metric": metric, "variant": variant, "iter": iteration}
                | {"value": value, "timestamp": start + iteration}
                for iteration, value in values.items()
            )
        )

    def plot(self, metric: str, variant: str, iteration: int, text: str = "{}") -> None:
        self.add({"type": "plot", "metric": metric, "variant": variant, "iter": iteration, "plot_str": text})

    def image(self, metric: str, variant: str, iteration: int, url: str) -> None:
        event = {"type": "training_debug_image", "metric": metric, "variant": variant, "iter": iteration}
        self.add(event | {"url": url, "key": url.rpartition("/")[2]})

    def __call__(self, endpoint: str, /, _version: str = "v2.23", **data: Any) -> dict[str, Any]:
        return self.api(f"events.{endpoint}", _version, task=self.id, **data)

    def refused(self, endpoint: str, /, **data: Any) -> tuple[int, int]:
        return self.api.send(f"events.{endpoint}", **{"task": self.id, **data}).error[:2]

    @property
    def document(self) -> dict[str, Any]:
        return self.api("tasks.get_by_id", task=self.id)["task"]


@pytest.fixture
def task(api: ApiClient) -> Reporter:
    return Reporter(api, api("tasks.create", name="reported", type="training")["id"])


# Writing


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_batch_keeps_its_good_events_and_counts_the_bad(task: Reporter, method: str) -> None:
    status, reply = task.send(
        {"type": "log", "msg": "good"},
        {"type": "foo"},
        {"type": "foo"},
        {"type": "log", "task": UNKNOWN},
        {"type": "training_stats_scalar", "value": "NaN"},
        method=method,
    )
    assert status == 200
    assert reply["data"] == {
        "added": 1,
        "errors": 4,
        "errors_info": {
            "Invalid event type foo": 2,
            f"Invalid task id {UNKNOWN}": 1,
            "Invalid value NaN (a finite number is needed)": 1,
        },
    }


def test_a_batch_without_a_good_event_is_refused(task: Reporter) -> None:
    status, reply = task.send({"type": "foo"}, {"type": "foo"})
    assert (status, reply["meta"]["result_subcode"]) == (400, 131)
    assert reply["meta"]["result_msg"] == "Events not added: Invalid event type foo=2"


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        ("", "application/json-lines", (400, 17)),
        ("", "application/json", (400, 17)),
        ("nonsense", "application/json-lines", (400, 0)),
        ('{"type": "log"}\n\n{"type": "log"}', "application/json-lines", (400, 0)),
        ("[]", "application/json-lines", (400, 0)),
        ('{"value": NaN}', "application/json-lines", (400, 0)),
        ('{"events": []}', "application/json", (400, 131)),
        ('{"type": "log"}\n{"type": "log"}', "application/json", (400, 0)),
    ],
)
def test_malformed_batches(api: ApiClient, body: str, content_type: str, error: tuple[int, int]) -> None:
    reply = api.http.post("/events.add_batch", content=body, headers={"Content-Type": content_type})
    assert (reply.status_code, reply.json()["meta"]["result_subcode"]) == error


def test_add_takes_the_bare_event(task: Reporter, api: ApiClient) -> None:
    reply = api("events.add", type="log", task=task.id, msg="one")
    assert reply == {"added": 1, "errors": 0, "errors_info": {}}
    assert api.send("events.add", event={"type": "log", "task": task.id}).error[:2] == (400, 131)


def test_a_published_task_takes_events_only_with_allow_locked(task: Reporter, api: ApiClient) -> None:
    api("tasks.publish", task=task.id, force=True)
    status, reply = task.send({"type": "log"})
    assert (status, reply["meta"]["result_msg"]) == (400, f"Events not added: Invalid task id {task.id}=1")
    task.add({"type": "log", "allow_locked": True})
    assert task.refused("clear_task_log") == (400, 101)
    assert task.refused("delete_for_task") == (400, 101)
    assert task("delete_for_task", allow_locked=True) == {"deleted": 1}


def test_models_have_events_of_their_own(api: ApiClient) -> None:
    draft, ready = (
        api("models.create", name="reported", uri="file:///m", ready=ready)["id"] for ready in (False, True)
    )
    model = Reporter(api, draft, model_event=True)
    model.scalars("loss", "train", {0: 1.0})
    assert model("scalar_metrics_iter_histogram", model_events=True)["loss"]["train"]["y"] == [1.0]
    assert model.refused("scalar_metrics_iter_histogram") == (400, 101)
    status, reply = Reporter(api, ready, model_event=True).send({"type": "plot"})
    assert (status, reply["meta"]["result_msg"]) == (400, f"Events not added: Invalid model id {ready}=1")
    assert api.send("events.delete_for_model", model=ready).error[:2] == (400, 201)
    assert api("events.delete_for_model", model=draft) == {"deleted": 1}


# What a batch does to the task


def test_a_batch_changes_the_tasks_document(task: Reporter) -> None:
    before = task.document
    task.scalars("loss", "train", {0: 4.0, 1: 2.0})
    task.plot("fig", "s", 7)
    task.add({"type": "training_stats_scalar", "metric": "Summary", "variant": "acc", "iter": SINGLE, "value": 0.9})
    after = task.document
    loss = after["last_metrics"][name_hash("loss")][name_hash("train")]
    assert (loss["value"], loss["min_value"], loss["max_value"], loss["count"], loss["mean_value"]) == (2, 2, 4, 2, 3)
    assert after["last_metrics"][name_hash("Summary")][name_hash("acc")]["value"] == 0.9
    assert after["last_iteration"] == 7
    assert list(after["metric_stats"]) == [name_hash("fig")]
    assert after["last_update"] == after["last_change"] > before["last_update"]
    assert (after["status"], after.get("unique_metrics", [])) == ("created", [])


def test_deleting_events_leaves_the_document_and_the_console_can_go_alone(task: Reporter) -> None:
    task.scalars("loss", "train", {0: 1.0})
    task.add({"type": "log", "msg": "old", "timestamp": T0}, {"type": "log", "msg": "new"})
    assert task("clear_task_log", threshold_sec=300) == {"deleted": 1}
    assert [line["msg"] for line in task("get_task_log")["events"]] == ["new"]
    assert task("clear_task_log") == {"deleted": 1}
    assert task("delete_for_task") == {"deleted": 1}
    assert task("get_task_events")["total"] == 0
    assert task.document["last_metrics"] != {}


# Console


@pytest.fixture
def console(task: Reporter) -> Reporter:
    """Ten seconds with two lines each."""
    for second in range(10):
        task.add(*({"type": "log", "msg": f"{second}{part}", "timestamp": T0 + 1000 * second} for part in "ab"))
    return task


def messages(reply: dict[str, Any]) -> list[str]:
    assert reply["returned"] == len(reply["events"])
    return [event["msg"] for event in reply["events"]]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        # a page is completed by the other lines of its last moment
        ({"batch_size": 3}, ["9b", "9a", "8b", "8a"]),
        ({"batch_size": 3, "order": "asc"}, ["8a", "8b", "9a", "9b"]),
        ({"batch_size": 1, "from_timestamp": T0 + 3000}, ["2b", "2a"]),
        ({"batch_size": 3, "navigate_earlier": False}, ["0a", "0b", "1a", "1b"]),
        ({"batch_size": 1, "navigate_earlier": False, "from_timestamp": T0 + 3000}, ["4a", "4b"]),
        ({"batch_size": 1, "navigate_earlier": False, "order": "desc"}, ["0b", "0a"]),
        ({"batch_size": 5, "from_timestamp": T0}, []),
        ({"batch_size": 5, "navigate_earlier": False, "from_timestamp": T0 + 9000}, []),
        ({"batch_size": 0}, []),
    ],
)
def test_console_pages(console: Reporter, request_: dict[str, Any], expected: list[str]) -> None:
    reply = console("get_task_log", **request_)
    assert messages(reply) == expected
    assert reply["total"] == 20
    assert "scroll_id" not in reply


def test_a_console_line_keeps_the_senders_fields(task: Reporter) -> None:
    task.add({"type": "log", "msg": "hello", "level": "info", "timestamp": T0, "method": "get", "model_event": False})
    (line,) = task("get_task_log")["events"]
    assert line.pop("@timestamp").endswith("Z")
    assert line == {
        "type": "log", "task": task.id, "msg": "hello", "level": "info", "worker": "host:1", "timestamp": T0,
        "model_event": False, "method": "get", "metric": "", "variant": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "request_", "pages"),
    [
        ("v1.0", {}, [["9b", "9a", "8b"], ["8a", "7b", "7a"]]),
        ("v1.7", {}, [["1a", "0b", "0a"], ["2b", "2a", "1b"]]),
        ("v2.8", {"order": "asc", "from": "tail"}, [["8b", "9a", "9b"], ["7a", "7b", "8a"]]),
    ],
)
def test_the_old_console_scrolls(
    console: Reporter, version: str, request_: dict[str, Any], pages: list[list[str]]
) -> None:
    first = console("get_task_log", version, batch_size=3, **request_)
    second = console("get_task_log", version, batch_size=3, scroll_id=first["scroll_id"], **request_)
    assert [messages(first), messages(second)] == pages


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"batch_size": -1}, (400, 12)),
        ({"batch_size": 10_001}, (400, 12)),
        ({"order": "up"}, (400, 12)),
        ({"batch_size": "5"}, (400, 12)),
        ({"task": UNKNOWN}, (400, 101)),
    ],
)
def test_console_refusals(task: Reporter, request_: dict[str, Any], error: tuple[int, int]) -> None:
    assert task.refused("get_task_log", **request_) == error


def test_the_console_as_a_file(console: Reporter, api: ApiClient) -> None:
    def download(**data: Any) -> list[str]:
        reply = api.http.post("/v2.23/events.download_task_log", json={"task": console.id, **data})
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.headers["content-disposition"] == f"attachment; filename=task_{console.id}.log"
        return reply.text.splitlines()

    text = download(line_type="text", line_format="{asctime} {msg} {msg.__class__} {nothing}")
    assert text[0] == f"{T0} 0a {{msg.__class__}} "
    assert len(text) == 20
    first = json.loads(download()[0])
    assert (first["msg"], first["asctime"]) == ("0a", T0)
    assert "timestamp" not in first


# Events in pages


def walk(task: Reporter, endpoint: str = "get_task_events", **request: Any) -> Iterator[list[dict[str, Any]]]:
    scroll = None
    while True:
        reply = task(endpoint, **request, **({"scroll_id": scroll} if scroll else {}))
        assert reply["returned"] == len(reply["events"])
        if not reply["events"]:
            return
        yield reply["events"]
        scroll = reply["scroll_id"]


@pytest.fixture
def mixed(task: Reporter) -> Reporter:
    task.scalars("loss", "train", {i: float(i) for i in range(6)})
    task.scalars("loss", "val", {i: float(-i) for i in range(0, 6, 2)})
    task.plot("fig", "s", 1)
    task.image("im", "a", 5, "http://h/a.png")
    task.add({"type": "training_stats_scalar", "metric": "no iter", "value": 1.0, "timestamp": T0})
    task.add(*({"type": "log", "msg": text, "timestamp": T0} for text in "xyz"))
    return task


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("type_", [None, "training_stats_scalar", "plot", "training_debug_image", "log"])
@pytest.mark.parametrize("batch", [1, 2, 5, 500])
def test_pages_hold_every_event_once_in_order(mixed: Reporter, order: str, type_: str | None, batch: int) -> None:
    request = {"order": order, "batch_size": batch, **({"event_type": type_} if type_ else {})}
    events = [event for page in walk(mixed, **request) for event in page]
    expected = {None: 15, "training_stats_scalar": 10, "plot": 1, "training_debug_image": 1, "log": 3}[type_]
    assert len(events) == mixed("get_task_events", **request)["total"] == expected
    points = [event for event in events if event["type"] != "log"]
    iterations = [event["iter"] for event in points if "iter" in event]
    assert iterations == sorted(iterations, reverse=order == "desc")
    assert len({json.dumps(event, sort_keys=True) for event in points}) == len(points)
    assert [event["msg"] for event in events if event["type"] == "log"] == (
        [] if type_ not in (None, "log") else list("xyz") if order == "asc" else list("zyx")
    )


def test_a_page_completes_its_last_iteration(mixed: Reporter) -> None:
    page = next(walk(mixed, event_type="training_stats_scalar", batch_size=2))
    assert [(event.get("iter"), event["variant"]) for event in page] == [(None, ""), (0, "train"), (0, "val")]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"scroll_id": "garbage"}, (400, 1104)),
        ({"batch_size": 10_001}, (400, 12)),
        ({"event_type": "zz"}, (400, 12)),
        ({"task": UNKNOWN}, (400, 101)),
    ],
)
def test_page_refusals(task: Reporter, request_: dict[str, Any], error: tuple[int, int]) -> None:
    assert task.refused("get_task_events", **request_) == error


def test_scalar_metric_data_comes_highest_iteration_first(mixed: Reporter) -> None:
    reply = mixed("get_scalar_metric_data", metric="loss")
    assert [event["iter"] for event in reply["events"]] == [5, 4, 4, 3, 2, 2, 1, 0, 0]
    assert reply["total"] == 9
    assert mixed("get_scalar_metric_data", metric="loss", scroll_id=reply["scroll_id"])["events"] == []
    assert mixed("get_scalar_metric_data", metric="loss", no_scroll=True)["scroll_id"] is None


@pytest.mark.parametrize("scroll_id", ["garbage", None, 5])
def test_clearing_a_scroll_always_works(api: ApiClient, scroll_id: Any) -> None:
    assert api("events.clear_scroll", scroll_id=scroll_id) == {}


# Scalars


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


# Plots and images


@pytest.fixture
def plots(task: Reporter) -> Reporter:
    for iteration in range(4):
        task.plot("A", "a", iteration, f'{{"data":[],"layout":{{"title":"A/a/{iteration}"}}}}')
    for iteration in range(3):
        task.plot("A", "b", iteration)
    task.plot("B", "x", 1)
    task.plot("A", "a", 4, "not JSON")
    task.plot("A", "a", 4, "{}")
    return task


def stops(events: list[dict[str, Any]]) -> list[str]:
    return [f"{event['metric']}{event['variant']}{event['iter']}" for event in events]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, ["Aa4", "Ab2", "Bx1"]),
        ({"iters": 2}, ["Aa4", "Aa3", "Ab2", "Ab1", "Bx1"]),
        ({"metrics": [{"metric": "A", "variants": ["a"]}], "iters": 3}, ["Aa4", "Aa3", "Aa2"]),
        ({"metrics": [{"metric": "Z"}]}, []),
    ],
)
def test_the_last_plots_of_each_variant(plots: Reporter, request_: dict[str, Any], expected: list[str]) -> None:
    reply = plots("get_task_plots", **request_)
    assert stops(reply["plots"]) == expected
    assert (reply["returned"], reply["total"], reply["scroll_id"]) == (len(expected), len(expected), None)


def test_a_plot_as_it_is_read(task: Reporter) -> None:
    text = '{"layout": {"images": [{"source": "http://h/é.png"}]}}'
    task.plot("A", "a", 0, text)
    (plot,) = task("get_task_plots")["plots"]
    assert (plot["plot_str"], plot["plot_len"], plot["source_urls"]) == (text, len(text), ["http://h/é.png"])


def test_plots_of_several_tasks(plots: Reporter, api: ApiClient) -> None:
    reply = api("events.get_multi_task_plots", tasks=[plots.id], iters=2)
    assert (reply["returned"], reply["total"]) == (5, 5)
    at = reply["plots"]["A"]["a"][plots.id]
    assert list(at) == ["4", "3"]
    assert (at["4"]["name"], stops(at["4"]["plots"])) == ("reported", ["Aa4"])
    again = api("events.get_multi_task_plots", tasks=[plots.id], scroll_id=reply["scroll_id"])
    assert (again["returned"], again["plots"]) == (0, {})
    bad = {"metrics": [{"metric": "A"}]}
    assert api.send("events.get_multi_task_plots", tasks=[plots.id], metrics=bad).error[:2] == (400, 12)


def iterations(reply: dict[str, Any]) -> list[tuple[int, list[str]]]:
    (metric,) = reply["metrics"]
    return [(at["iter"], stops(at["events"])) for at in metric["iterations"]]


def test_plots_by_iteration_both_ways(plots: Reporter, api: ApiClient) -> None:
    request = {"metrics": [{"task": plots.id, "metric": "A"}]}
    last = api("events.plots", **request, iters=2)
    assert iterations(last) == [(4, ["Aa4"]), (3, ["Aa3"])]
    before = api("events.plots", **request, scroll_id=last["scroll_id"])
    assert iterations(before) == [(2, ["Aa2", "Ab2"])]
    later = api("events.plots", **request, scroll_id=before["scroll_id"], navigate_earlier=False, iters=5)
    assert iterations(later) == [(4, ["Aa4"]), (3, ["Aa3"])]
    end = api("events.plots", **request, scroll_id=later["scroll_id"], navigate_earlier=False)
    assert iterations(end) == []
    plots.plot("A", "a", 5)
    assert iterations(api("events.plots", **request, scroll_id=end["scroll_id"], navigate_earlier=False))[0][0] == 5
    assert iterations(api("events.plots", **request, scroll_id=before["scroll_id"], refresh=True))[0][0] == 5
    assert iterations(api("events.plots", **request, scroll_id="garbage"))[0][0] == 5
    assert api.send("events.plots", metrics=[]).error[:2] == (400, 12)
    assert api.send("events.plots").error[:2] == (400, 12)
    assert api.send("events.plots", metrics=[{"task": UNKNOWN}]).error[:2] == (400, 101)


@pytest.fixture
def images(task: Reporter) -> Reporter:
    """The address of a0 is used again at iteration 5, as the SDK does after a few images."""
    for iteration in range(4):
        for variant in "ab":
            task.image("im", variant, iteration, f"http://h/{variant}{iteration}.png")
    task.image("im", "a", 5, "http://h/a0.png")
    task.image("other", "c", 2, "http://h/c2.png")
    return task


def test_debug_images_by_iteration(images: Reporter, api: ApiClient) -> None:
    first = api("events.debug_images", metrics=[{"task": images.id, "metric": "im"}])
    assert iterations(first) == [(5, ["ima5"])]
    before = api("events.debug_images", metrics=[{"task": images.id, "metric": "im"}], scroll_id=first["scroll_id"])
    assert iterations(before) == [(3, ["ima3", "imb3"])]
    flat = images("debug_images", "v2.6", iters=2)
    assert stops(flat["images"]) == ["ima5", "ima3", "imb3", "imb2", "otherc2"]
    assert (flat["task"], flat["returned"], flat["total"]) == (images.id, 5, 5)


def test_an_image_is_known_by_its_key(task: Reporter) -> None:
    task.image("im", "a", 0, "http://old/x.png")
    task.image("im", "a", 0, "http://new/x.png")
    task.image("im", "a", 0, "http://new/y.png")
    events = task("get_task_events", event_type="training_debug_image")["events"]
    assert [event["url"] for event in events] == ["http://new/x.png", "http://new/y.png"]


@pytest.mark.parametrize(
    ("iteration", "stop"), [(2, "ima2"), (4, "ima3"), (None, "ima5"), (99, "ima5"), (0, None), (2**70, "ima5")]
)
def test_an_image_sample_is_the_nearest_before(images: Reporter, iteration: int | None, stop: str | None) -> None:
    request = {"metric": "im", "variant": "a", **({"iteration": iteration} if iteration is not None else {})}
    reply = images("get_debug_image_sample", **request)
    assert (stops([reply["event"]])[0] if reply["event"] else None) == stop
    if stop:  # iteration 0 shows another picture by now
        assert (reply["min_iteration"], reply["max_iteration"]) == (1, 5)


def steps(task: Reporter, kind: str, first: dict[str, Any], **how: Any) -> list[str]:
    seen, scroll = [], first["scroll_id"]
    while len(seen) < 50:
        reply = task(f"next_{kind}_sample", scroll_id=scroll, **how)
        found = reply["events"] if kind == "plot" else [event for event in [reply["event"]] if event]
        if not found:
            break
        seen.append("+".join(stops(found)))
        scroll = reply["scroll_id"]
    return seen


@pytest.mark.parametrize(
    ("start", "how", "expected"),
    [
        ({"variant": "b"}, {"navigate_earlier": True}, ["ima3", "imb2", "ima2", "imb1", "ima1", "imb0"]),
        ({"variant": "b"}, {"navigate_earlier": True, "next_iteration": True}, ["imb2", "imb1", "imb0"]),
        ({"variant": "a", "iteration": 2}, {"navigate_earlier": False}, ["imb2", "ima3", "imb3", "ima5"]),
        ({"variant": "a", "iteration": 2}, {"navigate_earlier": False, "next_iteration": True}, ["ima3", "ima5"]),
        (
            {"variant": "a", "iteration": 2, "navigate_current_metric": False},
            {"navigate_earlier": False},
            ["imb2", "otherc2", "ima3", "imb3", "ima5"],
        ),
    ],
)
def test_stepping_through_images(
    images: Reporter, start: dict[str, Any], how: dict[str, Any], expected: list[str]
) -> None:
    first = images("get_debug_image_sample", metric="im", **start)
    assert steps(images, "debug_image", first, **how) == expected


@pytest.mark.parametrize(
    ("start", "how", "expected"),
    [
        ({"iteration": 3}, {"navigate_earlier": True}, ["Aa2+Ab2", "Aa1+Ab1", "Aa0+Ab0"]),
        ({"iteration": 2}, {"navigate_earlier": False}, ["Aa3", "Aa4"]),
        (
            {"iteration": 2, "navigate_current_metric": False},
            {"navigate_earlier": True},
            ["Bx1", "Aa1+Ab1", "Aa0+Ab0"],
        ),
        (
            {"iteration": 2, "navigate_current_metric": False},
            {"navigate_earlier": True, "next_iteration": True},
            ["Bx1", "Aa0+Ab0"],
        ),
    ],
)
def test_stepping_through_plots(
    plots: Reporter, start: dict[str, Any], how: dict[str, Any], expected: list[str]
) -> None:
    first = plots("get_plot_sample", metric="A", **start)
    assert (first["min_iteration"], first["max_iteration"]) == (0, 4)
    assert steps(plots, "plot", first, **how) == expected


def test_samples_of_what_was_never_reported(plots: Reporter) -> None:
    nothing = plots("get_plot_sample", metric="Z")
    assert (nothing["events"], nothing["min_iteration"], nothing["max_iteration"]) == ([], None, None)
    assert plots("next_plot_sample", scroll_id=nothing["scroll_id"])["events"] == []
    assert plots("get_debug_image_sample", metric="Z", variant="z")["event"] is None
    assert plots.refused("next_plot_sample", scroll_id="x") == (400, 1104)
    assert plots.refused("next_debug_image_sample", scroll_id=nothing["scroll_id"]) == (400, 1104)
    assert plots.refused("get_plot_sample", metric="A", task=UNKNOWN) == (400, 101)
    assert plots.refused("get_debug_image_sample", metric="A", variant="a", model_events=True) == (400, 201)


# Durability


def test_acknowledged_events_survive_a_killed_server(clearml_server_factory: Any) -> None:
    server: ClearmlServer = clearml_server_factory()
    client = ApiClient(server.api_url, server.credentials)
    task = Reporter(client, client("tasks.create", name="survivor", type="training")["id"])
    task.scalars("loss", "train", {i: float(i) for i in range(100)})
    task.add({"type": "log", "msg": "last words"})
    server.kill()
    server.restart()
    assert task("scalar_metrics_iter_histogram")["loss"]["train"]["x"] == list(range(100))
    assert messages(task("get_task_log")) == ["last words"]
    assert task.document["last_iteration"] == 99
    client.close()
