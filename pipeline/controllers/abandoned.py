"""A controller on a person's machine whose command was killed: it stops its run, and ends.

A command ends its controller in good order, also on Ctrl-C. One that is killed (`kill -9`, out of memory) cannot: its
controller would go on unseen, and where its server is gone as well, it would wait for ever. Outside systems: the
ClearML server, through its adapter, and this process's own group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from clearml_access.errors import UserFacingError
from clearml_access.run_records import DAG_CONFIGURATION, read_dag
from clearml_access.tasks import CONTROLLER_TYPE, ENDED
from pipeline.clearml_server import ClearmlServer

LOOK_EVERY_S = 1.0
STOP_S = 20.0
"""How long the server may take to learn that the run was stopped."""

REASON = "the command that ran it was killed"


def end_with(command: int, server: ClearmlServer, run_id: str) -> None:
    """Watch the command from a thread; once it is gone, stop the run and end this process and all that it has started.

    Args:
        command: The process id of the command, this process's parent.
        server: The server, over a connection that no other thread uses.
        run_id: The run.
    """
    threading.Thread(target=_watch, args=(command, server, run_id), daemon=True, name="abandoned").start()


def _watch(command: int, server: ClearmlServer, run_id: str) -> None:
    while os.getppid() == command:
        time.sleep(LOOK_EVERY_S)
    print(f"{REASON}: stopping the run", flush=True)
    stopping = threading.Thread(target=_stop, args=(server, run_id), daemon=True)
    stopping.start()
    stopping.join(STOP_S)
    # A kind signal would let the SDK's exit handlers write their own version of how the tasks ended.
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _stop(server: ClearmlServer, task_id: str) -> None:
    """Stop a task, first itself, so that it starts nothing more, then what it has started: steps, dataset versions."""
    with contextlib.suppress(UserFacingError):
        server.call("tasks.stopped", task=task_id, force=True, status_reason=REASON)
    with contextlib.suppress(UserFacingError):
        steps = read_dag(server.tasks([f"configuration.{DAG_CONFIGURATION}"], id=[task_id])[0])
        for child in server.tasks(["name", "status", "type"], parent=[task_id]):
            # A copy that somebody has made of this run has it as its parent, too.
            is_copy = child["type"] == CONTROLLER_TYPE and child["name"] not in steps
            if child["status"] not in ENDED and not is_copy:
                _stop(server, child["id"])
