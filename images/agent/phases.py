"""How long each phase of a task's pod took. Pure."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

Json = dict[str, Any]


def sandbox_time(pod: Json) -> str | None:
    """Return when the pod had its network and volumes; Kubernetes forgets that when the pod ends."""
    return _condition_time(pod, "PodReadyToStartContainers")


def phases(pod: Json, sandbox: str | None, task_started: str | None) -> dict[str, int]:
    """Return the seconds of each phase that the pod went through.

    Args:
        pod: The pod, as it was last seen.
        sandbox: What `sandbox_time` returned while the pod lived.
        task_started: When the task's record says that it was started.
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
        ("setup", task_started if started else None),
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
