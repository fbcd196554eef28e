"""The adapter for py-spy, the sampling profiler: processes that it starts or is attached to, with their children.

Outside systems: py-spy, in an environment of its own (`./task profile` fetches it), and the kernel's ptrace.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.machine import ROOT
from clearml_access.errors import UserFacingError

PY_SPY = ROOT / ".tools/profile/bin/py-spy"
RATE = 25
"""Samples in a second: at 50 py-spy falls behind where several processes are busy on two cores."""

PROBE_TIMEOUT_S = 30.0
END_TIMEOUT_S = 60.0


class ProfilerError(UserFacingError):
    """The profiler is not there, or must not look into processes."""


def require(py_spy: Path = PY_SPY) -> None:
    """Find out whether processes can be sampled here.

    Raises:
        ProfilerError: py-spy is not installed, or the kernel does not let it read another process.
    """
    if not py_spy.exists():
        raise ProfilerError(f"the profiler py-spy is not at {py_spy}", hint="./task profile fetches it")
    # Its parent: the server and the agents are not started by the profiler either.
    command = [str(py_spy), "dump", "--pid", str(os.getpid())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ProfilerError(f"py-spy did not read a process within {PROBE_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise ProfilerError(
            "py-spy must not read other processes on this machine (ptrace)",
            hint="in a container: start it with --cap-add SYS_PTRACE; on Linux: run as root, or "
            "`sysctl kernel.yama.ptrace_scope=0`; on macOS: run as root",
            evidence=tuple(done.stderr.strip().splitlines()[-5:]),
        )


@contextlib.contextmanager
def attached(pids: Sequence[int], folder: Path) -> Iterator[None]:
    """Sample running processes and their children during the block; the stacks are files of the folder then."""
    spies = [
        subprocess.Popen(
            [*_record(folder / f"attached-{pid}.raw"), "--pid", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for pid in pids
    ]
    try:
        yield
    finally:
        for spy in spies:
            spy.send_signal(signal.SIGINT)  # it writes what it has
        for spy in spies:
            try:
                spy.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                spy.kill()
                spy.wait()


def run(words: Sequence[str], folder: Path, *, timeout_s: float) -> str:
    """Run `python -m pipeline` with these words, sample it and its children, and return its stdout.

    Raises:
        ProfilerError: It fails, or takes too long.
    """
    command = [*_record(folder / "command.raw"), "--", sys.executable, "-m", "pipeline", *words]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProfilerError(f"`pipeline {' '.join(words)}` took more than {timeout_s:.0f} s") from error
    if done.returncode:
        last = tuple(done.stderr.strip().splitlines()[-10:])
        raise ProfilerError(f"`pipeline {' '.join(words)}` failed", evidence=last)
    return done.stdout


def _record(file: Path) -> list[str]:
    return [
        str(PY_SPY),
        "record",
        "--subprocesses",
        "--rate",
        str(RATE),
        "--threads",
        "--format",
        "raw",
        "-o",
        str(file),
    ]
