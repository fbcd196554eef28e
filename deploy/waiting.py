"""Bounded waits, and the clock that they look at. Tests hand them a clock that need not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

POLL_S = 0.7


@dataclass(frozen=True)
class Clock:
    """Where waits and checks take the time from."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


SYSTEM = Clock()


def system_clock() -> Clock:
    """Return the clock of this machine."""
    return SYSTEM


@dataclass
class Wait:
    """A wait with a deadline: `while True: look; if not wait.again(): break`."""

    deadline_s: float
    clock: Clock = field(default_factory=system_clock)
    poll_s: float = POLL_S
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the wait began."""
        return self.clock.monotonic() - self.began

    def again(self) -> bool:
        """Sleep, unless the deadline has passed; return whether to look again."""
        if self.seconds >= self.deadline_s:
            return False
        self.sleep()
        return True

    def sleep(self) -> None:
        """Sleep for the time between two looks."""
        self.clock.sleep(self.poll_s)
