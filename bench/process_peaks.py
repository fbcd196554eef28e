"""The most memory that each process of a set-up ever held, whichever process started it: sampled while the block runs.

A process belongs to a set-up if its environment names the set-up's folder: agents, controllers and steps are no
children of the benchmark. Linux only, where the kernel keeps the peak (`VmHWM`) itself, so that nothing between two
looks is missed but a process's last moments.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psutil

LOOK_S = 0.3
PROC = Path("/proc")

Role = Callable[[list[str], dict[str, str]], str]
"""A process's command line and environment to what it is in the set-up; nothing, to leave it out."""


class Peaks:
    """Watches the processes whose environment names `folder`.

    Attributes:
        mib: Role → the greatest peak of any process that had it, in MiB. A process that executes another program
            has another role from then on, and a new peak.
    """

    def __init__(self, folder: Path, role: Role) -> None:
        self.mib: dict[str, float] = {}
        self._folder = str(folder)
        self._role = role
        self._environments: dict[psutil.Process, dict[str, str] | None] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peaks", daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        for process in psutil.process_iter():
            try:
                environment = self._environment(process)
                if environment is None:
                    continue
                peak = _peak_mib(process.pid)
                role = self._role(process.cmdline(), environment)
            except (psutil.Error, OSError):  # it has just ended
                continue
            if role and peak:
                self.mib[role] = max(peak, self.mib.get(role, 0.0))

    def _environment(self, process: psutil.Process) -> dict[str, str] | None:
        """Return the environment of a process of the set-up, as its present program has it; None for any other."""
        if self._environments.get(process, {}) is None:
            return None
        found = process.environ()
        ours = found if any(self._folder in value for value in found.values()) else None
        self._environments[process] = ours
        return ours


def _peak_mib(pid: int) -> float:
    """Return a process's peak; 0 of one that is ending, which has no memory any more."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0
