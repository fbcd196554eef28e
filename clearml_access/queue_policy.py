"""What the values say of a queue beside what its pods are like: environment variables of its agent. Pure.

It is in the agent's image too, beside the agent's own modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clearml_access import pod_records
from clearml_access.quantities import parse_quantity

MAX_PENDING = "CLEARML_PODS_MAX_PENDING_MINUTES"
MEMORY_CAP = "CLEARML_PODS_MEMORY_CAP"
LOST_RETRIES = "CLEARML_PODS_LOST_RETRIES"
WORKER = "CLEARML_PODS_WORKER"
"""What the agent calls itself on the server, in place of the release's name, which an agent elsewhere may have too."""

DEFAULT_PENDING_MINUTES = 60.0


class PolicyError(ValueError):
    """A variable's value cannot be read; the text names both."""


@dataclass(frozen=True)
class QueuePolicy:
    """How an agent's queue is treated."""

    max_pending_s: float = DEFAULT_PENDING_MINUTES * 60
    """How long a task that was taken may wait for its pod to start; 0: for ever."""

    memory_cap: str = ""
    """The most memory that a task may ask for, or get after it ran out of it; empty: as the cluster allows."""

    lost_retries: int | None = None
    """How often a step of a pipeline is run again that was lost, where the run's own number is lower."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> QueuePolicy:
        """Read the agent's environment.

        Raises:
            PolicyError: A value is not possible.
        """
        given = {name: environ.get(name, "").strip() for name in (MAX_PENDING, MEMORY_CAP, LOST_RETRIES)}
        try:
            minutes = float(given[MAX_PENDING] or DEFAULT_PENDING_MINUTES)
        except ValueError:
            minutes = -1.0
        if not 0 <= minutes < float("inf"):
            raise PolicyError(f"{MAX_PENDING}={given[MAX_PENDING]}: expected minutes such as 60, or 0 for no limit")
        try:
            parse_quantity(given[MEMORY_CAP] or "1")
        except ValueError as error:
            raise PolicyError(f"{MEMORY_CAP}={given[MEMORY_CAP]}: expected memory such as 16Gi") from error
        if given[LOST_RETRIES] and not given[LOST_RETRIES].isdecimal():
            raise PolicyError(f"{LOST_RETRIES}={given[LOST_RETRIES]}: expected a whole number such as 10")
        return cls(minutes * 60, given[MEMORY_CAP], int(given[LOST_RETRIES]) if given[LOST_RETRIES] else None)

    def notes(self) -> dict[str, str]:
        """Return what a task's record gets of it, for the run that the task may be a step of."""
        lost = "" if self.lost_retries is None else str(self.lost_retries)
        return {
            key: text
            for key, text in ((pod_records.MEMORY_CAP, self.memory_cap), (pod_records.LOST_RETRIES, lost))
            if text
        }

    @property
    def pending_limit(self) -> str:
        """How long a task may wait for its pod to start, for a message."""
        return f"{self.max_pending_s / 60:g} min ({MAX_PENDING})"

    def is_over(self, waited_s: float) -> bool:
        """Return whether a task has waited for too long."""
        return 0 < self.max_pending_s <= waited_s

    def refusal(self, memory: str) -> str:
        """Return why a task may not ask for so much memory; nothing where it may."""
        if self.memory_cap and memory and parse_quantity(memory) > parse_quantity(self.memory_cap):
            return f"{memory} of memory is more than the {self.memory_cap} that the queue allows ({MEMORY_CAP})"
        return ""
