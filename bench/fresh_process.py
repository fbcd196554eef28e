"""Work measured in a process of its own: its seconds, and the most memory that it ever held.

A process of its own since a peak never falls again and what one run has cached helps the next. Outside system: the
kernel (`/proc` where there is one).
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.declaration import BenchmarkError

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured:
    """What a piece of work took, and what it returned."""

    seconds: float
    peak_mib: float
    value: Any = None


Prepared = Callable[[], Any]
"""The work to measure, with all that it needs at hand."""


def measure(prepare: Callable[..., Prepared], *arguments: Any, timeout_s: float = 600.0) -> Measured:
    """Prepare work in a new process, then measure it there.

    Args:
        prepare: A function of a module; called with the arguments, it returns the work. Its time does not count; its
            memory does.
        arguments: What it needs, and whatever the work returns: both are sent from process to process.
        timeout_s: After these seconds the process is ended.

    Raises:
        BenchmarkError: The process failed, or took too long; its own words are on stderr.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, prepare, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(timeout_s):
            raise BenchmarkError(f"{prepare.__name__} took more than {timeout_s:.0f} s")
        found = ours.recv()
        assert isinstance(found, Measured)
        return found
    except EOFError as error:
        raise BenchmarkError(f"{prepare.__name__} failed in its process") from error
    finally:
        process.kill()
        process.join()


def _measure(answer: Connection, prepare: Callable[..., Prepared], arguments: tuple[Any, ...]) -> None:
    work = prepare(*arguments)
    began = time.perf_counter()
    value = work()
    seconds = time.perf_counter() - began
    answer.send(Measured(seconds, peak_mib(), value))


def peak_mib() -> float:
    """Return the most memory that this process ever held, in MiB.

    The kernel's `VmHWM` starts again with each program; `ru_maxrss` is handed on to children.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
