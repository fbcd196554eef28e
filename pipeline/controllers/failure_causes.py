"""Why a step failed, and whether that cause is worth another try. Pure.

On Kubernetes the agent's image writes what became of a pod as the reason of its task's status: `pod: Evicted`
(`images/agent`, the causes in `deploy.kubernetes.pods`). Without a pod, what we and the server's watchdog say counts.
"""

from __future__ import annotations

import re
from enum import StrEnum

WORKER_LOST = "worker lost"
"""What the controller writes as the reason of a step whose worker gives no sign of life."""

_LOST_WORKER = (WORKER_LOST, "no sign of life", "non-responsive", "had died")
"""How we, the server's watchdog and `./task server-up` say that a step's worker is gone, in its reason or message."""

_LOST_POD = frozenset({"Evicted", "Preempted", "NodeLost", "Deleted"})
_NEVER_STARTS = frozenset(
    {
        *("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "Unschedulable", "NotStarted"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "FailedMount"),
    }
)
_POD_REASON = re.compile(r"\bpod: (\w+)")
_NO_POD = "cannot start"
"""What the agent's image gives as the reason where the task's own settings make no pod."""


class Cause(StrEnum):
    """The kinds of failure that are treated differently."""

    LOST = "lost"
    """The step did nothing wrong: its pod was evicted, preempted or deleted, or its node or worker is gone."""

    NEVER_STARTS = "never starts"
    """Its image, its configuration or the cluster's room: the next try would end in the same way."""

    MEMORY = "memory"
    """It needs more memory than its pod may have."""

    OWN = "own"
    """Its own work failed."""


def cause_of(why: str, memory_limit: str = "") -> Cause:
    """Return the kind of a failure.

    Args:
        why: The reason and the message of the task's status.
        memory_limit: Of its pod, where that ran out of memory. Without a limit its node ran out of it: then more for
            this step would not help.
    """
    if memory_limit:
        return Cause.MEMORY
    pod = _POD_REASON.search(why)
    if (pod and pod[1] in _NEVER_STARTS) or why.startswith(_NO_POD):
        return Cause.NEVER_STARTS
    if (pod and pod[1] in _LOST_POD) or any(sign in why.lower() for sign in _LOST_WORKER):
        return Cause.LOST
    return Cause.OWN
