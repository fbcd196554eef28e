"""How long each phase of a task's pod took. Pure."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

Json = dict[str, Any]

EXECUTES = "worker starting task execution"
"""The last reason that the agent in the pod gives (clearml-agent 1.9.2): packages and code are there."""

SDK_STARTED = ""
"""The reason that the SDK's `Task.init` leaves a moment later. The agent's first report in the pod has none either."""


def sandbox_time(pod: Json) -> str | None:
    """Return when the pod had its network and volumes; Kubernetes forgets that when the pod ends."""
    return _condition_time(pod, "PodReadyToStartContainers")


def execution_start(known: Json | None, state: Json) -> Json | None:
    """Return the state of a task's record that tells when its own script began, after one more look at the record.

    `EXECUTES` tells it. It lasts only until the SDK is imported, which may be shorter than the time between two looks;
    then the SDK's own report is the nearest that the record has. The record's `started` is not it: a task that its
    agent takes from the queue by `dequeue` has none.

    Args:
        known: What this function returned after the look before.
        state: The record's state now.
    """
    if state.get("status") != "in_progress" or (known and known["status_reason"] == EXECUTES):
        return known
    return state if state.get("status_reason") in (EXECUTES, SDK_STARTED) else None


def phases(pod: Json, sandbox: str | None, execution: Json | None) -> dict[str, int]:
    """Return the seconds of each phase that the pod went through.

    Args:
        pod: The pod, as it was last seen.
        sandbox: What `sandbox_time` returned while the pod lived.
        execution: What `execution_start` returned last while the task ran.
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
        ("setup", execution.get("status_changed") if started and execution else None),
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
