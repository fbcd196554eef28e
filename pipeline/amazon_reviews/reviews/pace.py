"""How far a long piece of work over rows is, how fast it goes, and when it will be done: numbers, and words for them.

The module is pure apart from `Lines`, which prints for a step's console: whole lines, since a console that is stored
line by line shows nothing of a bar but its last carriage return. Bars are the command line's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class Pace:
    """Where the work is."""

    rows: int
    """Rows done."""
    share: float
    """Share of the whole, 0 to 1."""
    seconds: float
    """Time since the work began."""

    @property
    def rows_per_s(self) -> float:
        """Rows a second so far."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time that the rest will take at this pace, if anything is known about it."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0 else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        return f"{self.rows:,} rows ({self.share:.0%}), {self.rows_per_s:,.0f} rows/s{left}"


def duration(seconds: float) -> str:
    """Return a time as `0:07` or `1:02:33`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Lines:
    """Tells the pace in lines, one every few seconds and none for short work.

    Args:
        label: What stands before each line.
        every: Seconds between two lines.
        clock: Tells the time.
        say: Takes each line.
    """

    def __init__(
        self,
        label: str,
        *,
        every: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self._label = label
        self._every = every
        self._clock = clock
        self._say = say
        self._next = clock() + every

    def __call__(self, pace: Pace) -> None:
        """Say where the work is, if it is time for it."""
        if self._clock() >= self._next:
            self._next = self._clock() + self._every
            self._say(f"{self._label}: {pace}")
