"""Up, down and status of the one-machine set-up: the three things that a person asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clearml_access import locks
from clearml_access.api import WORKER_SEEN_S, Api, Worker
from clearml_access.errors import ServerError
from clearml_access.http import pings
from clearml_access.tasks import PODS_QUEUE
from pipeline.local_stack import server, workers
from pipeline.local_stack.configuration import read_access
from pipeline.local_stack.errors import StartError
from pipeline.local_stack.settings import MachineSettings

LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Machine:
    """A running set-up, as its users need it."""

    configuration: Path
    """Give it to any ClearML client as CLEARML_CONFIG_FILE."""
    api: str
    web: str
    files: str
    controllers_queue: str
    steps_queue: str
    started: tuple[str, ...]
    """What this call had to start: `server` and names of workers."""
    host: str
    """Address that the server listens on."""
    has_workers: bool
    """Whether agents run here."""


@dataclass(frozen=True)
class Status:
    """The set-up as it is now."""

    server_pid: int | None
    answers: bool
    api: str | None
    web: str | None
    files: str | None
    configuration: str | None
    log: str
    workers: tuple[workers.WorkerStatus, ...]
    unserved: tuple[str, ...]
    """Queues in which tasks wait and that no live worker serves."""

    @property
    def complete(self) -> bool:
        """Whether the server answers and every worker takes tasks."""
        return self.answers and all(worker.live for worker in self.workers)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        rows = [worker.as_json() for worker in self.workers]
        return asdict(self) | {"workers": rows, "complete": self.complete}


def up(
    settings: MachineSettings,
    *,
    host: str | None = None,
    has_workers: bool | None = None,
    keep_workers: bool = False,
) -> Machine:
    """Start what does not run yet: the server, then the queues, then the workers.

    Args:
        settings: The set-up.
        host: Address that the server is to listen on; default: where it listens now, else this machine's alone.
        has_workers: Whether agents are to run here; default: as now, else yes.
        keep_workers: Where some run, leave their number and queues as `workers up` has set them.

    Raises:
        StartError: Something does not start; the message ends with its log's last lines.
    """
    running = server.as_running(settings)
    settings = replace(
        running,
        host=running.host if host is None else host,
        has_workers=running.has_workers if has_workers is None else has_workers,
    )
    server.check(settings)
    if settings.has_workers:
        workers.check(settings)
    with lock(settings):
        access, started = server.ensure(settings)
        server.remember(settings)
        if keep_workers:
            settings = workers.as_running(settings)
        names = [worker.spec.name for worker in workers.ensure(settings, access)]
    return Machine(
        settings.configuration,
        access.api,
        access.web,
        access.files,
        settings.controllers_queue,
        settings.steps_queue,
        tuple((["server"] if started else []) + names),
        settings.host,
        settings.has_workers,
    )


def down(settings: MachineSettings) -> list[str]:
    """End workers, their tasks and the server; return what was running.

    Raises:
        StopError: A process does not end.
    """
    if not settings.state.exists() and not workers.families(settings) and not server.family(settings):
        return []
    with lock(settings):
        stopped = workers.stop(settings)
        return stopped + (["server"] if server.stop(settings) else [])


def in_hand(settings: MachineSettings) -> list[dict[str, Any]]:
    """Return the tasks that `down` would abort, with name, type and parent; none where the server does not answer."""
    access = read_access(settings.configuration) if settings.configuration.exists() else None
    if server.find(settings) is None or access is None or not pings(access.api):
        return []
    own = {worker.id for worker in workers.recorded(settings)}
    fields = ["name", "type", "system_tags", "status", "last_worker", "parent"]
    try:
        running = Api.of(access, direct=True).tasks(fields, status=["in_progress"])
    except ServerError:  # it just ends
        return []
    return [task for task in running if task.get("last_worker") in own]


def status(settings: MachineSettings) -> Status:
    """Return what runs, without changing anything."""
    process = server.find(settings)
    settings = server.as_running(settings)
    access = read_access(settings.configuration) if settings.configuration.exists() else None
    answers = process is not None and access is not None and pings(access.api)
    known: dict[str, Worker] = {}
    unserved: tuple[str, ...] = ()
    if answers and access is not None:
        with contextlib.suppress(ServerError):  # a server that just ends: the rows say "not registered"
            api = Api.of(access, direct=True)
            known = {worker.id: worker for worker in api.workers(seen_s=WORKER_SEEN_S)}
            served = {PODS_QUEUE}.union(*(worker.queues for worker in known.values()))
            unserved = tuple(queue.name for queue in api.queues() if queue.tasks and queue.name not in served)
    return Status(
        process.pid if process else None,
        answers,
        access.api if access else None,
        access.web if access else None,
        access.files if access else None,
        str(settings.configuration) if access else None,
        str(server.log_file(settings)),
        workers.statuses(workers.specified(workers.as_running(settings)), known),
        unserved,
    )


@contextlib.contextmanager
def lock(settings: MachineSettings) -> Iterator[None]:
    """Let one command that starts or ends something run at a time: two would start everything twice."""
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locks.within(settings.state / "machine.lock", LOCK_TIMEOUT_S) as held:
        if not held:
            raise StartError(
                f"another command starts or ends the server or its workers in {settings.state}",
                hint="try again in a minute",
            )
        yield
