"""The task status machine: allowed transitions, the errors of others, and what a transition changes.

Pure: documents in, changed fields out. `clearml_localserver.lifecycle` stores them and handles queues, models and
events. The tables are those of ClearML's open-source server as its clients see it; `docs/localserver.md` lists where
ours differs on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.times import iso, parse

Task = dict[str, Any]
Fields = dict[str, Any]

CREATED, QUEUED, IN_PROGRESS, STOPPED = "created", "queued", "in_progress", "stopped"
CLOSED, FAILED, COMPLETED, PUBLISHED = "closed", "failed", "completed", "published"
STATUSES = (CREATED, QUEUED, IN_PROGRESS, STOPPED, CLOSED, FAILED, COMPLETED, PUBLISHED, "publishing", "unknown")

DEVELOPMENT, ARCHIVED = "development", "archived"
"""System tags: a task run by hand on a developer's machine; one that lists should leave out."""

CONTROLLER = "controller"
"""Type of the task that runs a pipeline."""

STOPPING = "stopping"
"""The status message by which an agent learns that it shall end the task."""

STOP_ASKED = "stop_asked"
"""Hidden field: when a stop was requested that the task's process may not know of yet. It stays until whoever runs
the task has ended it, or until the task is enqueued, reset or started again."""

OVERRULED = "Stopped: the task reported its end only after a stop had been asked for"
"""The status message of a task whose process went on to its own end although it had been asked to stop."""

STOP_HOLDS = timedelta(hours=1)
"""How long a stopped task cannot be started by the agent that had it in hand: a pod may pull its image first."""

WINDS_DOWN = timedelta(minutes=1)
"""How long the process of a task that was stopped against its own report may still publish."""

AGENT_SAYS = "Changed by clearml-agent"
"""How the status message of an agent's report begins."""

MOVES_ON = ("moving to k8s pending", "k8s pending")
"""How the reasons begin with which the k8s glue stops and enqueues a task to hand it on to a pod: no person's wish."""


@dataclass(frozen=True)
class Transition:
    """A move to `to`: from a status in `free` by itself, from any other one only with force."""

    to: str
    free: frozenset[str]


def _transition(to: str, free: str) -> Transition:
    return Transition(to, frozenset(free.split()))


TRANSITIONS = {
    "enqueue": _transition(QUEUED, "created queued stopped failed"),
    "started": _transition(IN_PROGRESS, "created queued in_progress stopped completed"),
    "stop": _transition(STOPPED, "queued in_progress stopped closed failed"),
    "stopped": _transition(STOPPED, "queued in_progress stopped closed failed"),
    "failed": _transition(FAILED, "in_progress stopped closed failed"),
    "completed": _transition(COMPLETED, "in_progress stopped completed"),
    "close": _transition(CLOSED, "stopped closed"),
    "publish": _transition(PUBLISHED, "stopped closed failed completed"),
    "reset": _transition(CREATED, " ".join(status for status in STATUSES if status != PUBLISHED)),
}


@dataclass(frozen=True)
class Editing:
    """A kind of change that moves nothing: allowed by itself in `free`, with force in `forced`."""

    free: frozenset[str]
    forced: frozenset[str]


_LIVE = frozenset((CREATED, QUEUED, IN_PROGRESS))
EDITINGS = {
    "edit": Editing(frozenset((CREATED,)), frozenset(STATUSES)),
    # Hyperparameters and configuration objects: what a run was given.
    "inputs": Editing(frozenset((CREATED,)), _LIVE),
    # Artifacts and models: what a run brings forth.
    "results": Editing(_LIVE, _LIVE),
}


def destination(action: str, task: Task, *, force: bool) -> str:
    """Return the status that `action` leads `task` to.

    Raises:
        ApiError: 400/110, the task's status does not allow it (without force).
    """
    rule, status = TRANSITIONS[action], task["status"]
    if status in rule.free or force:
        return rule.to
    if action == "reset":
        raise ApiError(400, 110, f"Invalid task status: task_id={task['id']}, status={status}")
    raise ApiError(
        400, 110, f"Invalid task status (Invalid status change): current_status={status}, new_status={rule.to}"
    )


def require_editable(kind: str, task: Task, *, force: bool) -> None:
    """Refuse a change of `kind` ("edit", "inputs", "results") that the task's status does not allow.

    Raises:
        ApiError: 400/110.
    """
    rule, status = EDITINGS[kind], task["status"]
    if status not in (rule.forced if force else rule.free):
        raise ApiError(400, 110, f"Invalid task status: expected={CREATED}, status={status}")


def require_deletable(task: Task, *, force: bool, ready_models: int, published_children: int) -> None:
    """Refuse a deletion that would take away what others build on.

    Raises:
        ApiError: 400/123, naming what is in the way.
    """
    if force:
        return
    status, id = task["status"], task["id"]
    # Archiving is the first half of throwing away; a task that still runs or was published is not meant by it.
    archived = ARCHIVED in task["system_tags"] and status not in (QUEUED, IN_PROGRESS, PUBLISHED)
    if status != CREATED and not archived:
        raise ApiError(
            400,
            123,
            f"Task cannot be deleted (due to status, use force=True): task={id}, expected={CREATED}, current={status}",
        )
    if published_children:
        raise ApiError(
            400,
            123,
            f"Task cannot be deleted (has children, use force=True): task={id}, children={published_children}",
        )
    require_no_ready_models(task, force=force, ready_models=ready_models)


def require_no_ready_models(task: Task, *, force: bool, ready_models: int) -> None:
    """Refuse to delete or reset a task that has created models which others may use.

    Raises:
        ApiError: 400/123 (the genuine server's text speaks of deleting for a reset too).
    """
    if ready_models and not force:
        raise ApiError(
            400,
            123,
            f"Task cannot be deleted (has output models, use force=True): task={task['id']}, models={ready_models}",
        )


def require_status(text: str) -> str:
    """Return `text` if it is a status.

    Raises:
        ApiError: 400/12.
    """
    if text not in STATUSES:
        raise validation_error(f"Invalid task status: {text}")
    return text


@dataclass(frozen=True)
class Stamp:
    """Who changes a task, when, and what is said about it."""

    user: str
    now: datetime
    reason: str = ""
    message: str = ""

    def saying(self, message: str) -> Stamp:
        """Return this stamp with another status message."""
        return replace(self, message=message)

    def of_change(self) -> Fields:
        """Return the fields that any change sets."""
        return {"last_change": iso(self.now), "last_changed_by": self.user}

    def of_update(self) -> Fields:
        """Return the fields that a change of the run itself sets: it counts as a sign of life."""
        return self.of_change() | {"last_update": iso(self.now)}

    def of_status(self, status: str) -> Fields:
        """Return the fields that every transition sets, also one that stays where it is."""
        return {
            "status": status,
            "status_reason": self.reason,
            "status_message": self.message,
            "status_changed": iso(self.now),
        } | self.of_update()


@dataclass(frozen=True)
class Change:
    """What is to be done to a task document: fields to set (a dotted name is a path), top-level fields to remove."""

    fields: Fields
    removed: frozenset[str] = field(default_factory=frozenset)

    def apply(self, task: Task) -> Task:
        """Change `task` in place and return it."""
        for name in self.removed:
            task.pop(name, None)
        for path, value in self.fields.items():
            *parents, last = path.split(".")
            target = task
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = value
        return task


def transition(action: str, task: Task, stamp: Stamp, *, force: bool, starting: bool = False) -> Change:
    """Return what `action` ("started", "stopped", "failed", "completed", "close", "publish") changes.

    A stop that was asked for is not undone by what the task's process or its agent reports meanwhile: "started" keeps
    it asked for, and an end of its own ("completed", "failed") is a stop.

    Args:
        action: The move.
        task: The task.
        stamp: Who moves it.
        force: Whether its status may be any.
        starting: Whether a worker has taken it a moment ago: "stopped" is a wish then, unless the agent says it, and
            "started" is said by the process that was to be stopped.

    Raises:
        ApiError: 400/110.
    """
    status = destination(action, task, force=force)
    asked, settled = STOP_ASKED in task, action in ("started", "stopped", "close")
    wished = action == "stopped" and starting and _is_live(task) and not stamp.message.startswith(AGENT_SAYS)
    if wished:
        asked = settled = False
    elif asked and action == "started" and _goes_on_with(task, stamp, process=starting and not force):
        stamp, settled = stamp.saying(STOPPING), False
    elif asked and action in ("failed", "completed") and (task["status"] == IN_PROGRESS or not force):
        stamp, status = stamp.saying(OVERRULED), STOPPED
    elif action == "publish":
        _require_publishable(task, stamp.now)
    fields, removed = stamp.of_status(status), frozenset((STOP_ASKED,)) if asked and settled else frozenset[str]()
    if wished:
        fields[STOP_ASKED] = iso(stamp.now)
    if status != task["status"]:
        if status == IN_PROGRESS:
            fields["started"] = iso(stamp.now)
            removed |= {"completed", "active_duration"}
        elif status in (STOPPED, FAILED, COMPLETED):
            fields["completed"] = iso(stamp.now)
    elif status == IN_PROGRESS and "started" not in task:
        fields["started"] = iso(stamp.now)  # it was taken by `dequeue`, as an agent in a pod does
    if status == PUBLISHED:
        fields |= {"published": iso(stamp.now), "output": task["output"]}
    return Change(fields, removed)


def _is_live(task: Task) -> bool:
    return task["status"] in (QUEUED, IN_PROGRESS)


def _goes_on_with(task: Task, stamp: Stamp, *, process: bool) -> bool:
    """Return whether "started" is the next word of the run that was asked to stop, and no new run.

    An agent says it up to five times while it starts a task, each time with a reason or a message. The SDK gives
    neither: in the task's `process` without force, and with force where it continues a stopped task for a person.
    """
    if task["status"] == IN_PROGRESS:
        return True
    asked = parse(task[STOP_ASKED])
    recent = asked is not None and stamp.now - asked < STOP_HOLDS
    return task["status"] == STOPPED and recent and (process or bool(stamp.reason or stamp.message))


def _require_publishable(task: Task, now: datetime) -> None:
    changed = parse(task.get("status_changed") or "")
    overruled = task.get("status_message") == OVERRULED and changed is not None and now - changed < WINDS_DOWN
    if (STOP_ASKED in task and task["status"] == IN_PROGRESS) or overruled:
        raise ApiError(
            400,
            110,
            "Invalid task status (A stop was asked for, publish the task once it has ended): "
            f"current_status={task['status']}, new_status={PUBLISHED}",
        )


def stopped_by_user(
    task: Task, stamp: Stamp, user_name: str, *, force: bool, worker_lost_s: float, taken: bool = False
) -> Change:
    """Return what `stop` changes: a task in an agent's hands is only asked to stop, any other one is stopped.

    The agent polls the status message and ends the process. An agent that has been silent for `worker_lost_s` will
    not do that any more, so its task is stopped at once. One that has taken the task and not reported it yet will
    start it anyway: the task is stopped, and asked to stop again when that agent says "started".

    Args:
        task: The task.
        stamp: Who stops it.
        user_name: Their name.
        force: Whether to stop a task that has ended, or is a draft.
        worker_lost_s: Silence after which an agent does not listen.
        taken: Whether a worker has taken the waiting task out of its queue.

    Raises:
        ApiError: 400/110.
    """
    status, before = destination("stop", task, force=force), task["status"]
    report = parse(task.get("last_worker_report") or "")
    agent_listens = report is not None and stamp.now - report < timedelta(seconds=worker_lost_s)
    in_hand = before == IN_PROGRESS or (before == QUEUED and (taken or _moves_on(task.get("status_reason") or "")))
    asked: Fields = {STOP_ASKED: iso(stamp.now)} if in_hand and not _moves_on(stamp.reason) else {}
    if before == IN_PROGRESS and agent_listens and DEVELOPMENT not in task["system_tags"]:
        return Change(stamp.saying(STOPPING).of_status(IN_PROGRESS) | asked)
    return Change(stamp.saying(f"Stopped by {user_name}").of_status(status) | asked)


def _moves_on(reason: str) -> bool:
    return reason.startswith(MOVES_ON)


def enqueued(task: Task, stamp: Stamp, *, force: bool, queue: str | None) -> Change:
    """Return what `enqueue` changes; `queue` is the new `execution.queue`, None to keep the present one.

    Raises:
        ApiError: 400/110.
    """
    if STOP_ASKED in task and _moves_on(stamp.reason):
        raise ApiError(
            400,
            110,
            "Invalid task status (A stop was asked for while the task was on its way to a pod): "
            f"current_status={task['status']}, new_status={QUEUED}",
        )
    fields = stamp.of_status(destination("enqueue", task, force=force))
    # A task that waits in another queue already still goes back to where it came from.
    came_from = (task.get("enqueue_status") or CREATED) if task["status"] == QUEUED else task["status"]
    fields["enqueue_status"] = came_from
    if queue is not None:
        fields["execution.queue"] = queue
    if DEVELOPMENT in task["system_tags"]:
        fields["system_tags"] = [tag for tag in task["system_tags"] if tag != DEVELOPMENT]
    return Change(fields, frozenset((STOP_ASKED,)))


def dequeued(task: Task, stamp: Stamp, new_status: str | None) -> Change | None:
    """Return what `dequeue` changes, or None: a task that neither waits nor runs is left alone.

    Agents call it for a task they have popped and started, to make sure that it is in no queue.
    """
    target = require_status(new_status) if new_status else task.get("enqueue_status") or CREATED
    if task["status"] not in (QUEUED, IN_PROGRESS):
        return None
    if STOP_ASKED in task and target in (CREATED, QUEUED, IN_PROGRESS):
        target, stamp = IN_PROGRESS, stamp.saying(STOPPING)  # its process is still to be ended
    return Change(stamp.of_status(target) | {"enqueue_status": None})


def pinged(task: Task, stamp: Stamp) -> Change:
    """Return what a sign of life changes."""
    now = iso(stamp.now)
    fields: Fields = {"last_update": now, "last_change": now}
    started = parse(task.get("started") or "")
    if task["status"] == IN_PROGRESS and started:
        fields["active_duration"] = max(0, int((stamp.now - started).total_seconds()))
    return Change(fields)


def with_archived_tag(system_tags: Iterable[str], archived: bool) -> list[str]:
    """Return system tags with or without `archived`, order kept."""
    others = [tag for tag in system_tags if tag != ARCHIVED]
    return [*others, ARCHIVED] if archived else others
