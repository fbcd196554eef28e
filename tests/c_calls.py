"""The calls of compiled functions that keep the interpreter's lock for long.

While one of them runs, no other thread does: neither threads nor short pieces of Python around it help an event loop in
the same process. Time is the processor time of the calling thread, so that a busy machine changes nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

GIVES_UP_THE_LOCK = frozenset({"Connection.execute", "Connection.executemany", "compress", "flush"})
"""Calls of SQLite and zlib, which let other threads run meanwhile."""


@contextmanager
def long_c_calls(limit_ms: float) -> Iterator[list[str]]:
    """Yield a list of the calls in this block that take longer than `limit_ms`, each with its time and its place."""
    found: list[str] = []
    began = 0.0

    def watch(frame: FrameType, event: str, function: Any) -> None:
        nonlocal began
        if event in ("c_call", "call", "return"):  # a call that itself calls Python gives others their turn there
            began = time.thread_time()
        else:
            took_ms = 1000 * (time.thread_time() - began)
            name = getattr(function, "__qualname__", repr(function))
            if took_ms > limit_ms and name not in GIVES_UP_THE_LOCK:
                found.append(f"{name} {took_ms:.0f} ms in {frame.f_code.co_filename}:{frame.f_lineno}")

    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(None)
