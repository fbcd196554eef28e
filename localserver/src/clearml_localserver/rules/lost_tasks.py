"""Which `in_progress` tasks are lost (no worker runs them any more), and how they end. Pure."""

from __future__ import annotations

from datetime import datetime

from clearml_localserver.rules.tasks import (
    CONTROLLER,
    DEVELOPMENT,
    FAILED,
    STOP_ASKED,
    STOPPED,
    Change,
    Stamp,
    Task,
    transition,
)
from clearml_localserver.times import parse

SIGNS_OF_LIFE = ("last_update", "last_worker_report", "status_changed")
"""The times at which a running task was heard of."""

NON_RESPONSIVE = "Forced stop (non-responsive)"


def is_left_behind(task: Task, parent: Task | None) -> bool:
    """Return whether a running task was a process beside a pipeline's controller that has ended badly.

    An agent that stops a controller kills its whole process tree, pipelines inside it and local steps included; none
    of those has a worker that could tell.
    """
    by_hand = DEVELOPMENT in task["system_tags"]
    in_tree = parent is not None and parent["type"] == CONTROLLER and parent["status"] in (STOPPED, FAILED)
    return in_tree and not by_hand and not task.get("last_worker")


def non_responsive(
    task: Task,
    now: datetime,
    *,
    threshold_s: float,
    worker_lost_s: float,
    listening_since: datetime,
    left_behind: bool = False,
) -> Change | None:
    """Return how a lost task ends; None where the task may still be alive.

    A task of an agent is heard of every few seconds (pings, log, worker reports): when both it and its worker have
    been silent for `worker_lost_s`, the worker is gone and the task has *failed*, so that a pipeline's retry rule
    applies. A task of no agent may belong to a sleeping laptop: it is *stopped* after `threshold_s`, but one that ran
    beside a controller which has ended is stopped after `worker_lost_s`.

    The reason is ClearML's own text. The message is not: a pipeline controller takes a task stopped with exactly that
    message for a running one and would wait forever.

    Args:
        task: A task in progress.
        now: The time.
        threshold_s: Silence that no running task keeps.
        worker_lost_s: Silence that no agent's task keeps.
        listening_since: When the server began to listen: no task can be heard before.
        left_behind: What `is_left_behind` says of it.
    """
    heard = [parse(task.get(name) or "") for name in SIGNS_OF_LIFE]
    last = max(time for time in (*heard, listening_since) if time is not None)
    silence = (now - last).total_seconds()
    worker = task.get("last_worker")
    if worker and silence >= worker_lost_s:
        text = f"No sign of life from worker {worker} or its task for {silence:.0f} s: the worker was lost"
        action = "stopped" if STOP_ASKED in task else "failed"
    elif left_behind and silence >= worker_lost_s:
        text = f"No sign of life for {silence:.0f} s from the task, whose pipeline {task['parent']} has ended"
        action = "stopped"
    elif silence >= threshold_s:
        text, action = f"No sign of life from the task for {silence:.0f} s", "stopped"
    else:
        return None
    return transition(action, task, Stamp(task.get("user", ""), now, NON_RESPONSIVE, text), force=True)
