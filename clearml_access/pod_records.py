"""What the agent's image writes onto the record of a task that runs in a pod: keys of its runtime section. Pure.

It is in the agent's image too, beside the agent's own modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

END = "pod"
"""How the task's last pod ended, where that was not as its script wanted."""

PHASES = "pod_phases"
"""How long each phase of the last pod took; it is there once the pod has ended."""

MEMORY = "pod_memory"
"""The memory limit of the last pod, where it ran out of memory."""

AGENT = "pod_agent"
"""The agent that made the pod."""

MEMORY_CAP = "pod_memory_cap"
LOST_RETRIES = "pod_lost_retries"
"""What the agent's values say of its queue: the most memory that a task may have, and how often it is run again
when it was lost."""

OF_ONE_RUN = (END, PHASES, MEMORY, MEMORY_CAP, LOST_RETRIES)
"""What becomes untrue when an agent takes the task again."""

_PHASE = re.compile(r"(\w+) (\d+) s")


def phases_as_text(phases: Mapping[str, int]) -> str:
    """Return phases as one line; `phases_of` reads it."""
    return ", ".join(f"{name} {seconds} s" for name, seconds in phases.items())


def phases_of(task: Mapping[str, Any]) -> dict[str, int]:
    """Return the seconds of each phase of the task's last pod, in order; nothing where none are recorded."""
    return {name: int(seconds) for name, seconds in _PHASE.findall(str(runtime_of(task).get(PHASES) or ""))}


def runtime_of(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a task's runtime section."""
    return task.get("runtime") or {}
