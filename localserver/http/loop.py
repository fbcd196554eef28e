"""How long the event loop stood still.

The three services share one event loop: while one callback runs, or another thread keeps the interpreter's lock, nobody
is answered. The monitor is due every few milliseconds; how late it comes is how long the loop stood.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque

log = logging.getLogger(__name__)

PERIOD_S = 0.02
NOTED_S = 0.01
"""Shorter stalls are not kept: timers are that inexact."""

WARNED_S = 1.0
KEPT = 3000
"""Stalls that are kept: a minute's worth at least, since there cannot be more than one in each period."""


class LoopMonitor:
    """Notes the stalls of the running event loop.

    Time in which the loop's thread was ready but the kernel gave the processor to other processes is not counted
    (`run_delay` in `/proc/<pid>/task/<tid>/schedstat`): on a busy machine that is most of the lateness, and nothing in
    this process can change it. What is left is the loop's own work, blocking calls in it, and waiting for the
    interpreter's lock. CPU time would miss the last two.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        """Longest stall since the start."""
        self._stalls: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._handle: asyncio.TimerHandle | None = None
        self._schedstat: int | None = None
        self._due = self._queued = 0.0

    def start(self) -> None:
        """Begin to measure the event loop of this thread."""
        try:
            self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:  # another system, or a kernel without the figures: lateness is counted whole
            self._schedstat = None
        self._wait(time.monotonic(), self._queued_s())

    def stop(self) -> None:
        """End measuring."""
        if self._handle is not None:
            self._handle.cancel()
        if self._schedstat is not None:
            os.close(self._schedstat)
            self._schedstat = None

    def recent_s(self, window_s: float) -> float:
        """Return the longest stall that ended within the last `window_s` seconds."""
        since = time.monotonic() - window_s
        return max((length for ended, length in self._stalls if ended >= since), default=0.0)

    def _tick(self) -> None:
        now, queued = time.monotonic(), self._queued_s()
        stall = now - self._due - (queued - self._queued)
        if stall > NOTED_S:
            self._stalls.append((now, stall))
            self.longest_s = max(self.longest_s, stall)
        if stall > WARNED_S:
            log.warning("the event loop stood still for %.1f s: no request was answered meanwhile", stall)
        self._wait(now, queued)

    def _wait(self, now: float, queued: float) -> None:
        self._due, self._queued = now + PERIOD_S, queued
        self._handle = asyncio.get_running_loop().call_later(PERIOD_S, self._tick)

    def _queued_s(self) -> float:
        """Return for how long the loop's thread has been ready without a processor, in all."""
        if self._schedstat is None:
            return 0.0
        return int(os.pread(self._schedstat, 64, 0).split()[1]) / 1e9
