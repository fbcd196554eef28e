"""A process's big temporary files, in one folder that goes with it: at its exit, or, if it was killed, with the next.

Steps and uploads have gigabytes there. Every way out is met: a process that ends by itself or by an exception removes
its folder, and one that had no chance to (SIGKILL, the SDK's `os._exit` when a task is aborted) leaves an unlocked
one, which the next process on that machine removes. Outside system: the file system.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from clearml_access import locks

PREFIX = "clearml-pods-scratch-"
"""Nothing else may be called so: whatever is, and is not locked, is removed."""

ATTEMPTS = 3

_own: dict[int, tuple[Path, int | None]] = {}
"""Process → its folder and the descriptor that locks it: a forked process has none of its own yet."""


def scratch_folder() -> Path:
    """Return a new folder inside this process's own."""
    return Path(tempfile.mkdtemp(dir=own_folder()))


def own_folder() -> Path:
    """Return this process's folder, which is made by the first call."""
    known = _own.get(os.getpid())
    if known is None:
        _clear_up_after_the_dead()
        known = _own[os.getpid()] = _make()
        atexit.register(clear)
    return known[0]


def clear() -> None:
    """Remove this process's folder now, with all that is in it."""
    path, descriptor = _own.pop(os.getpid(), (None, None))
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)
    if descriptor is not None:
        os.close(descriptor)


def _make() -> tuple[Path, int | None]:
    for attempt in range(ATTEMPTS):
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = locks.take(path)
        if descriptor is not None or attempt == ATTEMPTS - 1:
            break
        with contextlib.suppress(OSError):  # another process has removed it first
            path.rmdir()
    return path, descriptor  # without a lock where the file system has none: there no process clears up either


def _clear_up_after_the_dead() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        descriptor = locks.take(path)
        if descriptor is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)
