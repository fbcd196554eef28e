"""Which other processes hold a lock on the database, read from `/proc/locks`."""

from __future__ import annotations

import os
from pathlib import Path

LOCKS = Path("/proc/locks")


def holders(path: Path, *, proc_locks: Path = LOCKS) -> list[tuple[int, str]]:
    """Return pid and program of the other processes with a write lock on a database, sorted by pid.

    SQLite locks the database itself or, in WAL mode, the file `-shm` beside it. Empty where `/proc` does not say.
    """
    inodes = set()
    for suffix in ("", "-shm", "-wal"):
        try:
            inodes.add(str(path.with_name(path.name + suffix).stat().st_ino))
        except OSError:  # not there
            continue
    try:
        lines = proc_locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    # "1: POSIX ADVISORY WRITE 4242 fe:00:9978594 120 120"; a waiting request has "->" behind its number.
    fields = [line.split() for line in lines if "->" not in line]
    pids = {
        int(entry[4])
        for entry in fields
        if len(entry) >= 6 and entry[3] == "WRITE" and entry[5].rpartition(":")[2] in inodes
    }
    return [(pid, _program(pid)) for pid in sorted(pids - {os.getpid(), -1})]


def describe_holders(path: Path) -> str:
    """Return the holders as text for a message."""
    return ", ".join(f"pid {pid} {name}".rstrip() for pid, name in holders(path)) or "its pid is unknown"


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # gone, or another user's
        return ""
