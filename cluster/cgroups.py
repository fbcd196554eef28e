"""The one cgroup that holds all pods, in every hierarchy that this machine has (version 1, 2 or both).

Outside system: the cgroup file systems.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from clearml_access import processes
from cluster.errors import CannotHostError, ClusterError

REMOVE_TIMEOUT_S = 60.0
MOUNTS = Path("/proc/self/mounts")


def hierarchies() -> list[Path]:
    """Return where this machine's cgroup hierarchies are mounted."""
    rows = (line.split() for line in MOUNTS.read_text(encoding="utf-8").splitlines())
    return [Path(row[1]) for row in rows if row[2] in ("cgroup", "cgroup2")]


def create(name: str) -> None:
    """Make cgroup `name` in every hierarchy, ready for processes.

    Raises:
        CannotHostError: It cannot be made; the message names the hierarchy.
    """
    for hierarchy in hierarchies():
        folder = hierarchy / name
        try:
            folder.mkdir(exist_ok=True)
            controllers = hierarchy / "cgroup.controllers"
            if controllers.exists():  # version 2: children get only what is handed down, level by level
                wanted = " ".join(f"+{controller}" for controller in controllers.read_text().split())
                for level in (hierarchy, folder):
                    (level / "cgroup.subtree_control").write_text(wanted)
            for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty, and then no process can enter
                if (folder / setting).exists() and not controllers.exists():
                    (folder / setting).write_text((hierarchy / setting).read_text())
        except OSError as error:
            raise CannotHostError(f"cgroup {folder} cannot be made: {error.strerror}", hint="run as root") from error


def remove(name: str) -> None:
    """Remove cgroup `name` and everything below it, in every hierarchy.

    Raises:
        ClusterError: A process is still in it.
    """
    for hierarchy in hierarchies():
        folder = hierarchy / name
        if not processes.wait_until(lambda folder=folder: _removed(folder), REMOVE_TIMEOUT_S):  # type: ignore[misc]
            raise ClusterError(f"cgroup {folder} is still in use", hint=f"cat {folder}/cgroup.procs")


def _removed(folder: Path) -> bool:
    for level, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # busy until the kernel is done with its last process
            Path(level).rmdir()
    return not folder.exists()
