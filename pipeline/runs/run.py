"""Use case "run": launch the controller, watch the server until the run has ended, abort it when asked to.

What happened is read from the server's task statuses, never from a process's exit code: the SDK's controller ends
with 0 after failed steps, and in queue mode it is not a process of this machine at all. Nothing here prints; an
`Observer` is told (`pipeline.runs.progress`). Outside systems: the ClearML server and the controller's process, through
`pipeline.clearml_server` and `pipeline.runs.launch`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from clearml_access import run_records
from clearml_access.errors import CallRefusedError, UserFacingError
from clearml_access.run_records import RunState
from clearml_access.tasks import FINAL
from pipeline.clearml_server import DATASET_TAG, ClearmlServer
from pipeline.errors import RunError, RunTimeoutError
from pipeline.graph.definitions import Definition
from pipeline.module_tasks.process import LEAVE_TIMEOUT_S
from pipeline.preflight import CheckedRun
from pipeline.run_options import QUEUE
from pipeline.runs.launch import ControllerProcess, LaunchError
from pipeline.runs.states import LOOK_EVERY_S, Observer, fetch, watched
from pipeline.settings import Settings

LAUNCH_TIMEOUT_S = 120.0
ABORT_TIMEOUT_S = 60.0
STOP_PATIENCE_S = 15.0
REVIVAL_S = 6.0
"""How long a starting agent can bring a stopped task back to life: its next look at the task is within 5 s."""

LEFT_BEHIND_S = 30.0
"""How long a pipeline inside a failed run may take to notice; it looks every few seconds, and stops its steps then."""

ABORT_REASON = "user aborted"


def run(
    server: ClearmlServer,
    checked: CheckedRun,
    observer: Observer,
    environ: Mapping[str, str],
    *,
    began: float | None = None,
) -> RunState:
    """Run the pipeline to its end and return its last state.

    Args:
        server: The server.
        checked: What `preflight` returned.
        observer: Told what happens.
        environ: Environment of the controller's process.
        began: When the run began (monotonic), for its timeout; by default now.

    Raises:
        LaunchError: The controller could not be started.
        RunTimeoutError: The run did not end in time; it has been aborted.
        RunInterrupted: Ctrl-C. The run continues in queue mode; in the other modes it has been aborted.
        ServerUnreachableError: The server did not come back within three minutes.
        BrokenPipeError: The observer cannot print any more. As for Ctrl-C.

    The document of an error names the run, once there is one.
    """
    deadline = (time.monotonic() if began is None else began) + checked.settings.timeout_s
    with ControllerProcess(checked, environ) as process:
        try:
            return _run(server, checked.settings, process, observer, deadline)
        except UserFacingError as error:
            error.document = {"run_id": process.known_run_id()} | error.document
            raise


def _run(
    server: ClearmlServer, settings: Settings, process: ControllerProcess, observer: Observer, deadline: float
) -> RunState:
    run_id = None
    try:
        run_id = process.run_id(min(deadline, time.monotonic() + LAUNCH_TIMEOUT_S))
        if settings.options.mode == QUEUE:
            process.enqueued(min(deadline, time.monotonic() + LAUNCH_TIMEOUT_S))
        return _watch(server, run_id, process, observer, deadline, settings)
    except KeyboardInterrupt:
        if settings.options.mode == QUEUE and run_id is not None and not process.alive:
            raise RunInterrupted(run_id, goes_on=True) from None
        observer.note("Interrupted: aborting the run")
        raise RunInterrupted(_undo_launch(server, process), goes_on=False) from None
    except LaunchError as error:
        run_id = process.known_run_id()
        stopped = run_id is not None and fetch(server, run_id).status == run_records.ABORTED
        _undo_launch(server, process)
        if stopped:
            raise RunError(f"run {run_id} was aborted while it started") from error
        if time.monotonic() > deadline:
            raise RunTimeoutError(
                f"no run could be started within {settings.timeout_s:g} s: {error.message}",
                hint="give it more time: --timeout SECONDS",
            ) from error
        raise
    except RunTimeoutError:
        raise  # it has been aborted
    except BaseException:  # whatever ends this command (stdout's reader has gone): no other process runs the run
        if settings.options.mode != QUEUE or process.alive:
            _undo_launch(server, process)
        raise


def _undo_launch(server: ClearmlServer, process: ControllerProcess) -> str | None:
    """End the controller's process and the run that it had begun, if any; return that run."""
    process.kill()
    run_id = process.known_run_id()
    if run_id:
        abort(server, run_id, process)
    return run_id


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during a run.

    Attributes:
        run_id: The run, if it had begun.
        goes_on: Whether it continues without this process.
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
    definition = settings.definition
    left_since: float | None = None
    behind_since: float | None = None
    for state in watched(server, run_id, observer, deadline, definition):
        if state.ended:
            return _settled(server, state, process, observer, definition)
        if state.status == run_records.ABORTED and settings.options.mode != QUEUE:
            # On the page; the SDK looks at its task every 30 s, and would start more steps until then.
            observer.note("the run was stopped: ending its processes and steps")
            return _settled(server, abort(server, run_id, process, definition), process, observer, definition)
        if _leaves_pipeline_behind(state):
            # An agent ends a controller by SIGKILL, and with it a pipeline that runs beside it: no other process tells.
            behind_since = behind_since or time.monotonic()
            if state.status == run_records.ABORTED or time.monotonic() - behind_since > LEFT_BEHIND_S:
                observer.note(f"the controller has ended ({state.status}): aborting the pipeline inside it")
                return _settled(server, abort(server, run_id, None, definition), process, observer, definition)
        if settings.options.mode != QUEUE and not process.alive:
            # The process is gone and the server still shows a running controller: it was killed, or died reporting.
            left_since = left_since or time.monotonic()
            if time.monotonic() - left_since > LEAVE_TIMEOUT_S:
                observer.note("the controller's process is gone: aborting what it left")
                return abort(
                    server, run_id, process, definition, failed="the controller's process ended and left no reason"
                )
        if time.monotonic() > deadline:
            observer.note(f"no end after {settings.timeout_s:g} s: aborting the run")
            state = abort(server, run_id, process, definition)
            observer.update(state)
            late = RunTimeoutError(
                f"run {run_id} took longer than {settings.timeout_s:g} s and was aborted; {_where(state)}",
                hint="give it more time: --timeout SECONDS; or look at the queue: ./task workers-status",
            )
            mode = settings.options.mode
            late.document = run_records.as_json(state, mode=mode, outcome="error", datasets={}, report=None)
            raise late
    raise AssertionError("a run is watched without end")


def _leaves_pipeline_behind(state: RunState) -> bool:
    """Return whether the controller has ended while a pipeline inside it, or a step of that one, continues."""
    members = [member for step in state.steps if step.inner for member in step.family()]
    return state.status in run_records.ENDED and any(
        member.status in (run_records.QUEUED, run_records.RUNNING) for member in members
    )


def _settled(
    server: ClearmlServer, state: RunState, process: ControllerProcess, observer: Observer, definition: Definition
) -> RunState:
    """Wait for the local process to leave, and look once more: a controller may fail after its steps."""
    if process.alive:
        with contextlib.suppress(TimeoutError):
            process.wait(time.monotonic() + LEAVE_TIMEOUT_S)
    state = fetch(server, state.run_id, definition)
    observer.update(state)
    return state


def _where(state: RunState) -> str:
    if state.status == run_records.QUEUED:
        return "its controller was still in its queue"
    waiting = [step.name for step in state.all_steps if step.status not in run_records.GOOD]
    return f"steps without a result: {', '.join(waiting) or 'none'}"


def abort(
    server: ClearmlServer,
    run_id: str,
    process: ControllerProcess | None = None,
    definition: Definition | None = None,
    *,
    failed: str | None = None,
) -> RunState:
    """Stop a run: the controller first, so that it starts nothing more, then its steps, then what they left unfinished.

    A task that an agent has just taken comes back to life: while it starts up, the agent declares it started four
    times, whatever happened in between. So a stopped run is watched for a while, and stopped again.

    Args:
        server: The server.
        run_id: The controller's task.
        process: The controller's process, where it is on this machine.
        definition: The pipeline, where it is known; see `fetch`.
        failed: End the controller as failed, for this reason, instead of as aborted.

    Raises:
        RunError: It is still running after a minute.
    """
    if process is not None:
        process.kill()
    if failed and not fetch(server, run_id).ended:
        server.call("tasks.failed", task=run_id, force=True, status_reason=failed)
    give_up = time.monotonic() + ABORT_TIMEOUT_S
    asked: dict[str, float] = {}
    quiet_since = time.monotonic()
    while True:
        state = fetch(server, run_id, definition)
        if state.ended:
            if not _by_agents(state) or time.monotonic() - quiet_since > REVIVAL_S:
                break
        else:
            quiet_since = time.monotonic()
            for task_id in _unended(state):
                _stop(server, task_id, asked, at_once=process is not None)
        if time.monotonic() > give_up:
            raise RunError(f"run {run_id} could not be aborted", hint=f"look at {server.task_page('*', run_id)}")
        time.sleep(LOOK_EVERY_S)
    _remove_leftovers(server, state)
    return state


def _stop(server: ClearmlServer, task_id: str, asked: dict[str, float], *, at_once: bool) -> None:
    """Ask a task to stop; its agent ends it. Tell it, when no agent is there or none answers."""
    now = time.monotonic()
    with contextlib.suppress(CallRefusedError):  # it has ended by itself in the meantime
        if at_once or now - asked.setdefault(task_id, now) > STOP_PATIENCE_S:
            server.call("tasks.stopped", task=task_id, force=True, status_reason=ABORT_REASON)
        else:
            server.call("tasks.stop", task=task_id, status_reason=ABORT_REASON)


def _by_agents(state: RunState) -> bool:
    """Return whether an agent has had a hand in the run."""
    return bool(state.worker) or any(step.worker and not step.cached for step in state.all_steps)


def _unended(state: RunState) -> list[str]:
    steps = [step.task_id for step in state.all_steps if step.task_id and step.status not in run_records.ENDED]
    return ([state.run_id] if state.status not in run_records.ENDED else []) + steps


def _remove_leftovers(server: ClearmlServer, state: RunState) -> None:
    """Remove the dataset versions that the run's aborted steps had begun."""
    from pipeline.datasets.datasets import discard_unfinished

    makers = {step.task_id for step in state.all_steps if step.task_id and not step.cached}
    name, project = state.parameters.get("dataset_name"), state.parameters.get("dataset_project")
    if makers and name and project:
        discard_unfinished(server, project, name, makers)


def datasets_of(server: ClearmlServer, state: RunState) -> dict[str, str]:
    """Return the dataset versions that a run read and made: version → id."""
    ids: list[str] = []
    for step in (step for step in state.all_steps if not step.inner):
        ids += [dataset for alias, dataset in step.inputs.items() if alias == "input"]
        ids += [value for name, value in step.results.items() if name.endswith("dataset_id")]
    makers = [step.task_id for step in state.all_steps if step.task_id and not step.inner]
    made = server.tasks(["status"], parent=makers, system_tags=[DATASET_TAG], order_by=["created"]) if makers else []
    ids = list(dict.fromkeys(ids + [version["id"] for version in made if version["status"] in FINAL]))
    if not ids:
        return {}
    found = {task["id"]: (task.get("runtime") or {}).get("version") for task in server.tasks(["runtime"], id=ids)}
    return {str(found[dataset]): dataset for dataset in ids if found.get(dataset)}
