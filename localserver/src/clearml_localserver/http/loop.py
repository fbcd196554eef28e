"""Monitor of the event loop: how long it was blocked.

The three services share one event loop: while one callback runs, or another thread keeps the interpreter's lock, no
request is answered. The monitor is due every few milliseconds; how late it comes is how long the loop stood.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import time
from collections import deque

log = logging.getLogger(__name__)

PERIOD_S = 0.02
NOTED_S = 0.01
"""Shorter stalls are not kept: timers are that inexact."""

LIST_EVERY_S = 1.0
"""How often new threads are looked for."""

WARNED_S = 1.0
KEPT = 3000
"""Stalls that are kept: a minute's worth at least, since there cannot be more than one in each period."""


SCHEDSTAT_BYTES = 64


class RunQueues:
    """How long this process's threads were ready while the kernel gave the processors to others.

    The figures are `run_delay` in `/proc/self/task/<tid>/schedstat`; where there are none, nothing is known. They are
    read with the interpreter's lock: `os.pread` gives it up, and beside busy threads the event loop would then wait for
    it once for each of its fifty threads.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(SCHEDSTAT_BYTES)
        self._files: dict[str, int] = {}
        self._seen_ns: dict[str, int] = {}
        self._listed_at = -LIST_EVERY_S

    def waited_s(self, now: float) -> float:
        """Return the seconds since the last call, of all threads together."""
        if now - self._listed_at >= LIST_EVERY_S:
            self._listed_at = now
            self._list()
        total = 0
        for thread in list(self._files):
            waited = self._read(thread)
            if waited is not None:
                total += waited - self._seen_ns[thread]
                self._seen_ns[thread] = waited
        return total / 1e9

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _list(self) -> None:
        try:
            threads = set(os.listdir("/proc/self/task")) - self._files.keys()
        except OSError:  # another system
            return
        if threads and not hasattr(self, "_pread"):
            self._pread = ctypes.PyDLL(None).pread
            self._pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long)
            self._pread.restype = ctypes.c_ssize_t
        for thread in threads:
            with contextlib.suppress(OSError):  # it has ended meanwhile, or the kernel keeps no such figures
                self._files[thread] = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
                self._seen_ns[thread] = self._read(thread) or 0

    def _read(self, thread: str) -> int | None:
        read = self._pread(self._files[thread], self._text, SCHEDSTAT_BYTES, 0)
        if read <= 0:  # the thread has ended
            os.close(self._files.pop(thread))
            return None
        return int(self._text.raw[:read].split()[1])


class LoopMonitor:
    """Records the stalls of the running event loop.

    Lateness is counted less what the machine is to blame for: time in which this process had no processor although
    threads of it were ready. On a busy machine that is most of the lateness, and nothing in this process can change it.
    What is left is the loop's own work, blocking calls in it, and other threads that work with the interpreter's lock;
    the loop thread's processor time alone would miss the last two.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        """Longest stall since the start."""
        self._stalls: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._handle: asyncio.TimerHandle | None = None
        self._queues = RunQueues()
        self._due = self._worked_s = 0.0

    def start(self) -> None:
        """Begin to measure the event loop of this thread."""
        now = time.monotonic()
        self._queues.waited_s(now)
        self._wait(now)

    def stop(self) -> None:
        """End measuring."""
        if self._handle is not None:
            self._handle.cancel()
        self._queues.close()

    def recent_s(self, window_s: float) -> float:
        """Return the longest stall that ended within the last `window_s` seconds."""
        since = time.monotonic() - window_s
        return max((length for ended, length in self._stalls if ended >= since), default=0.0)

    def _tick(self) -> None:
        now = time.monotonic()
        late, worked, waited = now - self._due, time.process_time() - self._worked_s, self._queues.waited_s(now)
        stall = late - min(waited, max(0.0, late - worked))
        if stall > NOTED_S:
            self._stalls.append((now, stall))
            self.longest_s = max(self.longest_s, stall)
        if stall > WARNED_S:
            log.warning("the event loop stalled for %.1f s: no request was answered in that time", stall)
        self._wait(now)

    def _wait(self, now: float) -> None:
        self._due, self._worked_s = now + PERIOD_S, time.process_time()
        self._handle = asyncio.get_running_loop().call_later(PERIOD_S, self._tick)
