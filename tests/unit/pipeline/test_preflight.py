"""What is warned of before a run."""

from __future__ import annotations

import socket

import pytest

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.preflight import (
    NO_PACKAGE,
    QueueError,
    deadlock,
    more_workers_command,
    queue_for_controllers,
    require_queue,
    unfit_workers,
    workers_command,
)
from pipeline.settings import Settings


class Server:
    def __init__(self, workers, queues):
        self._workers, self._queues = workers, queues

    def workers_of(self, queue):
        return self._workers if queue == "pods" else []

    def queue_names(self):
        return {name: name for name in ("pods", *self._queues)}


@pytest.mark.parametrize(
    ("environment", "controllers", "workers", "queues", "warned"),
    [
        ({}, "pods", ["one"], [], True),
        ({}, "services", ["one"], [], False),
        ({}, "pods", ["one", "two"], [], False),
        ({}, "pods", ["glue"], ["k8s_scheduler"], False),
        ({"mode": "controller"}, "pods", ["one"], [], False),
        ({"mode": "in-process"}, "pods", ["one"], [], False),
        ({"step_queues": ["train_test_split=other"]}, "pods", ["one"], [], True),
        ({"queue": "steps", "step_queues": ["train_processing=pods"]}, "pods", ["one"], [], True),
        ({"queue": "steps"}, "pods", ["one"], [], False),
    ],
)
def test_a_controller_that_may_hold_the_last_slot(environment, controllers, workers, queues, warned):
    settings = Settings.of(definition=DATA_PREPARE, **{"queue": "pods", **environment})
    found = deadlock(Server(workers, queues), settings, controllers)
    assert bool(found) is warned
    assert all("one task at a time" in text and "--mode controller" in text for text in found)


class Past:
    """A server whose worker has ended a task."""

    api_url = "http://server:8008"

    def __init__(self, status: str, lines: list[str]) -> None:
        self._task, self._lines = {"id": "f" * 32, "status": status}, lines

    def workers_of(self, queue):
        return ["host:0"] if queue == "pods" else []

    def queue_names(self):
        return {"pods", "empty"}

    def last_tasks_of(self, workers):
        return dict.fromkeys(workers, self._task)

    def console(self, task, lines):
        return self._lines


@pytest.mark.parametrize(
    ("status", "lines", "warned"),
    [
        ("failed", ["Traceback", f"ModuleNotFoundError: {NO_PACKAGE}"], True),
        ("failed", ["ModuleNotFoundError: No module named 'pipeline.other'"], False),
        ("failed", ["ValueError: broken"], False),
        ("completed", [NO_PACKAGE], False),
    ],
)
def test_a_worker_whose_last_task_found_no_package_is_warned_of(status, lines, warned):
    found = unfit_workers(Past(status, lines), "pods")
    assert bool(found) is warned
    assert all("host:0" in text and "f" * 32 in text and "./task workers-up" in text for text in found)


@pytest.mark.parametrize(
    ("queue", "command"),
    [
        ("pods", "./task workers-up"),
        ("services", "./task workers-up"),
        ("two words", "./task workers-up -- --queue 'two words'"),
    ],
)
def test_the_command_that_serves_a_queue_names_it_unless_it_is_served_by_default(queue, command):
    assert workers_command(Past("completed", []), queue) == command


@pytest.mark.parametrize(
    ("served", "queue", "command"),
    [
        ("pods", "nope", "./task workers-up -- --queue pods --queue nope"),
        ("gpu", "pods", "./task workers-up -- --queue gpu --queue pods"),
        ("gpu", "services", "./task workers-up -- --queue gpu"),
        ("pods", "services", "./task workers-up"),
    ],
)
def test_the_command_that_serves_a_queue_keeps_the_queues_of_this_machines_workers(served, queue, command):
    server = Served({served: [f"{socket.gethostname()}:steps-1"], "elsewhere": ["other:steps-1"]}, ["services"])
    assert workers_command(server, queue) == command


def test_one_more_worker_for_controllers_keeps_the_queues_of_this_machines_workers():
    server = Served({"gpu": [f"{socket.gethostname()}:steps-1"]}, ["services"])
    assert more_workers_command(server, "services") == "./task workers-up -- --queue gpu --controllers 3"
    assert more_workers_command(Served({}, []), "services") == "./task workers-up -- --controllers 3"


@pytest.mark.parametrize("queue", ["empty", "none"])
def test_a_queue_without_workers_is_refused_with_the_command_that_serves_it(queue):
    with pytest.raises(QueueError) as caught:
        require_queue(Past("completed", []), queue)
    assert f"./task workers-up -- --queue {queue}" in caught.value.hint
    assert "server-up" not in caught.value.hint


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ("gpuu", "--step-queue train_processing=gpuu: queue 'gpuu' does not exist on http://server:8008; "),
        ("gpu", "--step-queue train_processing=gpu: queue 'gpu' has no live worker"),
    ],
)
def test_a_queue_of_a_single_step_is_checked_and_named_with_its_step(queue, said):
    server = Served({"pods": ["glue"]}, ["gpu", "k8s_scheduler"])
    with pytest.raises(QueueError) as caught:
        require_queue(server, queue, ["train_processing"])
    assert said in caught.value.message
    assert ("queues: gpu, pods; did you mean gpu?" in caught.value.message) is (queue == "gpuu")
    assert "./task deploy-agent" in caught.value.hint


@pytest.mark.parametrize(
    ("served", "others", "queue"),
    [
        ({"pods": ["a"], "gpu": ["b"]}, ["k8s_scheduler"], "pods"),
        ({"services": ["s"], "pods": ["a"], "gpu": ["b"]}, ["k8s_scheduler"], "services"),
        ({"gpu": ["b"]}, ["k8s_scheduler", "pods"], "gpu"),
        ({"pods": ["a"], "gpu": ["b"]}, [], "gpu"),
    ],
    ids=["ordinary queue", "services", "ordinary queue without worker", "workers of a machine"],
)
def test_a_controller_does_not_take_the_pod_of_its_steps_queue(served, others, queue):
    assert queue_for_controllers(Served(served, others), "gpu") == queue


class Served:
    """A server with queues, and workers of some of them."""

    api_url = "http://server:8008"

    def __init__(self, served: dict[str, list[str]], others: list[str]) -> None:
        self._served, self._others = served, others

    def workers_of(self, queue):
        return self._served.get(queue, [])

    def queue_names(self):
        return {name: name for name in (*self._served, *self._others)}
