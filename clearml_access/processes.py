"""Processes by pid: start detached, recognise again, end with everything they started.

Outside system: the operating system's process table (through psutil). A pid alone is never trusted: it counts only
together with the start that was recorded with it, so that a recycled pid is never signalled. On Linux the start is
counted from the boot, since the time of day moves with the clock. What a process has started itself is recognised by
an environment variable that it inherited, even after its parent was killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from clearml_access.errors import StopError

TERM_GRACE_S = 10.0
KILL_GRACE_S = 5.0
POLL_S = 0.05
LOADING_S = 2.0
LOADING_POLL_S = 0.001
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
START_TICKS = 19
"""Where the start stands behind the name in `/proc/PID/stat`: field 22 of proc(5), counted from the state, field 3."""

LOG_LIMIT_BYTES = 20 * 2**20
"""A longer log is put aside at the next start."""


@dataclass(frozen=True)
class Record:
    """A started process, as its pid file keeps it."""

    pid: int
    start: str
    """What `start_of` says of it: the same pid with another start is another process. Empty in a pid file of old."""

    facts: dict[str, Any]
    """What else is worth remembering, e.g. the address it listens on."""

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Return the record in `path`; None where there is none or it is damaged."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            record = cls(int(data["pid"]), str(data.get("start", "")), dict(data.get("facts", {})))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return record if record.start or "started" in data else None

    def write(self, path: Path) -> None:
        """Put the record into `path`, never half of it."""
        temporary = path.with_suffix(".new")
        text = json.dumps({"pid": self.pid, "start": self.start, "facts": self.facts})
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)

    def process(self, folder: Path) -> psutil.Process | None:
        """Return the process if it is still the recorded one and alive.

        Args:
            folder: Where it runs.
        """
        try:
            process = psutil.Process(self.pid)
            same = start_of(process) == self.start if self.start else _leads(process, folder)
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.Error, ProcessLookupError):  # it is gone, or another user's
            return None


def start_of(process: psutil.Process) -> str:
    """Return when a process started, in words that stay the same for its whole life.

    Linux keeps clock ticks since the boot; psutil makes a time of day of them, which moves with every step of the
    clock (suspend, NTP). Other systems keep the time of day at which the process was made.

    Raises:
        psutil.NoSuchProcess: It is gone.
    """
    stat = Path(f"/proc/{process.pid}/stat")
    if not BOOT_ID.exists():
        return f"{process.create_time():.2f}"
    try:
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    return f"{BOOT_ID.read_text(encoding='ascii').strip()} {fields[START_TICKS]}"


def _leads(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process leads a session that was started for `folder`.

    For pid files of versions that kept the time of day: after a step of the clock it says nothing.
    """
    return os.getsid(process.pid) == process.pid and str(folder) in _environment(process).values()


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment, waiting for a program that is just being loaded: it has none for a moment.

    Right after `Popen` that is so in every second case on a busy Linux machine. Kernel threads have no program.

    Raises:
        psutil.Error: The process has ended, or is another user's.
    """
    deadline = time.monotonic() + LOADING_S
    while process.exe() and not process.cmdline() and time.monotonic() < deadline:
        time.sleep(LOADING_POLL_S)
    found: dict[str, str] = process.environ()
    return found


def running(pid_file: Path) -> psutil.Process | None:
    """Return the live process of `pid_file`."""
    record = Record.read(pid_file)
    return record.process(pid_file.parent) if record else None


def start(argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, pid_file: Path) -> psutil.Popen:
    """Start `argv` in a session of its own, output appended to `log`, and record it in `pid_file`."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".old"))
    with log.open("ab") as output:
        process = psutil.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(env),
            start_new_session=True,
            umask=0o077,
        )
    Record(process.pid, start_of(process), {}).write(pid_file)
    return process


def remember(pid_file: Path, **facts: Any) -> None:
    """Add facts to the record of `pid_file`, where its process runs."""
    record = Record.read(pid_file)
    process = record.process(pid_file.parent) if record else None
    if record is not None and process is not None:
        Record(process.pid, start_of(process), record.facts | facts).write(pid_file)


def families(variable: str) -> dict[str, list[psutil.Process]]:
    """Return the live processes that have `variable` in their environment, by its value; this one excepted."""
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            value = _environment(process).get(variable)
        except psutil.Error:  # ended meanwhile, or another user's
            continue
        if value is not None and process.pid != os.getpid():
            found[value].append(process)
    return found


def family(variable: str, value: str) -> list[psutil.Process]:
    """Return the live processes whose environment has `variable=value`, this one excepted."""
    return families(variable).get(value, [])


def end(processes: Iterable[psutil.Process], *, term_s: float = TERM_GRACE_S, kill_s: float = KILL_GRACE_S) -> None:
    """End processes: SIGTERM, a wait, SIGKILL for those that are left.

    Raises:
        StopError: A process is still there afterwards.
    """
    left = list(processes)
    for signal_name, grace_s in (("terminate", term_s), ("kill", kill_s)):
        for process in left:
            try:
                getattr(process, signal_name)()  # psutil refuses a recycled pid
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied as error:
                raise StopError(
                    f"process {process.pid} belongs to another user", hint=f"ps -fp {process.pid}"
                ) from error
        left = _wait(left, grace_s)
        if not left:
            return
    pids = " ".join(str(process.pid) for process in left)
    raise StopError(f"processes {pids} did not end within {term_s + kill_s:.0f} s", hint=f"ps -fp {pids}")


def _wait(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout_s
    left = processes
    while True:
        left = [process for process in left if is_alive(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_S)


def is_alive(process: psutil.Process | int) -> bool:
    """Tell whether a process, or the pid's, still runs.

    One that has ended and that nobody waited for (a zombie) does not, although its pid is still there: a stock
    clearml-agent leaves those of the tasks that it aborted until it starts another one.
    """
    if isinstance(process, psutil.Popen):
        process.poll()  # reaps our own child, which would stay a zombie
    try:
        process = psutil.Process(process) if isinstance(process, int) else process
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], timeout_s: float, *, poll_s: float = POLL_S) -> bool:
    """Return whether `condition` came true within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def tail(log: Path, lines: int = 15) -> tuple[str, ...]:
    """Return the name and the last lines of a log file, as the evidence of an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return (f"{log} cannot be read: {error.strerror}",)
    return (f"the last lines of {log}:", *text.splitlines()[-lines:])
