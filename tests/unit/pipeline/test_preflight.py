"""What is warned of before a run."""

from __future__ import annotations

import pytest

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.preflight import deadlock
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
