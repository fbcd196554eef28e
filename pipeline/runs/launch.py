"""The controller's process on this machine: it is there once it has a task on the server.

Why a process of its own, `pipeline.controllers.controller` says. This module must not look at the run itself
(`pipeline.runs.run` does, on the server). Outside system: the process, through `pipeline.module_tasks.process`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace

from clearml_access.causes import cause
from command_line import interrupts
from pipeline.controllers.controller_task import controller_task
from pipeline.controllers.options import Launch
from pipeline.errors import RunError
from pipeline.module_tasks.process import ModuleProcess, tail
from pipeline.preflight import CheckedRun

ANNOUNCEMENT = "run-id"
"""File in the process's folder."""


class LaunchError(RunError):
    """The controller could not be started."""

    exit_code = 41


class ControllerProcess(ModuleProcess):
    """The controller's process on this machine: in queue mode it ends when the controller is in its queue."""

    def __init__(self, checked: CheckedRun, environ: Mapping[str, str]) -> None:
        settings = checked.settings
        launch = Launch(
            options=replace(settings.options, controllers_queue=checked.controllers_queue),
            parameters=dict(settings.parameters),
            announce=ANNOUNCEMENT,
            command=os.getpid(),
        )
        super().__init__(controller_task(settings.definition), environ, arguments=[launch.to_json()])
        self._announcement = self.folder / ANNOUNCEMENT

    def run_id(self, deadline: float) -> str:
        """Wait for the controller's task and return its id.

        Raises:
            LaunchError: The process ended without one, or the deadline (monotonic) passed.
        """
        while not self._announcement.exists():
            interrupts.raise_if_asked()
            code = self.exit_code
            if code is not None and not self._announcement.exists():
                raise self._error(f"the controller ended with exit code {code} before it had a task")
            if time.monotonic() > deadline:
                raise self._error("the controller did not get a task on the server in time")
            time.sleep(0.05)
        return self._announcement.read_text(encoding="utf-8")

    def enqueued(self, deadline: float) -> None:
        """Wait until the process has put the controller into its queue, which is its end.

        Raises:
            LaunchError: It could not do so, or the deadline (monotonic) passed.
        """
        try:
            code = self.wait(deadline)
        except TimeoutError:
            raise self._error("the controller was not enqueued in time") from None
        if code:
            raise self._error(f"the controller could not be enqueued (exit code {code})")

    def known_run_id(self) -> str | None:
        """Return the id of the controller's task, if the process has got that far: announced, or only printed."""
        if self._announcement.exists():
            return self._announcement.read_text(encoding="utf-8")
        found = re.search(r"created new task id=([0-9a-f]{32})", "\n".join(self.lines()))
        return found[1] if found else None

    def _error(self, problem: str) -> LaunchError:
        lines = self.lines()
        reason = cause(lines)
        return LaunchError(f"{problem}: {reason}" if reason else problem, evidence=tail(lines))
