"""Looking after tasks whose worker is gone: without it they would stay in progress, or wait in no queue, for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from localserver.lifecycle.moving import save
from localserver.lifecycle.queueing import requeue_lost
from localserver.rules import tasks as rules
from localserver.settings import Settings
from localserver.store import Tx
from localserver.times import iso


@dataclass
class Watch:
    """Remembers since when the server has been listening without a gap.

    Silence counts from then on only: after a start, or when the machine has slept, every task has been silent.
    """

    period_s: float
    since: datetime
    last: datetime | None = None

    def look(self, now: datetime) -> datetime:
        """Note that the server listens at `now`; return since when it has."""
        if self.last is not None and now - self.last > timedelta(seconds=4 * self.period_s):
            self.since = now
        self.last = now
        return self.since


def look_after_tasks(tx: Tx, now: datetime, settings: Settings, listening_since: datetime) -> None:
    """Do what is due for tasks whose worker is gone: end those that ran, queue those again that had not begun."""
    stop_non_responsive(tx, now, settings, listening_since)
    requeue_lost(tx, now, settings, listening_since)


def stop_non_responsive(tx: Tx, now: datetime, settings: Settings, listening_since: datetime) -> list[str]:
    """End the running tasks that have given no sign of life for too long; return their ids."""
    quiet_since = iso(now - timedelta(seconds=min(settings.watchdog_threshold_s, settings.worker_lost_s)))
    ended = []
    for task in tx.docs(
        "SELECT doc FROM task WHERE json_extract(doc, '$.status') = ? AND json_extract(doc, '$.last_update') <= ?",
        (rules.IN_PROGRESS, quiet_since),
    ):
        change = rules.non_responsive(
            task,
            now,
            threshold_s=settings.watchdog_threshold_s,
            worker_lost_s=settings.worker_lost_s,
            listening_since=listening_since,
        )
        if change is not None:
            save(tx, task, change)
            ended.append(task["id"])
    return ended
