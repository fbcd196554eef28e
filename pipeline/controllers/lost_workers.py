"""Steps whose worker disappeared: found, and ended as failed; the controller runs them again.

A machine that dies reports nothing: its step would stay "running" for ever. It must not run anything again itself
(`pipeline.controllers.controller` does). Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import time

from clearml_access.errors import UserFacingError
from pipeline.clearml_server import ClearmlServer
from pipeline.controllers.failure_causes import WORKER_LOST

AFTER_S = 90.0
LOOK_EVERY_S = 10.0


class LostWorkers:
    """Ends steps whose worker is gone: no sign of life from the task, and the worker is no longer listed."""

    def __init__(self) -> None:
        self._server: ClearmlServer | None = None
        self._looked = time.monotonic()
        self._silent_since: dict[str, tuple[str, float]] = {}

    def end_silent(self, task_ids: list[str]) -> None:
        """Mark those of the running tasks as failed that no process runs any more."""
        if not task_ids or time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        try:
            self._server = self._server or ClearmlServer.connect()
            workers = self._server.live_workers()
            tasks = self._server.tasks(["last_update", "last_worker", "status"], id=task_ids)
        except UserFacingError as error:
            print(f"Could not check the running steps: {error}")
            return
        for task in tasks:
            update = str(task.get("last_update"))
            known, since = self._silent_since.get(task["id"], ("", 0.0))
            if known != update or task.get("last_worker") in workers or task["status"] != "in_progress":
                self._silent_since[task["id"]] = (update, time.monotonic())
            elif time.monotonic() - since > AFTER_S:
                reason = f"{WORKER_LOST}: no sign of life from {task.get('last_worker')} for {AFTER_S:.0f} s"
                print(f"Step {task['id']}: {reason}")
                self._server.call("tasks.failed", task=task["id"], force=True, status_reason=reason)
