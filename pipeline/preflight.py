"""Everything that would make a run wait or fail, found out before anything is enqueued.

It only looks; a check that passes changes nothing. Outside system: the ClearML server, through its adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.clearml_server import ClearmlServer
from pipeline.errors import ServerError
from pipeline.settings import IN_PROCESS, QUEUE, Settings

SERVICES_QUEUE = "services"
PODS_QUEUE = "k8s_scheduler"
"""Made by the k8s glue, for tasks whose pods start: where it exists, a single worker may run any number of tasks."""


class QueueError(ServerError):
    """A queue does not exist, or nobody takes tasks from it."""

    exit_code = 33


@dataclass(frozen=True)
class Plan:
    """A checked run: where its parts will run."""

    settings: Settings
    controllers_queue: str
    warnings: tuple[str, ...] = ()
    """What may keep it from ending, and is not certain enough to refuse it."""


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
    return Plan(settings, controllers_queue, _deadlock(server, settings, controllers_queue))


def _deadlock(server: ClearmlServer, settings: Settings, controllers_queue: str) -> tuple[str, ...]:
    """Warn if the controller may hold the only slot that its own steps wait for."""
    steps = {settings.step_queues.get(step, settings.queue) for step in settings.definition.steps}
    if settings.mode != QUEUE or controllers_queue not in steps or PODS_QUEUE in server.queues():
        return ()
    workers = server.workers_of(controllers_queue)
    if len(workers) != 1:
        return ()
    return (
        f"controller and steps share queue {controllers_queue!r}, served by worker {workers[0]} alone: if it runs one "
        f"task at a time, the steps wait for the controller and the controller for them. Give controllers a worker of "
        f"their own (clearml-agent daemon --queue {SERVICES_QUEUE} --create-queue), or: --mode controller",
    )


def _overridden(settings: Settings) -> set[str]:
    """Return the default queue if no step uses it."""
    return {settings.queue} if set(settings.step_queues) == set(settings.definition.steps) else set()


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
