"""End or requeue tasks whose worker is gone; otherwise they would stay `in_progress` forever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.queueing import requeue_lost
from clearml_localserver.lifecycle.status_changes import save, stop_task
from clearml_localserver.lifecycle.steps import is_live, steps_of
from clearml_localserver.rules import lost_tasks
from clearml_localserver.rules import tasks as rules
from clearml_localserver.settings import Settings
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso

STEP = timedelta(seconds=5)
"""By how much the clock may differ from the time that has passed before it counts as set."""


@dataclass
class Watch:
    """Remembers since when the server has been listening without a gap, by a clock that cannot be set.

    Silence counts from then on only: after a start, when the machine has slept, or when its clock was set forward,
    every task seems to have been silent.
    """

    period_s: float
    since: datetime
    last: tuple[datetime, float] | None = None
    """Time of the last look: by the clock, and in seconds of a clock that is never set."""

    def look(self, now: datetime, monotonic_s: float) -> datetime:
        """Record that the server listens at `now`; return since when it has."""
        if self.last is not None:
            passed = timedelta(seconds=monotonic_s - self.last[1])
            clock_was_set = abs(now - self.last[0] - passed) > STEP
            if clock_was_set or passed > timedelta(seconds=4 * self.period_s):
                self.since = now
        self.last = (now, monotonic_s)
        return self.since


def look_after_tasks(tx: Tx, now: datetime, settings: Settings, listening_since: datetime) -> None:
    """Do what is due for tasks whose worker is gone: end those that ran, queue those again that had not begun."""
    correct_the_future(tx, now)
    stop_non_responsive(tx, now, settings, listening_since)
    requeue_lost(tx, now, settings, listening_since)


def correct_the_future(tx: Tx, now: datetime) -> None:
    """Let what was heard "later than now" have been heard now: the clock was set back since.

    Else the tasks and workers of then would live, and entries that were handed out be waited for, until the clock is
    where it was.
    """
    late, moment = iso(now + STEP), iso(now)
    for task in tx.docs(
        "SELECT doc FROM task WHERE field_status = ? AND +field_last_update > ?",
        (rules.IN_PROGRESS, late),
    ):
        heard = {name: moment for name in lost_tasks.SIGNS_OF_LIFE if task.get(name, "") > late}
        tx.put("task", task | heard)
    for worker in tx.docs("SELECT doc FROM worker WHERE json_extract(doc, '$.last_activity_time') > ?", (late,)):
        tx.put("worker", worker | {"last_activity_time": moment})
    tx.execute("UPDATE handed_out SET time = ? WHERE time > ?", (moment, late))


def stop_non_responsive(tx: Tx, now: datetime, settings: Settings, listening_since: datetime) -> list[str]:
    """End the running tasks that have given no sign of life for too long; return their ids."""
    quiet_since = iso(now - timedelta(seconds=min(settings.watchdog_threshold_s, settings.worker_lost_s)))
    ended = []
    for task in tx.docs(
        "SELECT doc FROM task WHERE field_status = ? AND +field_last_update <= ?",
        (rules.IN_PROGRESS, quiet_since),
    ):
        parent = tx.get("task", task["parent"]) if task.get("parent") else None
        left_behind = lost_tasks.is_left_behind(task, parent)
        change = lost_tasks.non_responsive(
            task,
            now,
            threshold_s=settings.watchdog_threshold_s,
            worker_lost_s=settings.worker_lost_s,
            listening_since=listening_since,
            left_behind=left_behind,
        )
        if change is not None:
            save(tx, task, change)
            ended.append(task["id"])
            if left_behind:
                _stop_steps(tx, task, now, settings)
    return ended


def _stop_steps(tx: Tx, controller: Document, now: datetime, settings: Settings) -> None:
    """Stop the steps of a controller that was lost, since nothing uses their results."""
    by = Actor(controller["user"], "the server", controller["company"], now, lost_tasks.NON_RESPONSIVE)
    for step in steps_of(tx, controller):
        if is_live(step):
            stop_task(tx, step, by, force=False, worker_lost_s=settings.worker_lost_s)
