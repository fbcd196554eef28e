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


class QueueError(ServerError):
    """A queue does not exist, or nobody takes tasks from it."""

    exit_code = 33


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
