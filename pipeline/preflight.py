"""Everything that would make a run wait or fail, found out before anything is enqueued.

It only looks; a check that passes changes nothing. Outside system: the ClearML server, through its adapters.
"""

from __future__ import annotations

import difflib
import math
import shlex
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from clearml_access.agent_values import AgentValues
from clearml_access.errors import ServerError
from clearml_access.run_records import QUEUED, RunState
from clearml_access.tasks import PODS_QUEUE
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.datasets.lookup import require_version
from pipeline.graph import sharding
from pipeline.run_options import IN_PROCESS, QUEUE, SERVICES_QUEUE
from pipeline.settings import Settings
from pipeline.versions import version_key

ROWS_FACT = "Upload/rows"
NO_PACKAGE = "No module named 'pipeline'"
"""What the console of a task says whose worker's environment does not hold this package."""

CONSOLE_LINES = 40


class QueueError(ServerError):
    """A queue does not exist, or no worker takes tasks from it."""

    exit_code = 33


@dataclass(frozen=True)
class CheckedRun:
    """A checked run: where its parts will run."""

    settings: Settings
    controllers_queue: str
    warnings: tuple[str, ...] = ()
    """What may keep it from ending, and is not certain enough to refuse it."""


def preflight(server: ClearmlServer, settings: Settings, prepare: Callable[[], None] = lambda: None) -> CheckedRun:
    """Find everything out that would make the run wait or fail, before anything is enqueued.

    Args:
        server: The server.
        settings: The run that is wanted.
        prepare: Called when the queues are right and before the dataset is looked for.

    Raises:
        QueueError: A queue does not exist or has no live worker.
        DatasetNotFoundError: The input dataset, or its version, does not exist.
        DatasetStateError: The input version was never finished.
        DataError: There are more shards than rows, as far as the dataset says how many those are.
    """
    options = settings.options
    controllers_queue = options.controllers_queue or queue_for_controllers(server, options.queue)
    queues = set() if options.mode == IN_PROCESS else _queues_of_steps(settings) | set(options.step_queues.values())
    queues |= {controllers_queue} if options.mode == QUEUE else set()
    for queue in sorted(queues):
        require_queue(server, queue, [step for step, own in options.step_queues.items() if own == queue])
    warnings = tuple(warning for queue in sorted(queues) for warning in unfit_workers(server, queue))

    prepare()
    name, project, version = (str(settings.parameters[f"dataset_{key}"]) for key in ("name", "project", "version"))
    require_version(server, project, name, version)
    _require_rows(server, settings, project, name, version)
    return CheckedRun(settings, controllers_queue, warnings + deadlock(server, settings, controllers_queue))


def deadlock(server: ClearmlServer, settings: Settings, controllers_queue: str) -> tuple[str, ...]:
    """Warn if the controller may hold the only slot that its own steps wait for.

    Where the glue's queue for pods exists, a single worker may run any number of tasks.
    """
    alone = settings.options.mode != QUEUE or controllers_queue not in _queues_of_steps(settings)
    if alone or PODS_QUEUE in server.queue_names():
        return ()
    workers = server.workers_of(controllers_queue)
    if len(workers) != 1:
        return ()
    return (
        f"controller and steps share queue {controllers_queue!r}, served by worker {workers[0]} alone: if it runs one "
        f"task at a time, the steps wait for the controller and the controller for them. Give controllers a worker of "
        f"their own ({workers_command(server, SERVICES_QUEUE)}), or: --mode controller",
    )


def unfit_workers(server: ClearmlServer, queue: str) -> tuple[str, ...]:
    """Warn of live workers whose last task failed since their environment does not hold this package.

    A plain agent installs what a task requires from an index, where this package is not. Whether that is different by
    now, the server does not know: so it is not refused.
    """
    return tuple(
        f"worker {worker} of queue {queue!r} cannot run these tasks: task {task['id']} failed there with "
        f'"{NO_PACKAGE}". Stop it, and start one that can: {workers_command(server, queue)}'
        for worker, task in server.last_tasks_of(server.workers_of(queue)).items()
        if task["status"] == "failed" and any(NO_PACKAGE in line for line in server.console(task["id"], CONSOLE_LINES))
    )


def more_workers_command(server: ClearmlServer, queue: str) -> str:
    """Return the command that starts one more worker for a queue of controllers than there are by default."""
    command = workers_command(server, queue)
    if queue != SERVICES_QUEUE:
        return command
    return f"{command}{'' if ' -- ' in command else ' --'} --controllers 3"


def workers_command(server: ClearmlServer, queue: str) -> str:
    """Return the command that starts workers of this machine for a queue of the configured server.

    It names the queues too that this machine's workers for steps serve already: the command sets the queues.
    """
    default = AgentValues.load().queues
    own = f"{socket.gethostname()}:steps-"
    served = [
        name
        for name in sorted(set(server.queue_names()) - {queue, SERVICES_QUEUE})
        if any(worker.startswith(own) for worker in server.workers_of(name))
    ]
    if (queue == SERVICES_QUEUE or queue in default) and set(served) <= set(default):
        return "./task workers-up"
    names = [*served, *([] if queue == SERVICES_QUEUE else [queue])]
    return f"./task workers-up -- {' '.join(f'--queue {shlex.quote(name)}' for name in names)}"


def _queues_of_steps(settings: Settings) -> set[str]:
    return {settings.options.queue_of(step) for step in settings.definition.work_steps}


def _require_rows(server: ClearmlServer, settings: Settings, project: str, name: str, version: str) -> None:
    """Check that every shard will get a row: of an uploaded version it is known how many there are."""
    if settings.options.shards == 1:
        return
    rows = uploaded_rows(server.dataset_versions(project, name), version)
    if rows:
        test = math.ceil(rows * float(settings.parameters["test_size"]))
        for part, count in (("train", rows - test), ("test", test)):
            sharding.require_rows(part, count, settings.options.shards)


def uploaded_rows(versions: Iterable[DatasetVersion], version: str) -> int | None:
    """Return how many reviews an uploaded version has, its parents' included; `None` where no upload has made it."""
    rows = {item.version: int(item.facts[ROWS_FACT]) for item in versions if item.final and ROWS_FACT in item.facts}
    numbers, _ = version_key(version)
    batches = [key for key in rows if version_key(key)[0][:-1] == numbers[:-1] and version_key(key)[0] <= numbers]
    return sum(rows[key] for key in batches) if version in rows else None


def queue_for_controllers(server: ClearmlServer, queue: str) -> str:
    """Return the queue for controllers: `services` where a worker serves it, else the steps' own.

    On a cluster it is the ordinary queue in any case: a controller only waits, and needs no pod with a GPU.
    """
    if server.workers_of(SERVICES_QUEUE):
        return SERVICES_QUEUE
    ordinary = AgentValues.load().queues[0]
    return ordinary if PODS_QUEUE in server.queue_names() and server.workers_of(ordinary) else queue


def unserved(server: ClearmlServer, run: RunState) -> list[str]:
    """Return what the queued tasks of a run wait for in vain: queues that no live worker serves."""
    queued = {step.task_id: f"step {step.name}" for step in run.all_steps if step.status == QUEUED}
    queued |= {run.run_id: "the controller"} if run.status == QUEUED else {}
    if not queued:
        return []
    found = []
    for queue in server.queues():
        waiting = [queued[task] for task in queue.tasks if task in queued]
        if waiting and queue.name != PODS_QUEUE and not server.workers_of(queue.name):
            found.append(
                f"waiting in queue {queue.name!r}, which no live worker serves: {', '.join(waiting)}; "
                f"on this machine: {workers_command(server, queue.name)}"
            )
    return found


def require_queue(server: ClearmlServer, queue: str, steps: Sequence[str] = ()) -> None:
    """Check that tasks in `queue` will be taken.

    Args:
        server: The server.
        queue: The queue's name.
        steps: The steps that were sent there one by one.

    Raises:
        QueueError: They will not.
    """
    queues = server.queue_names()
    told = f"--step-queue {steps[0]}={queue}: " if steps else ""
    if queue not in queues:
        close = difflib.get_close_matches(queue, queues, n=1)
        known = ", ".join(sorted(set(queues) - {PODS_QUEUE})) or "none"
        raise QueueError(
            f"{told}queue {queue!r} does not exist on {server.api_url}; queues: {known}"
            + (f"; did you mean {close[0]}?" if close else ""),
            hint=f"choose one with {'--step-queue' if steps else '--queue'}, or serve it: on a cluster, a file in "
            f"helm/queues and ./task deploy-agent; on this machine, {workers_command(server, queue)}",
        )
    if not server.workers_of(queue):
        raise QueueError(
            f"{told}queue {queue!r} has no live worker: a task in it would wait for ever",
            hint=f"on a cluster: ./task deploy-agent; on this machine: {workers_command(server, queue)}; "
            "or run without agents: --mode in-process",
        )
