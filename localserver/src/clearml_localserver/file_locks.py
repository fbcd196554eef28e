"""Locks between processes of one machine: they go with the process, however it ends. Outside system: `flock`."""

from __future__ import annotations

import fcntl


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder until it is closed; return whether that was possible at once.

    Args:
        descriptor: What is locked.
        shared: Whether others may share the lock.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
