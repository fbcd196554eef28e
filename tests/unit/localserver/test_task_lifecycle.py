"""The watchdog over a real store: which tasks it ends or queues again, and what it spares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pytest
from clearml_localserver.lifecycle import Watch, look_after_tasks, note_handed_out, requeue_lost, stop_non_responsive
from clearml_localserver.rules import workers as worker_rules
from clearml_localserver.rules.task_documents import empty_task
from clearml_localserver.rules.tasks import Stamp
from clearml_localserver.settings import Settings
from clearml_localserver.store import Store, Tx
from clearml_localserver.times import iso

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=timezone.utc)
START = NOW - timedelta(days=1)


SETTINGS = Settings(data=Path("unused"), watchdog_threshold_s=7200, worker_lost_s=120)
Result = TypeVar("Result")


def ago(seconds: float) -> str:
    return iso(NOW - timedelta(seconds=seconds))


@pytest.fixture
def in_store(tmp_path: Path) -> Callable[[Callable[[Tx], Result]], Result]:
    """Runs a function in a transaction of a new store."""

    async def run(function: Callable[[Tx], Result]) -> Result:
        store = Store(tmp_path / "server.sqlite")
        try:
            return await store.write(function)
        finally:
            store.close()

    return lambda function: asyncio.run(run(function))


def put_tasks(tx: Tx, tasks: dict[str, dict[str, Any]]) -> None:
    for id, fields in tasks.items():
        tx.put("task", empty_task(id, "c1", Stamp("u1", START)) | fields)


@pytest.fixture
def look(in_store: Any) -> Callable[..., tuple[list[str], dict[str, dict[str, Any]]]]:
    """Puts tasks into a store, lets the watchdog look, and returns whom it ended and the tasks after."""

    def start(tasks: dict[str, dict[str, Any]], since: datetime = START) -> Any:
        def both(tx: Tx) -> tuple[list[str], dict[str, dict[str, Any]]]:
            put_tasks(tx, tasks)
            ended = stop_non_responsive(tx, NOW, SETTINGS, since)
            return ended, {id: tx.get("task", id) or {} for id in tasks}

        return in_store(both)

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


def test_what_a_dead_controller_leaves_beside_it_ends_with_its_steps(in_store: Any) -> None:
    """An agent kills the tree of a controller's process; the pipeline inside it and local steps have no worker."""
    silent = {"status": "in_progress", "last_update": ago(121)}
    reported = {"last_worker": "host:1", "last_worker_report": ago(5)}
    tasks = {
        "outer": {"type": "controller", "status": "stopped"},
        "inner": silent | {"type": "controller", "parent": "outer"},
        "its step": {"status": "in_progress", "parent": "inner", "last_update": ago(5)} | reported,
        "its next step": {"status": "queued", "parent": "inner"},
        "its last step": {"status": "completed", "parent": "inner"},
        "by hand": silent | {"parent": "outer", "system_tags": ["development"]},
        "heard of": silent | {"parent": "outer", "last_update": ago(60)},
        "good": {"type": "controller", "status": "completed"},
        "of a good one": silent | {"parent": "good"},
        "training": {"type": "training", "status": "stopped"},
        "of no pipeline": silent | {"parent": "training"},
    }

    def run(tx: Tx) -> dict[str, Any]:
        put_tasks(tx, tasks)
        tx.put("queue", {"id": "q1", "name": "q1", "entries": [{"task": "its next step", "added": ago(9)}]})
        stop_non_responsive(tx, NOW, SETTINGS, START)
        found = {id: tx.get("task", id) or {} for id in tasks}
        after = {id: task["status"] for id, task in found.items() if task["status"] != tasks[id]["status"]}
        return after | {
            "asked": found["its step"].get("status_message"),
            "q1": (tx.get("queue", "q1") or {})["entries"],
        }

    assert in_store(run) == {"inner": "stopped", "its next step": "stopped", "asked": "stopping", "q1": []}


def test_nobody_is_ended_for_the_time_in_which_the_server_was_down(look: Any) -> None:
    quiet = AGENT | {"last_update": ago(9000), "last_worker_report": ago(9000)}
    assert look({"t1": quiet}, NOW - timedelta(seconds=60))[0] == []


@pytest.mark.parametrize(
    ("clock_s", "passed_s", "heard_nobody"),
    [
        (15, 15, False),
        (45, 45, False),
        (3 * 3600, 3 * 3600, True),
        (3 * 3600, 15, True),
        (45, 15, True),
        (-3600, 15, True),
        (14.0, 15, False),
    ],
    ids=["in time", "late", "stood still", "slept, or set forward", "set forward a little", "set back", "adjusted"],
)
def test_the_watch_begins_anew_after_a_gap_or_a_step_of_the_clock(
    clock_s: float, passed_s: float, heard_nobody: bool
) -> None:
    watch = Watch(period_s=15, since=START)
    first = START + timedelta(seconds=15)
    assert watch.look(first, 1015.0) == START
    now = first + timedelta(seconds=clock_s)
    assert watch.look(now, 1015.0 + passed_s) == (now if heard_nobody else START)
    assert watch.look(now + timedelta(seconds=15), 1030.0 + passed_s) == (now if heard_nobody else START)


def test_when_the_clock_is_set_forward_by_an_hour_running_tasks_go_on(look: Any) -> None:
    watch = Watch(period_s=15, since=START)
    watch.look(NOW - timedelta(seconds=3615), 0.0)
    heard_before = AGENT | {"last_update": ago(3620), "last_worker_report": ago(3640)}
    assert look({"runs": heard_before}, watch.look(NOW, 15.0))[0] == []


def test_when_the_clock_is_set_back_the_dead_are_still_found(in_store: Any) -> None:
    """They were heard of "in an hour"; the server takes it for now, and hears no more of them."""
    heard = AGENT | {"last_update": ago(-3600), "last_worker_report": ago(-3590), "status_changed": ago(-3000)}
    later = NOW + timedelta(seconds=121)
    worker = {"id": "host:0", "last_activity_time": ago(-3590), "register_timeout": 600, "queues": []}

    def run(tx: Tx) -> tuple[str, str, list[str], bool]:
        put_tasks(tx, {"dead": heard, "taken": {"status": "queued"}})
        tx.put("worker", worker)
        tx.put("queue", {"id": "q1", "name": "q1", "entries": []})
        note_handed_out(tx, "q1", {"task": "taken", "added": ago(-3600)}, NOW + timedelta(hours=1))
        look_after_tasks(tx, NOW, SETTINGS, NOW)
        first = (tx.get("task", "dead") or {})["status"]
        look_after_tasks(tx, later, SETTINGS, NOW)
        entries = [entry["task"] for entry in (tx.get("queue", "q1") or {})["entries"]]
        alive = worker_rules.is_alive(tx.get("worker", "host:0") or {}, NOW + timedelta(seconds=601))
        return first, (tx.get("task", "dead") or {})["status"], entries, alive

    assert in_store(run) == ("in_progress", "failed", ["taken"], False)


def test_tasks_that_a_worker_took_and_never_started_are_queued_again_in_their_order(in_store: Any) -> None:
    tasks = {id: {"status": "queued"} for id in ("first", "second", "moved on", "just taken", "last")}
    tasks |= {"runs": {"status": "in_progress"}}

    def run(tx: Tx) -> tuple[list[str], ...]:
        put_tasks(tx, tasks)
        queues = {"q1": ["last"], "q2": ["moved on"]}
        for queue, entries in queues.items():
            listed = [{"task": task, "added": ago(1)} for task in entries]
            tx.put("queue", {"id": queue, "name": queue, "entries": listed})
        for age, task in ((200, "first"), (199, "second"), (198, "moved on"), (197, "runs"), (196, "deleted")):
            note_handed_out(tx, "q1", {"task": task, "added": ago(age + 300)}, NOW - timedelta(seconds=age))
        note_handed_out(tx, "q1", {"task": "just taken", "added": ago(100)}, NOW - timedelta(seconds=60))
        just_up = requeue_lost(tx, NOW, SETTINGS, NOW - timedelta(seconds=60))
        requeued = requeue_lost(tx, NOW, SETTINGS, START)
        left = [entry["task"] for entry in (tx.get("queue", "q1") or {})["entries"]]
        return just_up, requeued, left, requeue_lost(tx, NOW, SETTINGS, START), sorted(tx.topics)

    just_up, requeued, left, again, topics = in_store(run)
    assert just_up == []
    assert sorted(requeued) == ["first", "second"]
    assert left == ["first", "second", "last"]
    assert again == []
    assert topics == ["queue:q1"]
