"""A task's document as state: its status, when it changed, and why. Pure: it makes no calls.

On Kubernetes the agent's glue stops each task for a moment, while it moves it from its queue to the one for pods that
start. A task seen in that moment counts as queued. One that stays there has been dropped by its agent: it has ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from clearml_access import pod_records

ENDED = ("completed", "published", "closed", "failed", "stopped")
FINAL = ("completed", "published", "closed")
"""Of a dataset version: it can be read."""

CONTROLLER_TYPE = "controller"
POD_PREFIX = "clearml-id-"
"""Before the task's id in the name of its pod, as the glue gives it."""

PODS_QUEUE = "k8s_scheduler"
"""Made by the glue. A task waits in it after an agent has taken it and until its pod runs."""

POD_QUEUE_PROPERTY = "k8s-queue"
"""User property that the glue gives to a task in a pod: the name of the queue that it took the task from."""

MOVE_S = 120.0
"""A task that is still on its way after this time has been dropped: moving one takes a moment."""

ON_ITS_WAY = "on_its_way"
"""Set in a document whose status is `queued` here, and `stopped` for a moment on the server."""

USER_PROPERTIES = "properties"
"""Section of a task's hyperparameters that holds its user properties."""

TIMELINE_PROPERTY = "timeline"
LAUNCHED_PROPERTY = "launched"
"""User properties of a step's task: the moments of its process, and when it was put into its queue."""

ATTEMPTS_PROPERTY = "earlier_attempts"
"""User property of a step's task that was run again: why each earlier attempt ended (a JSON list of texts)."""

REASON_S = 30.0
"""Why a task was killed in its pod is written within this time."""

_KILLED = re.compile(r"exit code (-9|137)\b")
"""How the agent in a pod says it, which cannot know why."""

_MOVED = "k8s pending"
"""In the reason of the stop by which the glue moves a task."""

_ASKED_TO_STOP = ("user aborted", "task was stopped by tasks.stop")
"""Reasons of a stop that somebody asked for: of commands and pages, and of the agent, which ends the task for it."""

_STATE = ("status", "status_reason", "status_message", "status_changed")

_DROPPED = (
    "an agent took it from its queue and then made no pod of it (the agent died meanwhile, or kubectl failed): "
    "reset and enqueue it again; the agent's log tells why"
)


def fields(wanted: Iterable[str]) -> list[str]:
    """Return the fields to ask the server for, so that `as_seen` can tell where a task stands."""
    found = {"id", *wanted}
    return sorted(found | set(_STATE) if "status" in found else found)


def is_on_its_way(task: Mapping[str, Any], now: float) -> bool:
    """Return whether a task is only stopped on its way to a pod.

    Args:
        task: With `status`, `status_reason` and `status_changed`.
        now: The time, in seconds since 1970.
    """
    since = moment(task.get("status_changed"))
    return _is_moved(task) and since is not None and now - since < MOVE_S


def as_seen(task: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return a task's document as it reads for a person: one on its way to a pod is queued."""
    return {**task, "status": "queued", ON_ITS_WAY: True} if is_on_its_way(task, now) else dict(task)


def is_pipeline(task: Mapping[str, Any]) -> bool:
    """Return whether a task is a pipeline's controller."""
    return task.get("type") == CONTROLLER_TYPE or "pipeline" in (task.get("system_tags") or [])


def has_ended(task: Mapping[str, Any]) -> bool:
    """Return whether a task, as it is seen, has ended."""
    return task.get("status") in ENDED


def reason_of(task: Mapping[str, Any]) -> str:
    """Return why a task has its status, in the words of what changed it; of a dropped one, what happened.

    With its runtime section, also how the pod of a failed one ended: the agent in the pod knows an exit code only.
    """
    texts = [str(task.get(key) or "").strip() for key in ("status_reason", "status_message")]
    if task.get("status") == "stopped" and texts[0].lower() in _ASKED_TO_STOP:
        return "aborted by a user"
    if task.get("status") == "failed":
        texts.append(str(pod_records.runtime_of(task).get(pod_records.END) or ""))
    if _is_moved(task):
        texts.append(_DROPPED)
    return "; ".join(dict.fromkeys(text for text in texts if text))


def json_property(task: Mapping[str, Any], name: str) -> Any:
    """Return the value of a user property that holds JSON; nothing where there is none or it is damaged."""
    properties = (task.get("hyperparams") or {}).get(USER_PROPERTIES) or {}
    try:
        return json.loads((properties.get(name) or {}).get("value") or "null")
    except ValueError:
        return None


def queue_before_its_pod(task: Mapping[str, Any]) -> str:
    """Return the name of the queue that the glue took a task from; nothing for a task that had no pod.

    Args:
        task: With `hyperparams.properties`.
    """
    properties = (task.get("hyperparams") or {}).get(USER_PROPERTIES) or {}
    return str((properties.get(POD_QUEUE_PROPERTY) or {}).get("value") or "")


def earlier_attempts(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why each attempt of a step before its present one ended; nothing for one that was run once."""
    found = json_property(task, ATTEMPTS_PROPERTY)
    return tuple(map(str, found)) if isinstance(found, list) else ()


def awaits_its_reason(task: Mapping[str, Any], now: float) -> bool:
    """Return whether a task was killed in its pod a moment ago, and its agent has not yet written why.

    Args:
        task: With its status, `status_reason`, `status_changed` and `runtime`.
        now: The time, in seconds since 1970.
    """
    runtime = pod_records.runtime_of(task)
    is_written = pod_records.END in runtime or pod_records.PHASES in runtime
    if task.get("status") != "failed" or pod_records.AGENT not in runtime or is_written:
        return False
    since = moment(task.get("status_changed"))
    was_killed = _KILLED.search(str(task.get("status_reason") or "")) is not None
    return was_killed and since is not None and now - since < REASON_S


def moment(value: Any) -> float | None:
    """Return an API time as seconds since 1970."""
    parsed = parse_time(value)
    return None if parsed is None else parsed.timestamp()


def parse_time(value: Any) -> datetime | None:
    """Return an API time; nothing where there is none. Without a zone it is UTC."""
    if not value:
        return None
    try:
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _is_moved(task: Mapping[str, Any]) -> bool:
    return task.get("status") == "stopped" and _MOVED in str(task.get("status_reason") or "")
