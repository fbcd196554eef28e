from __future__ import annotations

import pytest

from tests.api_client import ApiClient
from tests.integration.events.reporter import T0, Reporter


@pytest.fixture
def task(api: ApiClient) -> Reporter:
    return Reporter(api, api("tasks.create", name="reported", type="training")["id"])


@pytest.fixture
def mixed(task: Reporter) -> Reporter:
    task.scalars("loss", "train", {i: float(i) for i in range(6)})
    task.scalars("loss", "val", {i: float(-i) for i in range(0, 6, 2)})
    task.plot("fig", "s", 1)
    task.image("im", "a", 5, "http://h/a.png")
    task.add({"type": "training_stats_scalar", "metric": "no iter", "value": 1.0, "timestamp": T0})
    task.add(*({"type": "log", "msg": text, "timestamp": T0} for text in "xyz"))
    return task
