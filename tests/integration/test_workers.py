"""Workers: who is listed, what is known of their machines, and over time."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


@pytest.fixture
def worker(api: ApiClient) -> str:
    name = f"host:{uuid4().hex}"
    api("workers.register", worker=name, tags=["gpu", name], system_tags=[f"s{name}"])
    return name


def report(api: ApiClient, worker: str, **fields: Any) -> None:
    api("workers.status_report", worker=worker, timestamp=int(time.time() * 1000), **fields)


def listed(api: ApiClient, **request: Any) -> list[str]:
    ids = [row["id"] for row in api("workers.get_all", **request)["workers"]]
    assert api("workers.get_count", **request) == {"count": len(ids)}
    return ids


def test_worker_comes_and_goes(api: ApiClient, worker: str) -> None:
    queue = api("queues.create", name=worker, display_name="shown")["id"]
    api("workers.register", worker=worker, queues=[queue], timeout=600)
    (row,) = api("workers.get_all", worker_pattern=worker[:12] + "*")["workers"]
    assert (row["id"], row["tags"]) == (worker, ["gpu", worker])
    assert row["queues"] == [{"id": queue, "name": worker, "display_name": "shown", "num_tasks": 0}]
    api("workers.unregister", worker=worker)
    assert listed(api, worker_pattern=worker) == []
    assert api.send("workers.register", worker=worker, queues=["nope"]).error[:2] == (400, 701)
    assert api.send("workers.get_runtime_properties", worker=worker).error[0] == 404


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"tags": ["{name}"]}, True),
        ({"tags": ["-{name}"]}, False),
        ({"tags": ["{name}"], "system_tags": ["s{name}"]}, True),
        ({"tags": ["{name}"], "system_tags": ["-s{name}"]}, False),
        ({"tags": ["__$all", "gpu", "{name}"]}, True),
        ({"last_seen": 60}, True),
        ({"last_seen": 0}, True),
        ({"last_seen": -1}, False),
        ({"worker_pattern": "{name}"}, True),
        ({"worker_pattern": "{name}?"}, False),
    ],
)
def test_which_workers_are_listed(api: ApiClient, worker: str, request_: dict[str, Any], found: bool) -> None:
    filled = {
        name: [item.format(name=worker) for item in value]
        if isinstance(value, list)
        else value.format(name=worker)
        if isinstance(value, str)
        else value
        for name, value in request_.items()
    }
    assert (worker in listed(api, **filled)) == found


def test_a_queue_names_the_tasks_of_its_workers(api: ApiClient, worker: str) -> None:
    queue = api("queues.create", name=worker)["id"]
    task = api("tasks.create", name="a step", type="testing")["id"]
    api("tasks.started", task=task)

    def of_worker() -> Any:
        return api("queues.get_all_ex", id=[queue])["queues"][0]["workers"][0]["task"]

    report(api, worker, queues=[queue])
    assert of_worker() is None
    report(api, worker, queues=[queue], task=task)
    assert of_worker() == {"id": task, "name": "a step"}


def stats(api: ApiClient, worker: str, *aggregations: str, key: str = "gpu_usage", **request: Any) -> list[Any]:
    """Return the figures of each aggregation in the intervals of a time about now."""
    now = int(time.time())
    period = {"from_date": now - 400, "to_date": now + 400, "interval": 1}
    items = [{"key": key, "aggregation": aggregation} for aggregation in aggregations]
    reply = api("workers.get_stats", worker_ids=[worker], items=items, **period | request)
    return reply["workers"][0]["metrics"][0]["stats"]


def test_statistics_are_of_all_cores_in_intervals_of_forty_seconds(api: ApiClient, worker: str) -> None:
    report(api, worker, machine_stats={"gpu_usage": [60, 70], "memory_free": 1000})
    average, least, most = stats(api, worker, "avg", "min", "max", "max", split_by_resource=True)
    assert {b - a for a, b in zip(most["dates"], most["dates"][1:], strict=False)} == {40_000}
    assert [max(stat["values"]) for stat in (average, least, most)] == [65, 60, 70]
    assert sorted(most["values"])[:-1] == [0] * 20
    assert [(item["name"], max(item["values"])) for item in most["resource_series"]] == [("0", 60), ("1", 70)]
    (memory,) = stats(api, worker, "avg", key="memory_free", split_by_resource=True)
    assert (max(memory["values"]), memory["resource_series"]) == (1000, [])


def test_a_long_time_has_long_intervals(api: ApiClient, worker: str) -> None:
    report(api, worker, machine_stats={"gpu_usage": [60]})
    (stat,) = stats(api, worker, "avg", from_date=0, to_date=100_000_000_000)
    assert len(stat["values"]) == 1001


def test_metric_keys(api: ApiClient, worker: str) -> None:
    assert api.send("workers.get_metric_keys", worker_ids=[worker]).error[:2] == (400, 1005)
    report(api, worker, machine_stats={"cpu_usage": [1], "cpu_temperature": 3, "disk_read": 2, "unknown": 1})
    assert api("workers.get_metric_keys", worker_ids=[worker, worker])["categories"] == [
        {"name": "cpu", "metric_keys": ["cpu_usage", "cpu_temperature"]},
        {"name": "disk", "metric_keys": ["disk_read"]},
    ]
    assert "cpu" in [category["name"] for category in api("workers.get_metric_keys")["categories"]]


def test_activity_counts_workers_and_those_with_a_task(api: ApiClient, worker: str) -> None:
    def counts() -> tuple[int, int]:
        now = time.time()
        reply = api("workers.get_activity_report", from_date=now - 3600, to_date=now + 1, interval=3600)
        return sum(reply["total"]["counts"]), sum(reply["active"]["counts"])

    total, active = counts()
    report(api, worker)
    assert counts() == (total + 1, active)
    task = api("tasks.create", name="a step", type="testing")["id"]
    report(api, worker, task=task)
    assert counts() == (total + 1, active + 1)


REPORT = {"from_date": 0, "to_date": 1, "interval": 1}


@pytest.mark.parametrize(
    ("endpoint", "request_", "code"),
    [
        ("get_all", {"last_seen": "x"}, 12),
        ("get_all", {"tags": [{}]}, 12),
        ("get_all", {"tags": ["__$no"]}, 16),
        ("get_all", {"worker_pattern": ["x"]}, 12),
        ("get_all", {"worker_pattern": "[" * 100_000}, 12),
        ("get_count", {"last_seen": "x"}, 12),
        ("get_count", {"system_tags": "x"}, 12),
        ("get_metric_keys", {"worker_ids": [{}]}, 12),
        ("get_stats", REPORT | {"items": [{"key": "bogus"}]}, 12),
        ("get_stats", REPORT | {"items": [{"key": "cpu_usage", "aggregation": "x"}]}, 12),
        ("get_stats", REPORT | {"items": [{}]}, 12),
        ("get_stats", REPORT | {"items": ["cpu_usage"]}, 12),
        ("get_stats", REPORT | {"items": [], "from_date": 1e308, "to_date": 1.1e308}, 12),
        ("get_stats", REPORT | {"items": [], "from_date": "x"}, 12),
        ("get_activity_report", REPORT | {"interval": 0}, 12),
        ("get_activity_report", REPORT | {"from_date": 5}, 16),
        ("get_activity_report", REPORT | {"to_date": -1}, 12),
        ("status_report", {"timestamp": "x"}, 12),
        ("status_report", {"timestamp": 1, "queues": "x"}, 12),
        ("status_report", {"timestamp": 1, "machine_stats": []}, 12),
        ("register", {"queues": [1]}, 12),
        ("register", {"timeout": 1e300}, 12),
    ],
)
def test_hostile_fields_are_refused_by_name(
    api: ApiClient, worker: str, endpoint: str, request_: dict[str, Any], code: int
) -> None:
    reply = api.send(f"workers.{endpoint}", **{"worker": worker, **request_})
    assert reply.error[:2] == (400, code), reply.error


def test_figures_that_are_none_are_passed_over(api: ApiClient, worker: str) -> None:
    hostile = {"cpu_usage": [1e308, 1.1e308, "x", None, {}], "gpu_usage": True, "disk_read": {"a": 1}, "network_tx": []}
    report(api, worker, machine_stats=hostile)
    (most,) = stats(api, worker, "max", key="cpu_usage")
    assert max(most["values"]) == 1.1e308
    assert api("workers.get_metric_keys", worker_ids=[worker])["categories"] == [
        {"name": "cpu", "metric_keys": ["cpu_usage"]}
    ]
