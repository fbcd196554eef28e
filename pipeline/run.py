"""Use case "run": check, launch the controller, watch the server until the run has ended, abort it when asked to.

What happened is read from the server's task statuses, never from a process's exit code: the SDK's controller ends
with 0 after failed steps, and in queue mode it is not a process of this machine at all. Nothing here prints; an
`Observer` is told (`pipeline.progress`). Outside systems: the ClearML server through its adapter, and one subprocess.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline import runs
from pipeline.clearml_server import CallRefusedError, ClearmlServer, ServerUnreachableError
from pipeline.errors import RunError, ServerError
from pipeline.runs import RunState
from pipeline.settings import IN_PROCESS, QUEUE, STEPS, Settings

SERVICES_QUEUE = "services"
LOOK_EVERY_S = 0.4
OUTAGE_S = 180.0
LAUNCH_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
LEAVE_TIMEOUT_S = 15.0


class QueueError(ServerError):
    """A queue does not exist, or nobody takes tasks from it."""

    exit_code = 33


class LaunchError(RunError):
    """The controller could not be started."""

    exit_code = 41


class RunTimeoutError(RunError):
    """The run took longer than allowed, and was aborted."""

    exit_code = 42


class Observer(Protocol):
    """Somebody who is told what happens."""

    def note(self, text: str) -> None:
        """Take notice of one thing in words."""

    def update(self, run: RunState) -> None:
        """Take notice of the run's state."""


@dataclass(frozen=True)
class Plan:
    """A checked run: where its parts will run."""

    settings: Settings
    controllers_queue: str


def preflight(server: ClearmlServer, settings: Settings, prepare: Callable[[], None] = lambda: None) -> Plan:
    """Find everything out that would make the run wait or fail, before anything is enqueued.

    Args:
        server: The server.
        settings: The run that is wanted.
        prepare: Called when the queues are right and before the dataset is looked for.

    Raises:
        QueueError: A queue does not exist or has no live worker.
        DatasetNotFoundError: The input dataset, or its version, does not exist.
        DatasetStateError: The input version was never finished.
    """
    controllers_queue = settings.controllers_queue or _controllers_queue(server, settings)
    queues = set() if settings.mode == IN_PROCESS else {settings.queue} - _overridden(settings)
    queues |= set() if settings.mode == IN_PROCESS else set(settings.step_queues.values())
    queues |= {controllers_queue} if settings.mode == QUEUE else set()
    for queue in sorted(queues):
        require_queue(server, queue)

    prepare()
    from pipeline.datasets import require_version  # brings the whole SDK with it

    name, project, version = (str(settings.parameters[f"dataset_{key}"]) for key in ("name", "project", "version"))
    require_version(server, project, name, version)
    return Plan(settings, controllers_queue)


def _overridden(settings: Settings) -> set[str]:
    """Return the default queue if no step uses it."""
    return {settings.queue} if set(settings.step_queues) == set(STEPS) else set()


def _controllers_queue(server: ClearmlServer, settings: Settings) -> str:
    """Return the queue for controllers: `services` where somebody serves it, else the steps' own."""
    return SERVICES_QUEUE if server.workers_of(SERVICES_QUEUE) else settings.queue


def require_queue(server: ClearmlServer, queue: str) -> None:
    """Check that tasks in `queue` will be taken.

    Raises:
        QueueError: They will not.
    """
    queues = server.queues()
    if queue not in queues:
        raise QueueError(
            f"queue {queue!r} does not exist on {server.api_url}; queues: {', '.join(sorted(queues)) or 'none'}",
            hint=f"choose one with --queue, or serve it: clearml-agent daemon --queue {queue} --create-queue",
        )
    if not server.workers_of(queue):
        raise QueueError(
            f"queue {queue!r} has no live worker: a task in it would wait for ever",
            hint=f"on this machine: task server-up; elsewhere: clearml-agent daemon --queue {queue}; "
            "or run without agents: --mode in-process",
        )


def fetch(server: ClearmlServer, run_id: str) -> RunState:
    """Return the state of a run.

    Raises:
        RunError: There is no such run.
    """
    found = server.tasks(runs.RUN_FIELDS, id=[run_id])
    if not found:
        raise RunError(f"run {run_id} does not exist on {server.api_url}", hint=f"look for it on {server.web_url}")
    controller = found[0]
    children = server.tasks(runs.TASK_FIELDS, parent=[run_id])
    known = {task["id"] for task in children}
    cached = [task_id for task_id in runs.step_task_ids(controller) if task_id not in known]
    return runs.read_run(controller, children + (server.tasks(runs.TASK_FIELDS, id=cached) if cached else []))


class ControllerProcess:
    """The controller's process on this machine: in queue mode it ends when the controller is in its queue."""

    def __init__(self, plan: Plan, environ: Mapping[str, str]) -> None:
        # Here and not above: the command line must be able to say what is wrong before the SDK is imported.
        from pipeline.controller import ENTRY_NAME, ENTRY_SCRIPT, Launch

        self._folder = tempfile.TemporaryDirectory(prefix="clearml-run-")
        folder = Path(self._folder.name)
        self._announce = folder / "run-id"
        self._log = folder / "controller.log"
        settings = plan.settings
        launch = Launch(
            mode=settings.mode,
            parameters=dict(settings.parameters),
            use_cache=settings.use_cache,
            queue=settings.queue,
            controllers_queue=plan.controllers_queue,
            step_queues=dict(settings.step_queues),
            step_images=dict(settings.step_images),
            announce=str(self._announce),
        )
        entry = folder / ENTRY_NAME
        entry.write_text(ENTRY_SCRIPT, encoding="utf-8")
        # A run started from inside a ClearML task is a run of its own, not part of that task.
        inherited = ("CLEARML_TASK_ID", "TRAINS_TASK_ID", "CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(entry), launch.to_json()],
                cwd=folder,
                env={name: value for name, value in environ.items() if name not in inherited},
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
            code = self._process.poll()
            if code is not None and not self._announce.exists():
                raise LaunchError(f"the controller ended with exit code {code} before it had a task:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise LaunchError(f"the controller has no task after {LAUNCH_TIMEOUT_S:.0f} s:\n{self.tail()}")
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
            raise LaunchError(f"the controller's process does not end:\n{self.tail()}") from None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def tail(self, lines: int = 15) -> str:
        """Return the last lines that the process printed."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def kill(self) -> None:
        """End the process and the steps that it runs on this machine."""
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the process and its folder."""
        if self.alive:
            self.kill()
        self._folder.cleanup()


@contextlib.contextmanager
def _controller(plan: Plan, environ: Mapping[str, str]) -> Iterator[ControllerProcess]:
    process = ControllerProcess(plan, environ)
    try:
        yield process
    finally:
        process.close()


def run(server: ClearmlServer, plan: Plan, observer: Observer, environ: Mapping[str, str]) -> RunState:
    """Run the pipeline to its end and return its last state.

    Raises:
        LaunchError: The controller could not be started.
        RunTimeoutError: The run did not end in time; it has been aborted.
        RunInterrupted: Ctrl-C. The run goes on in queue mode; in the other modes it has been aborted.
        ServerUnreachableError: The server did not come back within three minutes.
    """
    settings = plan.settings
    deadline = time.monotonic() + settings.timeout_s
    with _controller(plan, environ) as process:
        run_id = None
        try:
            run_id = process.run_id(min(deadline, time.monotonic() + LAUNCH_TIMEOUT_S))
            if settings.mode == QUEUE:
                code = process.wait(min(deadline, time.monotonic() + LAUNCH_TIMEOUT_S))
                if code:
                    raise LaunchError(f"the controller could not be enqueued (exit code {code}):\n{process.tail()}")
            return _watch(server, run_id, process, observer, deadline, settings)
        except KeyboardInterrupt:
            if settings.mode != QUEUE or run_id is None or process.alive:
                if run_id:
                    observer.note("interrupted: aborting the run")
                    abort(server, run_id, process)
                raise RunInterrupted(run_id, goes_on=False) from None
            raise RunInterrupted(run_id, goes_on=True) from None


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run.

    Attributes:
        run_id: The run, if it had begun.
        goes_on: Whether it goes on without this process.
    """

    def __init__(self, run_id: str | None, *, goes_on: bool) -> None:
        super().__init__()
        self.run_id = run_id
        self.goes_on = goes_on


def _watch(
    server: ClearmlServer,
    run_id: str,
    process: ControllerProcess,
    observer: Observer,
    deadline: float,
    settings: Settings,
) -> RunState:
    away_since: float | None = None
    left_since: float | None = None
    while True:
        try:
            state = fetch(server, run_id)
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
        if state.ended:
            return _settled(server, state, process, observer)
        if settings.mode != QUEUE and not process.alive:
            # The process is gone and the server still shows a running controller: it was killed, or died reporting.
            left_since = left_since or time.monotonic()
            if time.monotonic() - left_since > LEAVE_TIMEOUT_S:
                observer.note("the controller's process is gone: aborting what it left")
                return abort(server, run_id, process, failed="the controller's process ended without a word")
        if time.monotonic() > deadline:
            observer.note(f"no end after {settings.timeout_s:g} s: aborting the run")
            state = abort(server, run_id, process)
            observer.update(state)
            raise RunTimeoutError(
                f"run {run_id} took longer than {settings.timeout_s:g} s and was aborted; {_where(state)}",
                hint="give it more time: --timeout SECONDS; or look at the queue: task server-status",
            )
        time.sleep(LOOK_EVERY_S)


def _settled(server: ClearmlServer, state: RunState, process: ControllerProcess, observer: Observer) -> RunState:
    """Wait for the local process to leave, and look once more: a controller may fail after its steps."""
    if process.alive:
        with contextlib.suppress(LaunchError):
            process.wait(time.monotonic() + LEAVE_TIMEOUT_S)
    state = fetch(server, state.run_id)
    observer.update(state)
    return state


def _where(state: RunState) -> str:
    if state.status == runs.QUEUED:
        return "its controller was still in its queue"
    waiting = [step.name for step in state.steps if step.status not in runs.GOOD]
    return f"steps without a result: {', '.join(waiting) or 'none'}"


def abort(
    server: ClearmlServer, run_id: str, process: ControllerProcess | None = None, *, failed: str | None = None
) -> RunState:
    """Stop a run: the controller first, so that it starts nothing more, then its steps, then what they left unfinished.

    Args:
        server: The server.
        run_id: The controller's task.
        process: The controller's process, where it is on this machine.
        failed: End the controller as failed, for this reason, instead of as aborted.
    """
    if process is not None:
        process.kill()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    state = fetch(server, run_id)
    if not state.ended and failed:
        server.call("tasks.failed", task=run_id, force=True, status_reason=failed)
    asked: set[str] = set()
    while not (state := fetch(server, run_id)).ended:
        late = time.monotonic() > deadline
        for task_id in _unended(state):
            # A running task is asked once (its agent ends it), and told when it does not listen.
            with contextlib.suppress(CallRefusedError):  # it has ended by itself in the meantime
                if late or process is not None:
                    server.call("tasks.stopped", task=task_id, force=True, status_reason="aborted")
                elif task_id not in asked:
                    server.call("tasks.stop", task=task_id, status_reason="aborted")
            asked.add(task_id)
        if time.monotonic() > deadline + STOP_TIMEOUT_S:
            raise RunError(f"run {run_id} could not be aborted", hint=f"look at {server.task_page('*', run_id)}")
        time.sleep(LOOK_EVERY_S)
    _remove_leftovers(server, state)
    return state


def _unended(state: RunState) -> list[str]:
    steps = [step.task_id for step in state.steps if step.task_id and step.status not in runs.ENDED]
    return ([state.run_id] if state.status not in runs.ENDED else []) + steps


def _remove_leftovers(server: ClearmlServer, state: RunState) -> None:
    """Remove the dataset versions that the run's aborted steps had begun."""
    from pipeline.datasets import discard_unfinished

    makers = {step.task_id for step in state.steps if step.task_id and not step.cached}
    name, project = state.parameters.get("dataset_name"), state.parameters.get("dataset_project")
    if makers and name and project:
        discard_unfinished(server, project, name, makers)


def datasets_of(server: ClearmlServer, state: RunState) -> dict[str, str]:
    """Return the dataset versions that a run read and made: version → id."""
    ids: list[str] = []
    for step in state.steps:
        ids += [dataset for alias, dataset in step.inputs.items() if alias == "input"]
        ids += [value for name, value in step.results.items() if name.endswith("dataset_id")]
    ids = list(dict.fromkeys(ids))
    if not ids:
        return {}
    found = {task["id"]: (task.get("runtime") or {}).get("version") for task in server.tasks(["runtime"], id=ids)}
    return {str(found[dataset]): dataset for dataset in ids if found.get(dataset)}
