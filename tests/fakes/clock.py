"""A clock on which every sleep is over at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class FakeClock:
    """The machine's clock, and all that was slept on it."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self.ahead_s = 0.0
        """How far the time of day is ahead of the machine's, for tests of clocks and silences."""
        self.on_sleep: Callable[[float], None] = lambda _: None

    def monotonic(self) -> float:
        return time.monotonic() + self.slept_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.on_sleep(seconds)
        time.sleep(0.001)  # lets other threads run

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)
