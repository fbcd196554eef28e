"""`logs -f`: it ends when a task has ended, also where that end looks like a task on its way to a pod."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from clearml_access.api import Api
from clearml_access.tasks import MOVE_S
from deploy.commands import logs
from deploy.waiting import Wait

TASK = "0" * 32


class Sender:
    """A server with one task; each look at it gives its next document, the last one for ever."""

    url = "http://server"

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = list(documents)

    def send(self, endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if endpoint == "events.get_task_log":
            return 200, {"data": {"events": [], "total": 0}}
        assert endpoint == "tasks.get_all" and "status_changed" in body["only_fields"]
        document = self._documents.pop(0) if len(self._documents) > 1 else self._documents[0]
        return 200, {"data": {"tasks": [{"id": TASK, **document}]}}


def moved(ago_s: float) -> dict[str, Any]:
    changed = datetime.now(UTC) - timedelta(seconds=ago_s)
    reason = "moving to k8s pending queue"
    return {"status": "stopped", "status_reason": reason, "status_changed": changed.isoformat()}


@pytest.fixture
def follow():
    def run(*documents: dict[str, Any]) -> tuple[str, list[str]]:
        session = SimpleNamespace(
            api=Api(Sender(*documents), ""),
            cluster=SimpleNamespace(pod=lambda _: None),
            redact=str,
            now=lambda: datetime.now(UTC),
            wait=lambda deadline_s, poll_s: Wait(deadline_s, poll_s=poll_s),
        )
        shown: list[str] = []
        return logs.show(session, {"id": TASK}, shown.append, logs.Show(follow=True)), shown

    return run


def test_a_task_that_its_agent_dropped_on_the_way_ends_and_is_explained(follow):
    status, shown = follow(moved(MOVE_S + 1))
    assert status == "stopped"
    assert "made no pod of it" in shown[-1] and "reset and enqueue it again" in shown[-1]


def test_a_task_on_its_way_is_waited_for(follow):
    status, shown = follow(moved(1), moved(1), moved(1), {"status": "completed"})
    assert status == "completed"
    assert shown == ["-- an agent has just taken the task, and is about to make its pod", "-- task is completed"]
