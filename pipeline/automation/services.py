"""Tasks that drive other tasks: the search and the schedulers. Made as drafts, run as a process here or by an agent.

What runs is the script that is stored on the task, in both cases; a process here is told which task it is as the SDK
tells a pipeline's local step. What such a process has to say to a person it prints behind `MARK`: its console has it
all, the command line shows only that. Outside systems: the ClearML server, and one subprocess in a folder of its own.
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
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearml_access.errors import CallRefusedError, UserFacingError
from command_line import interrupts
from pipeline import provenance
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import RunError
from pipeline.graph.definitions import PROJECT
from pipeline.graph.parameters import Parameter, ParameterValue
from pipeline.settings import step_requirements
from pipeline.step_runtime.inherited import without_task

MARK = "» "
SECTION = "Args"
TAIL_LINES = 20
STOP_CHILDREN_S = 40.0
STOP_REASON = "user aborted"
ALIVE = ("queued", "in_progress")
_RAISED = re.compile(r"pipeline(?:\.\w+)*\.\w+: (?P<text>.+)")


class ServiceError(RunError):
    """A search or a scheduler failed."""

    exit_code = 45


@dataclass(frozen=True)
class Service:
    """One such task."""

    name: str
    type: str
    """ClearML's type of it."""

    module: str
    """Its `main` is the process."""

    parameters: tuple[Parameter, ...]
    project: str = PROJECT

    @property
    def entry_name(self) -> str:
        """Name of its script."""
        return f"{self.module.rpartition('.')[2]}.py"

    @property
    def entry_script(self) -> str:
        """Its script, stored on the task: an agent needs no repository."""
        return (
            f'"""{self.name}. The work is in the installed package `pipeline`."""\n\n'
            f"from {self.module} import main\n\nmain()\n"
        )


def create(server: ClearmlServer, service: Service, values: Mapping[str, ParameterValue]) -> str:
    """Make the task with these parameters, as a draft, and return its id."""
    found = server.call("projects.get_all", name=f"^{re.escape(service.project)}$", only_fields=["id"])["projects"]
    project = found[0] if found else server.call("projects.create", name=service.project, description="")
    commit = provenance.commit()
    return str(
        server.call(
            "tasks.create",
            name=service.name,
            project=str(project["id"]),
            type=service.type,
            comment=f"made by pipeline {provenance.PACKAGE_VERSION}" + (f", commit {commit}" if commit else ""),
            script={
                "repository": "",
                "branch": "",
                "entry_point": service.entry_name,
                "working_dir": ".",
                "diff": service.entry_script,
                "requirements": {"pip": "\n".join(step_requirements()) + "\n"},
            },
            hyperparams={
                SECTION: {
                    parameter.name: {
                        "section": SECTION,
                        "name": parameter.name,
                        "value": str(values.get(parameter.name, parameter.default)),
                        "type": parameter.type.__name__,
                        "description": parameter.description,
                    }
                    for parameter in service.parameters
                }
            },
        )["id"]
    )


def read_values(service: Service, given: Mapping[str, object]) -> dict[str, ParameterValue]:
    """Return a task's parameters, checked; one that it does not have is at its default.

    Args:
        service: What the task is.
        given: What the SDK says: `section/name` → value.

    Raises:
        SettingsError: One is of the wrong type or out of range.
    """
    return {
        parameter.name: parameter.parse(str(given[key])) if key in given else parameter.default
        for parameter in service.parameters
        for key in [f"{SECTION}/{parameter.name}"]
    }


def tell(text: str) -> None:
    """Say something to the person at the command line, from inside such a process."""
    print(f"{MARK}{text}", flush=True)


def run_here(
    server: ClearmlServer,
    service: Service,
    task_id: str,
    *,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Run the task as a process of this machine, to its end; what it tells is said.

    Raises:
        ServiceError: It failed, with its last lines in the message; or it was aborted from elsewhere.
        KeyboardInterrupt: Ctrl-C; it was stopped, with what it had started and not ended.
    """
    server.call("tasks.started", task=task_id)
    with _process(service, task_id, environ) as process:
        try:
            tail: deque[str] = deque(maxlen=TAIL_LINES)
            assert process.stdout is not None  # noqa: S101  # it is a pipe
            interrupts.raise_if_asked()
            for line in process.stdout:
                interrupts.raise_if_asked()
                text = line.rstrip()
                tail.append(text)
                if text.startswith(MARK):
                    say(text.removeprefix(MARK))
            code = process.wait()
        except KeyboardInterrupt:
            _kill(process)
            stop(server, task_id)
            raise
    # Not `server.tasks`, for which a task that has just been stopped may be on its way to a pod: this one is not.
    found = server.call("tasks.get_all", id=[task_id], only_fields=["status"], search_hidden=True)["tasks"]
    if not found or found[0]["status"] == "stopped":
        stop_children(server, task_id)
        raise ServiceError(f"{service.name} was aborted")
    if code:
        raised = [match["text"] for match in map(_RAISED.fullmatch, tail) if match]
        reason = raised[-1] if raised else f"its process ended with exit code {code}"
        with contextlib.suppress(CallRefusedError):
            server.call("tasks.failed", task=task_id, force=True, status_reason=reason[:200])
        lines = "" if raised else "".join(f"\n    {text}" for text in tail)
        raise ServiceError(f"{service.name} failed: {reason}{lines}", hint=f"look at {server.task_page('*', task_id)}")


@contextlib.contextmanager
def _process(service: Service, task_id: str, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryDirectory(prefix="clearml-service-") as name:
        script = Path(name) / service.entry_name
        script.write_text(service.entry_script, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=name,
            env=without_task(environ)
            | {
                "CLEARML_TASK_ID": task_id,
                "TRAINS_TASK_ID": task_id,
                "CLEARML_LOG_TASK_TO_BACKEND": "1",
                "CLEARML_SIMULATE_REMOTE_TASK": "1",
                "TMPDIR": name,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the caller, which then ends this one in good order
        )
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process at once: a kind signal would let the SDK write its own version of how the task ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def stop(server: ClearmlServer, task_id: str) -> None:
    """Stop the task, then the tasks that it has started and that still run."""
    _ask(server, "tasks.stopped", task_id, force=True)
    stop_children(server, task_id)


def stop_children(server: ClearmlServer, task_id: str) -> None:
    """Stop the tasks that a task has started and that still run."""
    give_up = time.monotonic() + STOP_CHILDREN_S
    patience = time.monotonic() + STOP_CHILDREN_S / 2
    while children := server.tasks(["status"], parent=[task_id], status=list(ALIVE)):
        for child in children:
            told = child["status"] == "queued" or time.monotonic() > patience
            _ask(server, "tasks.stopped" if told else "tasks.stop", child["id"], **({"force": True} if told else {}))
        if time.monotonic() > give_up:
            break
        time.sleep(0.5)


def _ask(server: ClearmlServer, endpoint: str, task_id: str, **options: bool) -> None:
    with contextlib.suppress(CallRefusedError):  # it has ended by itself in the meantime
        server.call(endpoint, task=task_id, status_reason=STOP_REASON, **options)


def enqueue(server: ClearmlServer, task_id: str, queue: str) -> None:
    """Give the task to an agent."""
    try:
        server.call("tasks.enqueue", task=task_id, queue_name=queue)
    except UserFacingError:
        server.call("tasks.delete", task=task_id, force=True)
        raise
