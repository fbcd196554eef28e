"""The state of a run: found, read once, or watched to its end.

It works for the run of any pipeline: all that is asked for is on the server. It must not change a run
(`pipeline.runs.run` does), and it prints nothing. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from clearml_access import run_records
from clearml_access.errors import ServerUnreachableError
from clearml_access.run_records import RunState
from clearml_access.tasks import CONTROLLER_TYPE, is_pipeline
from command_line import interrupts
from command_line.options import TASK_ID
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import RunError
from pipeline.graph.definitions import Definition

LOOK_EVERY_S = 0.4
OUTAGE_S = 180.0
"""How long a server may be away while a run is watched."""


class Observer(Protocol):
    """Is told what happens."""

    def note(self, text: str) -> None:
        """Take notice of one thing in words."""

    def update(self, run: RunState) -> None:
        """Take notice of the run's state."""


def fetch(server: ClearmlServer, run_id: str, definition: Definition | None = None) -> RunState:
    """Return the state of a run.

    Args:
        server: The server.
        run_id: The controller's task.
        definition: Which steps there are while the controller has not written them down; without it, none.

    Raises:
        RunError: There is no such run.
    """
    found = server.tasks(run_records.RUN_FIELDS, id=[run_id])
    if not found:
        raise RunError(f"run {run_id} does not exist on {server.api_url}", hint=f"look for it on {server.web_url}")
    return run_records.read_run(found[0], _family(server, found[0]), definition)


def _family(server: ClearmlServer, controller: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks of a controller's steps, and of the steps of those that are controllers themselves."""
    tasks = server.tasks(run_records.RUN_FIELDS, parent=[controller["id"]])
    known = {task["id"] for task in tasks}
    cached = [task_id for task_id in run_records.step_task_ids(controller) if task_id not in known]
    tasks += server.tasks(run_records.RUN_FIELDS, id=cached) if cached else []
    inner = [task for task in tasks if task.get("type") == CONTROLLER_TYPE]
    return tasks + [member for task in inner for member in _family(server, task)]


def find(server: ClearmlServer, text: str) -> str:
    """Return the id of a run by its id, or by the name of its pipeline: of several runs, the newest.

    Args:
        server: The server.
        text: The id or the name. The SDK numbers the later runs of a pipeline: `name #2`.

    Raises:
        RunError: There is none, or the id is that of a task that is not a pipeline's run.
    """
    fields = ["name", "type", "system_tags", "status"]
    if TASK_ID.fullmatch(text):
        found = server.tasks(fields, id=[text])
        if found and not is_pipeline(found[0]):
            # Another command does not know this machine's own server by itself: pods may not reach it.
            named = os.environ.get("CLEARML_CONFIG_FILE")
            server_named = f"CLEARML_CONFIG_FILE={shlex.quote(named)} " if named else ""
            raise RunError(
                f"task {text} ({found[0].get('name')}) is not a run of a pipeline",
                hint=f"its console: {server_named}./task logs -- {text}",
            )
    else:
        name = rf"^{re.escape(text)}( #\d+)?$"
        found = server.tasks(fields, type=[CONTROLLER_TYPE], name=name, order_by=["-created"])
    if not found:
        what = f"run {text}" if TASK_ID.fullmatch(text) else f"a run of a pipeline called {text!r}"
        raise RunError(f"{what} does not exist on {server.api_url}", hint=f"look for it on {server.web_url}")
    return str(found[0]["id"])


def watched(
    server: ClearmlServer,
    run_id: str,
    observer: Observer,
    deadline: float,
    definition: Definition | None = None,
) -> Iterator[RunState]:
    """Yield the state of a run, again and again; the caller stops at the one that it waits for.

    Args:
        server: The server. It may be away for three minutes.
        run_id: The run.
        observer: Told of each state, and when the server is away.
        deadline: When a server that is away is not waited for any longer (monotonic).
        definition: See `fetch`.

    Raises:
        RunError: There is no such run.
        ServerUnreachableError: The server was away for too long.
        KeyboardInterrupt: The process was told to end.
    """
    away_since: float | None = None
    while True:
        interrupts.raise_if_asked()
        try:
            state = fetch(server, run_id, definition)
        except ServerUnreachableError as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > OUTAGE_S or time.monotonic() > deadline:
                raise
            observer.note(f"{error.message}; waiting for it")
            time.sleep(1.0)
            continue
        if away_since is not None:
            observer.note("the server answers again")
            away_since = None
        observer.update(state)
        yield state
        time.sleep(LOOK_EVERY_S)
