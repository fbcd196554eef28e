"""Deleting a task with many events: answered at once, and finished whatever becomes of the server."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

EVENTS = 40_000
DEADLINE_S = 60


def rows(server: ClearmlServer) -> int:
    with closing(sqlite3.connect(server.data / "server.sqlite")) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM event_{kind}").fetchone()[0] for kind in ("log", "series")]
    return sum(counts)


def test_events_of_a_deleted_task_go_though_the_server_is_killed(
    clearml_server_factory: Callable[[], ClearmlServer],
) -> None:
    server = clearml_server_factory()
    with closing(ApiClient(server.api_url, server.credentials)) as api:
        task = api("tasks.create", name="big", type="testing")["id"]
        line = {"task": task, "type": "log", "timestamp": 1, "msg": "a line"}
        batch = (json.dumps(line) + "\n") * EVENTS
        lines = {"Content-Type": "application/json-lines"}
        api.http.post("/v2.23/events.add_batch", content=batch, headers=lines).raise_for_status()
        assert rows(server) == EVENTS + 1
        api("tasks.delete", task=task, force=True)
        server.kill()
    server.restart()
    deadline = time.monotonic() + DEADLINE_S
    while rows(server) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rows(server) == 0
    with closing(ApiClient(server.api_url, server.credentials)) as api:
        assert api.send("tasks.get_by_id", task=task).status == 400
