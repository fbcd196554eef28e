"""A task's script as a process of this machine: started, waited for, ended.

The process has a folder of its own, which goes with it; its temporary files and those of what it starts are in there.
What it has to say to a person it prints behind `MARK`: its console has it all, the command line shows only that.
Outside system: one subprocess, and what it has started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from clearml_access import locks, processes
from command_line import interrupts
from pipeline.module_tasks.declaration import ModuleTask
from pipeline.sdk.processes import variables_of
from pipeline.step_runtime.inherited import without_task

MARK = "» "
PREFIX = "clearml-run-"
NEW_S = 60.0
"""So young a folder may have been made, and not yet been locked."""

LOOK_EVERY_S = 0.1
LEAVE_TIMEOUT_S = 15.0


def remove_left_folders() -> None:
    """Remove the folders of commands that were killed, once nothing runs in them any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            about = folder.lstat()
            if about.st_uid != os.geteuid() or time.time() - about.st_mtime < NEW_S:
                continue
            if (lock := locks.take(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def tell(text: str) -> None:
    """Say something to the person at the command line, from inside such a process."""
    print(f"{MARK}{text}", flush=True)


class ModuleProcess:
    """A task's process. Use it as a context manager: at its end the process has ended and its folder is gone.

    Args:
        task: What it runs.
        environ: Its environment, without the variables that would make it part of a task around this process.
        task_id: The task that it is, as the SDK tells a pipeline's local step; nothing if it makes one itself.
        arguments: Of its script.
    """

    def __init__(
        self, task: ModuleTask, environ: Mapping[str, str], *, task_id: str = "", arguments: Sequence[str] = ()
    ) -> None:
        remove_left_folders()
        self._temporary = tempfile.TemporaryDirectory(prefix=PREFIX)
        self.folder = Path(self._temporary.name)
        self._lock = locks.take(self.folder)  # held by this process and by that one, until both have ended
        self._log = self.folder / "process.log"
        script = self.folder / task.entry_name
        script.write_text(task.entry_script, encoding="utf-8")
        variables = {"TMPDIR": str(self.folder)}
        if task_id:
            variables |= variables_of(task_id)
        with self._log.open("wb") as log:
            try:
                with interrupts.held():
                    self._process = subprocess.Popen(
                        [sys.executable, str(script), *arguments],
                        cwd=self.folder,
                        env=without_task(environ) | variables,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        pass_fds=() if self._lock is None else (self._lock,),
                        start_new_session=True,  # Ctrl-C is for this process, which then ends that one in good order
                    )
            except KeyboardInterrupt:
                self.kill()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive:
            self.kill()
        if self._lock is not None:
            os.close(self._lock)
        self._temporary.cleanup()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code; `None` while it runs."""
        return self._process.poll()

    def wait(self, deadline: float, say: Callable[[str], None] = lambda _: None) -> int:
        """Wait for the process and return its exit code; what it tells is said.

        Raises:
            TimeoutError: The deadline (monotonic) passed.
            KeyboardInterrupt: This process was asked to end.
        """
        rest = ""
        with self._log.open(encoding="utf-8", errors="replace") as log:
            while True:
                interrupts.raise_if_asked()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(LOOK_EVERY_S)
                code = self.exit_code
                *lines, rest = (rest + log.read()).split("\n")
                for line in lines:
                    if line.startswith(MARK):
                        say(line.removeprefix(MARK).rstrip())
                if code is not None:
                    return code
                if time.monotonic() > deadline:
                    raise TimeoutError

    def lines(self) -> list[str]:
        """Return what the process has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()

    def kill(self) -> None:
        """End the process and what it has started at once.

        A kind signal would let the SDK's exit handlers write their own version of how the tasks ended.
        """
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:  # its number may be another group's by now; what it has started has the folder in its environment
            for member in processes.family("TMPDIR", str(self.folder)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_TIMEOUT_S)


def tail(lines: Sequence[str], most: int = 15) -> tuple[str, ...]:
    """Return the last lines that a process printed, as the evidence of an error."""
    return tuple(lines[-most:])
