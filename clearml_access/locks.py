"""Locks between processes of one machine, by files and folders.

A lock goes with its process, however that ends; what a killed process leaves is taken over. Outside system: the file
system (`flock`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ATTEMPTS = 3
POLL_S = 0.2


def take(path: Path) -> int | None:
    """Lock a file or a folder for this process.

    Returns:
        A descriptor, to be closed; None if another process has it, or has just removed it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed by its last holder, and made again by the next, since it was opened.
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


@contextlib.contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold a lock file for the length of the block; it is there only meanwhile.

    Returns:
        Whether it could be had.
    """
    descriptor = None
    for _ in range(ATTEMPTS):  # more than one: a file that its holder has just removed is free
        with contextlib.suppress(PermissionError):  # another user's
            path.touch()
        descriptor = take(path)
        if descriptor is not None:
            break
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Run the block while no other thread or process runs one with the same lock file, which stays.

    On a file system without locks it runs at once.

    Args:
        path: The lock file; it and its folder are made.
        on_wait: Called if another process has the lock, before waiting for it.
    """
    with _opened(path) as descriptor:
        if not _try(descriptor):
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def within(path: Path, timeout_s: float) -> Iterator[bool]:
    """Hold the lock on a file or a folder for the length of the block, as soon as it is free.

    On a file system without locks it is always free.

    Args:
        path: The lock file, which is made and stays; or a folder that exists.
        timeout_s: The longest wait for another process that has it.

    Returns:
        Whether it could be had in time.
    """
    give_up = time.monotonic() + timeout_s
    with _opened(path) as descriptor:
        while not (held := _try(descriptor)) and time.monotonic() < give_up:
            time.sleep(POLL_S)
        yield held


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | (0 if path.is_dir() else os.O_CREAT), 0o666)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):  # told to, since a process forked meanwhile has the descriptor too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    """Return whether the lock is held now, or there are none on this file system."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
