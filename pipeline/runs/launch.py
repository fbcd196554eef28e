"""The controller's process on this machine: started, waited for, ended.

Why a process of its own, `pipeline.controllers.controller` says. This module must not look at the run itself
(`pipeline.runs.run` does, on the server). Outside system: one subprocess in a folder of its own, and
what it has started.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from clearml_access import processes
from command_line import interrupts
from pipeline.controllers.options import Launch
from pipeline.errors import RunError
from pipeline.preflight import Plan
from pipeline.step_runtime.inherited import without_task

LEAVE_TIMEOUT_S = 15.0


class LaunchError(RunError):
    """The controller could not be started."""

    exit_code = 41


class ControllerProcess:
    """The controller's process on this machine: in queue mode it ends when the controller is in its queue."""

    def __init__(self, plan: Plan, environ: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clearml-run-")
        folder = Path(self._folder.name)
        self._announce = folder / "run-id"
        self._log = folder / "controller.log"
        settings = plan.settings
        launch = Launch(
            options=replace(settings.options, controllers_queue=plan.controllers_queue),
            parameters=dict(settings.parameters),
            announce=str(self._announce),
        )
        entry = folder / settings.definition.entry_name
        entry.write_text(settings.definition.entry_script, encoding="utf-8")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(entry), launch.to_json()],
                cwd=folder,
                # A run started from inside a ClearML task is a run of its own, not part of that task.
                # Its temporary files and its steps' go with the folder, however they end.
                env=without_task(environ) | {"TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one in good order
            )

    def run_id(self, deadline: float) -> str:
        """Wait for the controller's task and return its id.

        Raises:
            LaunchError: The process ended without one, or the deadline (monotonic) passed.
        """
        while not self._announce.exists():
            interrupts.raise_if_asked()
            code = self._process.poll()
            if code is not None and not self._announce.exists():
                raise LaunchError(f"the controller ended with exit code {code} before it had a task:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise LaunchError(f"the controller did not get a task on the server in time:\n{self.tail()}")
            time.sleep(0.05)
        return self._announce.read_text(encoding="utf-8")

    def wait(self, deadline: float) -> int:
        """Wait for the process and return its exit code.

        Raises:
            LaunchError: The deadline (monotonic) passed.
        """
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise LaunchError(f"the controller was not enqueued in time:\n{self.tail()}") from None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def tail(self, lines: int = 15) -> str:
        """Return the last lines that the process printed."""
        return "\n".join(f"    {line}" for line in self._printed().splitlines()[-lines:])

    def _printed(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def known_run_id(self) -> str | None:
        """Return the id of the controller's task, if the process has got that far: announced, or only printed."""
        if self._announce.exists():
            return self._announce.read_text(encoding="utf-8")
        found = re.search(r"created new task id=([0-9a-f]{32})", self._printed())
        return found[1] if found else None

    def kill(self) -> None:
        """End the process and the steps that it runs on this machine at once: what is left, `abort` puts in order.

        A kind signal would let the SDK's exit handlers write their own version of how the tasks ended.
        """
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:  # its number may be another group's by now; what it has started has the folder in its environment
            for member in processes.family("TMPDIR", self._folder.name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_TIMEOUT_S)

    def close(self) -> None:
        """Let go of the process and its folder."""
        if self.alive:
            self.kill()
        self._folder.cleanup()


@contextlib.contextmanager
def started_controller(plan: Plan, environ: Mapping[str, str]) -> Iterator[ControllerProcess]:
    """Start the controller for the length of the block."""
    process = ControllerProcess(plan, environ)
    try:
        yield process
    finally:
        process.close()
