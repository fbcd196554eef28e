"""Starting the task TF-IDF and following it to its end: as a process of this machine, or on a queue.

What runs is a clone of the task's draft, in both modes, by the script that is stored on it. It must not train
(`pipeline.amazon_reviews.model.fitting` does, in the task's process). Outside systems: the ClearML server, and in mode
`in-process` one subprocess in a folder of its own, which goes with it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clearml_access.errors import UserFacingError
from command_line import interrupts
from pipeline.amazon_reviews.model import fit_model
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import RunError, exit_code_of
from pipeline.graph.parameters import ParameterValue
from pipeline.preflight import require_queue
from pipeline.run_options import IN_PROCESS, QUEUE
from pipeline.runs.run import RunTimeoutError
from pipeline.step_runtime.inherited import without_task

MODES = (QUEUE, IN_PROCESS)
LOOK_EVERY_S = 0.5
CONSOLE_LINES = 60
STOP_PATIENCE_S = 20.0
"""An agent looks every 5 s whether its task was stopped, and ends its process then."""

CONSOLE_PATIENCE_S = 8.0
"""An agent hands the last lines in with its next look at the process, up to 5 s after the end."""

ENDED = ("completed", "published", "closed", "failed", "stopped")
GOOD = ("completed", "published", "closed")
_RAISED = re.compile(r"(?P<module>pipeline(?:\.\w+)*)\.(?P<kind>\w+): (?P<text>.+)")


class FitError(RunError):
    """The task failed; its exit code is that of the error in it, where that is known."""


def check(server: ClearmlServer, parameters: Mapping[str, ParameterValue], mode: str, queue: str) -> None:
    """Find out what would make the task wait or fail, before it is made.

    Raises:
        QueueError: The queue does not exist or has no live worker.
        DatasetNotFoundError: A version does not exist; the message lists what does.
        DatasetStateError: A version was never finished.
    """
    if mode == QUEUE:
        require_queue(server, queue)
    from pipeline.datasets.datasets import require_version

    project, name = str(parameters["dataset_project"]), str(parameters["dataset_name"])
    for part in ("train", "test"):
        require_version(server, project, name, str(parameters[f"{part}_dataset_version"]))


def create(server: ClearmlServer, parameters: Mapping[str, ParameterValue]) -> str:
    """Clone the draft with these parameters and return the new task's id."""
    draft = fit_model.ensure_template(server)
    task = str(server.call("tasks.clone", task=draft, new_task_name=fit_model.TASK_NAME)["id"])
    server.call(
        "tasks.edit_hyper_params",
        task=task,
        hyperparams=fit_model.arguments(parameters),
        replace_hyperparams="section",
    )
    return task


def run(
    server: ClearmlServer,
    task: str,
    *,
    mode: str,
    queue: str,
    timeout_s: float,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run the task to its end and return what it made: `model_id`, `dataset_version`, `metrics` and so on.

    Args:
        server: The server.
        task: What `create` returned.
        mode: One of `MODES`.
        queue: Where mode `queue` puts it.
        timeout_s: After that it is stopped.
        environ: Environment of the process in mode `in-process`.
        say: Told what happens.

    Raises:
        FitError: It failed.
        RunTimeoutError: It did not end in time and was stopped.
        KeyboardInterrupt: Ctrl-C; it was stopped.
    """
    deadline = time.monotonic() + timeout_s
    try:
        interrupts.raise_if_asked()
        if mode == IN_PROCESS:
            _run_here(server, task, deadline, environ, say)
        else:
            server.call("tasks.enqueue", task=task, queue_name=queue)
            say(f"Task {task} is in queue {queue}")
        _follow(server, task, deadline, say)
    except KeyboardInterrupt:
        _stop(server, task)
        raise
    except TimeoutError:
        _stop(server, task)
        raise RunTimeoutError(
            f"task {task} took longer than {timeout_s:g} s and was stopped",
            hint="give it more time: --timeout SECONDS; or look at the queue: ./task server-status",
        ) from None
    return result_of(server, task)


def result_of(server: ClearmlServer, task: str) -> dict[str, Any]:
    """Return what a completed task has made.

    Raises:
        FitError: It says nothing of it.
    """
    artifacts = (server.tasks(["execution.artifacts"], id=[task])[0].get("execution") or {}).get("artifacts") or []
    for artifact in artifacts:
        if artifact["key"] == fit_model.RESULT:
            found: dict[str, Any] = json.loads((artifact.get("type_data") or {}).get("preview") or "{}")
            return found
    raise FitError(f"task {task} has no artifact {fit_model.RESULT!r}", hint=f"look at {server.task_page('*', task)}")


def _run_here(
    server: ClearmlServer, task: str, deadline: float, environ: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Run the task's script as a process, as the SDK runs a pipeline's local step."""
    with tempfile.TemporaryDirectory(prefix="clearml-fit-") as name:
        folder = Path(name)
        script = folder / fit_model.ENTRY_NAME
        script.write_text(fit_model.ENTRY_SCRIPT, encoding="utf-8")
        log = folder / "task.log"
        server.call("tasks.started", task=task)
        say(f"Task {task} runs as a process of this machine")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=folder,
                env=without_task(environ)
                | {
                    "CLEARML_TASK_ID": task,
                    "TRAINS_TASK_ID": task,
                    "CLEARML_LOG_TASK_TO_BACKEND": "1",
                    "CLEARML_SIMULATE_REMOTE_TASK": "1",
                    "TMPDIR": str(folder),
                },
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one in good order
            )
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            error = _error(server, task, lines)
            error = error or FitError(f"the task's process ended with exit code {code}:\n" + _tail(lines))
            server.call("tasks.failed", task=task, force=True, status_reason=error.message.splitlines()[0][:200])
            raise error


def _follow(server: ClearmlServer, task: str, deadline: float, say: Callable[[str], None]) -> None:
    """Wait for the end of the task and print what it prints."""
    status = ""
    while status not in ENDED:
        interrupts.raise_if_asked()
        found = server.tasks(["status", "status_reason"], id=[task])[0]
        if found["status"] != status:
            status = found["status"]
            say(f"Task {task}: {status.replace('_', ' ')}")
        if status in ENDED:
            break
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(LOOK_EVERY_S)
    if status in GOOD:
        return
    give_up = time.monotonic() + CONSOLE_PATIENCE_S
    while (
        not (error := _error(server, task, lines := server.console(task, CONSOLE_LINES))) and time.monotonic() < give_up
    ):
        time.sleep(LOOK_EVERY_S)
    raise error or FitError(f"task {task} {status}: {found.get('status_reason') or 'no reason given'}\n" + _tail(lines))


def _error(server: ClearmlServer, task: str, lines: list[str]) -> UserFacingError | None:
    """Return the error of this package that ended the task, by the last traceback on its console."""
    found = [match for match in map(_RAISED.fullmatch, lines) if match]
    if not found:
        return None
    kind = getattr(importlib.import_module(found[-1]["module"]), found[-1]["kind"], None)
    if not (isinstance(kind, type) and issubclass(kind, UserFacingError)):
        return None
    error = FitError(found[-1]["text"], hint=f"all that it printed: {server.task_page('*', task)}")
    error.exit_code = exit_code_of(kind)
    return error


def _tail(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines[-15:])


def _stop(server: ClearmlServer, task: str) -> None:
    """Stop the task, and remove what it had begun once nobody works on it any more."""
    give_up = time.monotonic() + STOP_PATIENCE_S
    while True:
        # An agent that is just starting the task declares it started again, so that once is not always enough.
        server.call("tasks.stopped", task=task, force=True, status_reason="aborted by python -m pipeline")
        if task not in server.tasks_in_hand() or time.monotonic() > give_up:
            break
        time.sleep(LOOK_EVERY_S)
    found = server.tasks(["hyperparams"], id=[task])[0]["hyperparams"][fit_model.SECTION]
    from pipeline.amazon_reviews.model import registry
    from pipeline.datasets import datasets

    for model in registry.unpublished_of(server, task):
        registry.discard(model)
    datasets.discard_unfinished(server, found["dataset_project"]["value"], found["dataset_name"]["value"], {task})
