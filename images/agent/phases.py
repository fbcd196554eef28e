"""How long each phase of a task's pod took. Pure."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

Json = dict[str, Any]

EXECUTES = "worker starting task execution"
"""The last reason that the agent in the pod gives (clearml-agent 1.9.2): packages and code are there."""


def sandbox_time(pod: Json) -> str | None:
    """Return when the pod had its network and volumes; Kubernetes forgets that when the pod ends."""
    return _condition_time(pod, "PodReadyToStartContainers")


def execution_time(state: Json) -> str | None:
    """Return when a task's own script began, if the task's record says that it has begun.

    The record's `started` is not it: a task that its agent takes from the queue by `dequeue` has none.
    """
    if state.get("status") == "in_progress" and state.get("status_reason") == EXECUTES:
        return state.get("status_changed")
    return None


def phases(pod: Json, sandbox: str | None, execution: str | None) -> dict[str, int]:
    """Return the seconds of each phase that the pod went through.

    Args:
        pod: The pod, as it was last seen.
        sandbox: What `sandbox_time` returned while the pod lived.
        execution: When the task itself began: what `execution_time` returned while it ran.
    """
    state = ((pod.get("status") or {}).get("containerStatuses") or [{}])[0].get("state") or {}
    ended = state.get("terminated") or {}
    started = ended.get("startedAt") or (state.get("running") or {}).get("startedAt")
    scheduled = _condition_time(pod, "PodScheduled")
    moments = [
        ("", pod["metadata"].get("creationTimestamp")),
        ("schedule", scheduled),
        ("start", sandbox),
        ("pull", started),
        ("setup", execution if started else None),
        ("run", ended.get("finishedAt")),
    ]
    known = [(name, datetime.fromisoformat(str(time))) for name, time in moments if time]
    # The server's clock and the cluster's may differ by a little.
    return {name: max(0, round((time - before).total_seconds())) for (_, before), (name, time) in pairwise(known)}


def _condition_time(pod: Json, kind: str) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind and condition.get("status") == "True":
            return str(condition["lastTransitionTime"]) if condition.get("lastTransitionTime") else None
    return None
