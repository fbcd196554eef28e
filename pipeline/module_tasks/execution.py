"""Runs a task that runs an installed module, as a process of this machine or by an agent, to its end; stops it.

What runs is the script that is stored on the task, in both cases. How it ended, the server's task status says. Outside
systems: the ClearML server, and `pipeline.module_tasks.process`.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clearml_access.causes import cause
from clearml_access.errors import CallRefusedError, UserFacingError
from clearml_access.tasks import FINAL
from command_line import interrupts
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import RunError, RunTimeoutError, TaskDeletedError, exit_code_of
from pipeline.module_tasks.declaration import ModuleTask
from pipeline.module_tasks.process import ModuleProcess, tail

LOOK_EVERY_S = 0.5
CONSOLE_LINES = 60
CONSOLE_PATIENCE_S = 8.0
"""An agent hands the last lines in with its next look at the process, up to 5 s after the end."""

STOP_PATIENCE_S = 20.0
"""An agent looks every 5 s whether its task was stopped, and ends its process then."""

STOP_REASON = "user aborted"
ALIVE = ("queued", "in_progress")
_RAISED = re.compile(r"(?P<module>(?:pipeline|clearml_access)(?:\.\w+)*)\.(?P<kind>\w+): (?P<text>.+)")


def enqueue(server: ClearmlServer, task_id: str, queue: str) -> None:
    """Give a task to an agent; one that the queue does not take is deleted.

    Raises:
        CallRefusedError: The queue does not take it.
    """
    try:
        server.call("tasks.enqueue", task=task_id, queue_name=queue)
    except UserFacingError:
        server.call("tasks.delete", task=task_id, force=True)
        raise


def run(
    server: ClearmlServer,
    task: ModuleTask,
    task_id: str,
    *,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    queue: str = "",
    timeout_s: float = math.inf,
) -> None:
    """Run a task to its end.

    Args:
        server: The server.
        task: What it is.
        task_id: Which one: made, and not started yet.
        environ: Environment of its process.
        say: Told what happens, and what the process tells.
        queue: The queue that it is put into; without one it is a process of this machine.
        timeout_s: After that it is stopped.

    Raises:
        RunError: It failed (`ModuleTask.failure`); the exit code is that of the error in it, where that is known. Each
            error's document names the task.
        RunTimeoutError: It did not end in time and was stopped, with what it had started.
        TaskDeletedError: It was deleted.
        KeyboardInterrupt: Ctrl-C; it was stopped likewise.
    """
    deadline = time.monotonic() + timeout_s
    try:
        try:
            interrupts.raise_if_asked()
            if queue:
                enqueue(server, task_id, queue)
                say(f"Task {task_id} is in queue {queue}")
                _await_end(server, task, task_id, deadline, say)
            else:
                _run_here(server, task, task_id, deadline, environ, say)
        except KeyboardInterrupt:
            stop(server, task, task_id)
            raise
        except TimeoutError:
            stop(server, task, task_id)
            raise RunTimeoutError(
                f"task {task_id} took longer than {timeout_s:g} s and was stopped",
                hint="give it more time: --timeout SECONDS; or look at the queue: ./task workers-status",
            ) from None
    except UserFacingError as error:
        error.document = {"task_id": task_id} | error.document
        raise


def document(server: ClearmlServer, task_id: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return what the server has of a task.

    Raises:
        TaskDeletedError: It has nothing.
    """
    found = server.tasks(fields, id=[task_id])
    if not found:
        raise _deleted(task_id)
    return found[0]


def _deleted(task_id: str) -> TaskDeletedError:
    return TaskDeletedError(f"task {task_id} was deleted", hint="run the command again: it makes a new task")


def _run_here(
    server: ClearmlServer,
    task: ModuleTask,
    task_id: str,
    deadline: float,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    server.call("tasks.started", task=task_id)
    with ModuleProcess(task, environ, task_id=task_id) as process:
        code = process.wait(deadline, say)
        lines = process.lines()
    if not code:
        # Not `server.tasks`, for which a task that has just been stopped may be on its way to a pod: this one is not.
        found = server.call("tasks.get_all", id=[task_id], only_fields=["status"], search_hidden=True)["tasks"]
        if not found:
            raise _deleted(task_id)
        if found[0]["status"] == "stopped":
            raise _aborted(server, task, task_id)
        stop_children(server, task, task_id)
        return
    error = _raised(server, task, task_id, lines) or task.failure(
        f"{task.name} failed: {cause(lines) or f'its process ended with exit code {code}'}",
        hint=f"look at {server.task_page('*', task_id)}",
        evidence=tail(lines),
    )
    reason = error.message.removeprefix(f"{task.name} failed: ").splitlines()[0]
    with contextlib.suppress(CallRefusedError):
        server.call("tasks.failed", task=task_id, force=True, status_reason=reason[:200])
    raise error


def _await_end(
    server: ClearmlServer, task: ModuleTask, task_id: str, deadline: float, say: Callable[[str], None]
) -> None:
    status = ""
    while True:
        interrupts.raise_if_asked()
        found = document(server, task_id, ["status", "status_reason"])
        if found["status"] != status:
            status = found["status"]
            say(f"Task {task_id}: {status.replace('_', ' ')}")
        if status in FINAL:
            return
        if status == "stopped":
            raise _aborted(server, task, task_id)
        if status == "failed":
            break
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(LOOK_EVERY_S)
    give_up = time.monotonic() + CONSOLE_PATIENCE_S
    while True:
        lines = server.console(task_id, CONSOLE_LINES)
        error = _raised(server, task, task_id, lines)
        if error or time.monotonic() > give_up:
            break
        time.sleep(LOOK_EVERY_S)
    reason = found.get("status_reason") or "no reason given"
    raise error or task.failure(
        f"{task.name} failed: {reason}", hint=f"look at {server.task_page('*', task_id)}", evidence=tail(lines)
    )


def _aborted(server: ClearmlServer, task: ModuleTask, task_id: str) -> RunError:
    """Stop what an aborted task has started, and return the error."""
    stop_children(server, task, task_id)
    return task.failure(f"{task.name} was aborted", hint=f"look at {server.task_page('*', task_id)}")


def _raised(server: ClearmlServer, task: ModuleTask, task_id: str, lines: Sequence[str]) -> RunError | None:
    """Return the error of this package that ended a task, by the last traceback among its console's lines."""
    found = [match for match in map(_RAISED.fullmatch, lines) if match]
    if not found:
        return None
    kind = None
    with contextlib.suppress(ImportError):
        kind = getattr(importlib.import_module(found[-1]["module"]), found[-1]["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, UserFacingError)):
        return None
    error = task.failure(
        f"{task.name} failed: {found[-1]['text']}", hint=f"all that it printed: {server.task_page('*', task_id)}"
    )
    error.exit_code = exit_code_of(kind)
    return error


def stop(server: ClearmlServer, task: ModuleTask, task_id: str) -> None:
    """Stop a task, wait until no worker has it in hand, then stop the tasks that it has started and that still run."""
    give_up = time.monotonic() + STOP_PATIENCE_S
    while True:
        # An agent that is just starting the task declares it started again, so that once is not always enough.
        _ask(server, "tasks.stopped", task_id, force=True)
        if task_id not in server.tasks_in_hand() or time.monotonic() > give_up:
            break
        time.sleep(LOOK_EVERY_S)
    stop_children(server, task, task_id)


def stop_children(server: ClearmlServer, task: ModuleTask, task_id: str) -> None:
    """Stop the tasks that a task has started and that still run.

    Its parent alone does not say so of a task: a copy that is made on the page has the original as its parent.
    """
    if not task.starts:
        return
    patience = time.monotonic() + STOP_PATIENCE_S
    give_up = patience + STOP_PATIENCE_S
    while time.monotonic() < give_up:
        children = server.tasks(["status"], parent=[task_id], type=[task.starts], status=list(ALIVE))
        if not children:
            return
        for child in children:
            told = child["status"] == "queued" or time.monotonic() > patience
            _ask(server, "tasks.stopped" if told else "tasks.stop", child["id"], **({"force": True} if told else {}))
        time.sleep(LOOK_EVERY_S)


def _ask(server: ClearmlServer, endpoint: str, task_id: str, **options: bool) -> None:
    with contextlib.suppress(CallRefusedError):  # it has ended by itself in the meantime
        server.call(endpoint, task=task_id, status_reason=STOP_REASON, **options)
