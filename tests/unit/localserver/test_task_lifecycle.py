"""The watchdog over a real store: which tasks it ends, and what it spares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from localserver.lifecycle import Watch, stop_non_responsive
from localserver.rules.task_documents import empty_task
from localserver.rules.tasks import Stamp
from localserver.settings import Settings
from localserver.store import Store, Tx
from localserver.times import iso

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
START = NOW - timedelta(days=1)


def ago(seconds: float) -> str:
    return iso(NOW - timedelta(seconds=seconds))


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., tuple[list[str], dict[str, dict[str, Any]]]]:
    """Puts tasks into a store, lets the watchdog look, and returns whom it ended and the tasks after."""

    async def run(
        settings: Settings, since: datetime, tasks: dict[str, dict[str, Any]]
    ) -> tuple[list[str], dict[str, dict[str, Any]]]:
        store = Store(tmp_path / "server.sqlite")

        def both(tx: Tx) -> tuple[list[str], dict[str, dict[str, Any]]]:
            for id, fields in tasks.items():
                tx.put("task", empty_task(id, "c1", Stamp("u1", START)) | fields)
            ended = stop_non_responsive(tx, NOW, settings, since)
            return ended, {id: tx.get("task", id) or {} for id in tasks}

        try:
            return await store.write(both)
        finally:
            store.close()

    def start(tasks: dict[str, dict[str, Any]], since: datetime = START) -> Any:
        settings = Settings(data=tmp_path, watchdog_threshold_s=7200, worker_lost_s=120)
        return asyncio.run(run(settings, since, tasks))

    return start


AGENT = {"last_worker": "host:0", "status": "in_progress", "started": ago(600)}


def test_only_tasks_that_nobody_runs_any_more_are_ended(look: Any) -> None:
    ended, after = look(
        {
            "lost": AGENT | {"last_update": ago(121), "last_worker_report": ago(125)},
            "pinged": AGENT | {"last_update": ago(60), "last_worker_report": ago(500)},
            "reported": AGENT | {"last_update": ago(500), "last_worker_report": ago(30)},
            "by hand": {"status": "in_progress", "last_update": ago(500)},
            "by hand, for hours": {"status": "in_progress", "last_update": ago(7300)},
            "waiting": AGENT | {"status": "queued", "last_update": ago(9000)},
            "over": AGENT | {"status": "completed", "last_update": ago(9000)},
        }
    )
    assert ended == ["lost", "by hand, for hours"]
    assert (after["lost"]["status"], after["lost"]["status_reason"]) == ("failed", "Forced stop (non-responsive)")
    assert "host:0" in after["lost"]["status_message"]
    assert after["lost"]["completed"] == iso(NOW)
    assert after["by hand, for hours"]["status"] == "stopped"
    assert after["waiting"]["status"] == "queued"


def test_nobody_is_ended_for_the_time_in_which_the_server_was_down(look: Any) -> None:
    quiet = AGENT | {"last_update": ago(9000), "last_worker_report": ago(9000)}
    assert look({"t1": quiet}, NOW - timedelta(seconds=60))[0] == []


def test_the_watch_begins_anew_after_a_gap() -> None:
    watch = Watch(period_s=15, since=START)
    assert watch.look(START + timedelta(seconds=15)) == START
    assert watch.look(START + timedelta(seconds=60)) == START
    woken = START + timedelta(hours=3)
    assert watch.look(woken) == woken, "a machine that slept has heard nobody"
    assert watch.look(woken + timedelta(seconds=15)) == woken
