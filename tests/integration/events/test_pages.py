"""Reading events of all kinds in pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.events.reporter import UNKNOWN, Reporter

pytestmark = pytest.mark.integration


def walk(task: Reporter, endpoint: str = "get_task_events", **request: Any) -> Iterator[list[dict[str, Any]]]:
    scroll = None
    while True:
        reply = task(endpoint, **request, **({"scroll_id": scroll} if scroll else {}))
        assert reply["returned"] == len(reply["events"])
        if not reply["events"]:
            return
        yield reply["events"]
        scroll = reply["scroll_id"]


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
