"""Probes of a genuine server's behaviour, one test each: events, queues and workers.

A probe's words are its test's docstring; its number is that of the list it comes from.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.events.reporter import T0, Reporter
from tests.integration.tasks.world import create, get, new_queue, unique

pytestmark = pytest.mark.integration

SINGLE = -(2**31)


@pytest.fixture
def task(api: ApiClient) -> Reporter:
    return Reporter(api, create(api))


def test_a5_images_of_recycled_files(task: Reporter) -> None:
    """A5: events.debug_images leaves out iterations whose url a later iteration of the same variant used again."""
    for iteration in range(6):
        task.image("M", "V", iteration, f"u{iteration % 2}")
    reply = task("debug_images", metrics=[{"task": task.id, "metric": "M"}], iters=10)
    assert [at["iter"] for at in reply["metrics"][0]["iterations"]] == [5, 4]


def test_a6_which_lines_are_cleared(task: Reporter) -> None:
    """A6: events.clear_task_log keeps lines of exclude_metrics (and deletes only those of include_metrics)."""
    task.add({"type": "log", "msg": "a"}, {"type": "log", "msg": "b", "metric": "keep"})
    assert task("clear_task_log", exclude_metrics=["keep"]) == {"deleted": 1}
    assert task("get_task_log")["total"] == 1


def test_a6_console_by_metric(task: Reporter) -> None:
    """A6: events.get_task_log takes metrics=[{metric}] as a filter."""
    task.add({"type": "log", "msg": "a"}, {"type": "log", "msg": "b", "metric": "keep"})
    assert task("get_task_log", metrics=[{"metric": "keep"}])["total"] == 1


def test_a8_metadata_of_queues(api: ApiClient) -> None:
    """A8: queues.create and queues.update store metadata."""
    item = {"k": {"key": "k", "type": "str", "value": "v"}}
    queue = api("queues.create", name=unique(), metadata=item)["id"]
    assert api("queues.get_all_ex", id=[queue])["queues"][0]["metadata"] == item
    api("queues.update", queue=queue, metadata={"n": {"key": "n", "type": "str", "value": "w"}})
    assert list(api("queues.get_by_id", queue=queue)["queue"]["metadata"]) == ["n"]


@pytest.mark.parametrize("endpoint", ["queues.get_all", "queues.get_all_ex"])
def test_a9_queues_of_the_glue(api: ApiClient, endpoint: str) -> None:
    """A9: queues.get_all[_ex] hide queues with system tag k8s-glue unless search_hidden, id or name is given."""
    queue = api("queues.create", name=unique(), system_tags=["k8s-glue"])["id"]

    def shown(**request: Any) -> bool:
        return queue in [item["id"] for item in api(endpoint, **request)["queues"]]

    assert (shown(search_hidden=True), shown(id=[queue]), shown(name="thing"), shown()) == (True, True, True, False)


def test_a10_task_of_a_queues_worker(api: ApiClient) -> None:
    """A10: queues.get_all_ex: workers[].task is {id, name} (null without a task)."""
    queue, task, worker = new_queue(api), create(api, name="a name"), unique("worker")
    api("tasks.started", task=task)
    api("workers.register", worker=worker, queues=[queue])
    assert api("queues.get_all_ex", id=[queue])["queues"][0]["workers"][0]["task"] is None
    api("workers.status_report", worker=worker, timestamp=0, task=task)
    shown = api("queues.get_all_ex", id=[queue])["queues"][0]["workers"][0]["task"]
    assert shown == {"id": task, "name": "a name"}


def test_a10_display_name(api: ApiClient) -> None:
    """A10: workers.get_all: queues[] have display_name."""
    queue = api("queues.create", name=unique(), display_name="shown")["id"]
    worker = unique("worker")
    api("workers.register", worker=worker, queues=[queue])
    (found,) = api("workers.get_all", worker_pattern=worker)["workers"]
    assert found["queues"][0]["display_name"] == "shown"


def test_a11_queue_of_an_added_task(api: ApiClient) -> None:
    """A11: queues.add_task sets the task's execution.queue (unless update_execution_queue is false)."""
    queue, task, other = new_queue(api), create(api), create(api)
    api("queues.add_task", queue=queue, task=task)
    api("queues.add_task", queue=queue, task=other, update_execution_queue=False)
    assert (get(api, task)["execution"].get("queue"), get(api, other)["execution"].get("queue")) == (queue, None)


def test_a22_raw_points(task: Reporter) -> None:
    """A22: scalar_metrics_iter_raw includes the single value (-2**31) and remembers batch_size in its scroll."""
    task.scalars("A", "B", {SINGLE: 0.0}, start=T0 - SINGLE)
    task.scalars("A", "B", dict.fromkeys(range(1, 20), 1.0))
    metric = {"metric": "A", "variants": ["B"]}
    first = task("scalar_metrics_iter_raw", metric=metric, batch_size=6, count_total=True)
    assert (first["total"], first["variants"]["B"]["iter"]) == (20, [SINGLE, 1, 2, 3, 4, 5])
    assert task("scalar_metrics_iter_raw", metric=metric, scroll_id=first["scroll_id"])["returned"] == 6


def test_a22_single_values_by_metric(task: Reporter, api: ApiClient) -> None:
    """A22: get_task_single_value_metrics takes metrics as a filter."""
    task.scalars("A", "B", {SINGLE: 0.0}, start=T0 - SINGLE)
    for metric, found in (("none", 0), ("A", 1)):
        selection = [{"metric": metric, "variants": ["B"]}]
        assert len(api("events.get_task_single_value_metrics", tasks=[task.id], metrics=selection)["tasks"]) == found


def test_a23_events_of_models(api: ApiClient) -> None:
    """A23: model_event log lines are refused (400/131); x_axis_label is kept in histogram and last_metrics."""
    id_ = api("models.create", name=unique("model"), uri="file:///a", ready=False)["id"]
    model = Reporter(api, id_, model_event=True)
    status, reply = model.send({"type": "log", "msg": "x"})
    assert (status, reply["meta"]["result_subcode"]) == (400, 131)
    scalar = {"type": "training_stats_scalar", "iter": 0, "metric": "A", "variant": "B", "value": 1}
    model.add(scalar | {"x_axis_label": "L"})
    assert model("scalar_metrics_iter_histogram", model_events=True)["A"]["B"]["x_axis_label"] == "L"
    ((kept,),) = [
        variants.values() for variants in api("models.get_by_id", model=id_)["model"]["last_metrics"].values()
    ]
    assert kept["x_axis_label"] == "L"


def test_a25_workers_by_tags(api: ApiClient) -> None:
    """A25: workers.get_count and get_all filter by system_tags, with -x; get_count by last_seen."""
    worker, tag = unique("worker"), unique("tag")
    api("workers.register", worker=worker, tags=[tag], system_tags=[f"s{tag}"])
    assert api("workers.get_count", system_tags=[f"s{tag}"]) == {"count": 1}
    assert api("workers.get_all", tags=[tag], system_tags=[f"-s{tag}"]) == {"workers": []}
    assert api("workers.get_count", tags=[tag], last_seen=-1) == {"count": 0}


def test_a25_metric_keys_of_nobody(api: ApiClient) -> None:
    """A25: workers.get_metric_keys of unknown workers: 400/1005."""
    assert api.send("workers.get_metric_keys", worker_ids=["nobody"]).error[:2] == (400, 1005)


def test_a26_statistics(api: ApiClient) -> None:
    """A26: workers.get_stats: intervals of 40 s at least, empty ones 0, max over all, split_by_resource."""
    worker, now = unique("worker"), int(time.time())
    api("workers.status_report", worker=worker, timestamp=now * 1000, machine_stats={"gpu_usage": [60, 70]})
    stat = api(
        "workers.get_stats",
        items=[{"key": "gpu_usage", "aggregation": "max"}],
        from_date=now - 100,
        to_date=now + 300,
        interval=1,
        worker_ids=[worker],
        split_by_resource=True,
    )["workers"][0]["metrics"][0]["stats"][0]
    assert (len(stat["dates"]), max(stat["values"]), len(stat["resource_series"])) == (11, 70, 2)
