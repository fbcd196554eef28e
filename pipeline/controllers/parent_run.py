"""What a pipeline inside a pipeline knows of the one around it: whether that one still waits for it.

A run that is aborted from the web page loses its controller and nothing else: without this, a pipeline inside it would
continue and publish versions that are not needed any more. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import time

from clearml_access.errors import UserFacingError
from clearml_access.tasks import CONTROLLER_TYPE
from pipeline.clearml_server import ClearmlServer

LOOK_EVERY_S = 5.0
GIVEN_UP = ("stopped", "failed")


class ParentRun:
    """The pipeline around this one, if it is part of one.

    A clone of an inner run has the same parent, but no run there waits for it: only an outer run that was under way
    when this one began is heeded.
    """

    def __init__(self, server: ClearmlServer, task_id: str) -> None:
        self._server = server
        self._task_id = task_id
        self._run_id: str | None = None
        self._looked = float("-inf")
        self._first = True

    def has_given_up(self) -> bool:
        """Return whether it has ended badly since this one began."""
        if time.monotonic() - self._looked < LOOK_EVERY_S or not (self._first or self._run_id):
            return False
        self._looked = time.monotonic()
        try:
            if not self._first:
                return self._status() in GIVEN_UP
            found = self._server.tasks(["parent"], id=[self._task_id])
            self._run_id = str(found[0].get("parent") or "") if found else ""
            self._run_id = self._run_id if self._status() == "in_progress" else ""
            self._first = False
        except UserFacingError as error:
            print(f"Could not check the pipeline around this one: {error}")
        return False

    def _status(self) -> str:
        found = self._server.tasks(["status", "type"], id=[self._run_id]) if self._run_id else []
        return str(found[0]["status"]) if found and found[0]["type"] == CONTROLLER_TYPE else ""
