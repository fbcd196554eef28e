"""This machine's workers on the configured server: up, down and status.

They are made as those of `server up` are: each with an environment of its own, which holds this package, so that they
run what a plain `clearml-agent daemon` cannot. Where the configured server is this machine's own, they are those of
`server up`. Outside systems: the agents, through `pipeline.local_stack.workers`, and the server's API.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from clearml_access import credentials, processes
from clearml_access.api import WORKER_SEEN_S, Api, Worker
from clearml_access.credentials import Server
from clearml_access.errors import NoCredentialsError, ServerError
from pipeline.local_stack import server, workers
from pipeline.local_stack.configuration import WORKER_VARIABLE, read_access
from pipeline.local_stack.lifecycle import lock
from pipeline.local_stack.settings import MachineSettings, WorkerSet, WorkerSpec
from pipeline.local_stack.workers import WorkerStatus

FOLDER = "workers-on"
"""In the state folder; in it one for each server."""

SUFFIX_FILE = "worker-suffix"
OWN_SERVER_DOWN = "no ClearML server is configured, and this machine's own does not run (start it: ./task server-up)"


@dataclass(frozen=True)
class Moved:
    """A worker that got other queues."""

    name: str
    before: str
    now: str


@dataclass(frozen=True)
class Started:
    """What `workers_up` did."""

    api: str
    web: str
    started: tuple[str, ...]
    """Names of the workers that were started; with those that were started again, for other queues too."""
    stopped: tuple[str, ...]
    """Names of the workers that were ended, since they are not asked for."""
    moved: tuple[Moved, ...]
    busy: tuple[str, ...]
    """Names of the workers that keep their queues until their task has ended and this is called again."""
    unserved: tuple[str, ...]
    """Queues that this machine's workers served before, and serve no more."""
    made_queues: tuple[str, ...]
    workers: tuple[str, ...]
    """Ids of all workers of this machine on that server."""


@dataclass(frozen=True)
class QueueStatus:
    """A queue that this machine's workers serve."""

    name: str
    waiting: int
    """Tasks in it."""
    workers: int
    """Live workers that serve it, those of other machines included."""


@dataclass(frozen=True)
class WorkersStatus:
    """The workers of this machine on the configured server."""

    api: str
    problem: str | None
    """Why the server could not be asked; None if it could."""
    workers: tuple[WorkerStatus, ...]
    queues: tuple[QueueStatus, ...]

    @property
    def complete(self) -> bool:
        """Whether there are workers and each takes tasks."""
        return bool(self.workers) and all(worker.live for worker in self.workers)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"workers": [row.as_json() for row in self.workers], "complete": self.complete}


def workers_up(
    settings: MachineSettings,
    environ: Mapping[str, str],
    *,
    steps: int | None = None,
    controllers: int | None = None,
    queues: Sequence[str] = (),
) -> Started:
    """Start this machine's workers on the configured server; leave alone those that run as they should.

    Args:
        settings: This machine's.
        environ: Where the server is configured.
        steps: How many workers for steps; default: as the settings say.
        controllers: How many workers for controllers; default likewise.
        queues: Queues of the steps' workers, the most urgent first; default: those of the values file.

    Raises:
        NoCredentialsError: No server is configured, or only a token, which ends before the workers do.
        ServerError: The server does not answer, refuses the key, or refuses to make a queue.
        StartError: A worker does not start; the message ends with its log's last lines.
    """
    access = _access(settings, environ)
    if not access.secret_key:
        raise NoCredentialsError(
            f"workers on {access.api} need an access key: a token ends before they do",
            hint="make a key in the server's web pages (Settings, Workspace), then: clearml-init",
        )
    settings = replace(
        _on_server(settings, access),
        step_workers=settings.step_workers if steps is None else steps,
        controller_workers=settings.controller_workers if controllers is None else controllers,
        steps_queues=tuple(dict.fromkeys(queues)) or settings.steps_queues,
    )
    workers.check(settings)
    configuration = credentials.configuration_file(environ)
    sdk = credentials.read_section(configuration, "sdk") if configuration.is_file() else {}
    with lock(settings):
        if not settings.worker_set.direct:
            settings = replace(settings, worker_set=replace(settings.worker_set, suffix=_make_suffix(settings)))
        before = _running(settings)
        made = workers.ensure_queues(settings, Api.of(access, direct=settings.worker_set.direct))
        started = workers.ensure(settings, access, sdk)
        if settings.worker_set.direct:
            server.remember(settings)
        now = _running(settings)
    moved = tuple(
        Moved(name, before[name].queue, spec.queue)
        for name, spec in now.items()
        if name in before and before[name] != spec
    )
    gone = {queue for spec in before.values() for queue in spec.queues}
    gone -= {queue for spec in now.values() for queue in spec.queues}
    names = tuple(worker.spec.name for worker in started)
    ids = tuple(worker.id for worker in workers.specified(settings))
    return Started(
        access.api,
        access.web,
        names,
        stopped=tuple(name for name in before if name not in now),
        moved=moved,
        busy=tuple(spec.name for spec in settings.workers if now.get(spec.name, spec) != spec),
        unserved=tuple(sorted(gone)),
        made_queues=tuple(made),
        workers=ids,
    )


def _running(settings: MachineSettings) -> dict[str, WorkerSpec]:
    """Return the workers that run, by name, as they were started."""
    return {worker.spec.name: worker.spec for worker in workers.recorded(settings) if worker.process()}


def workers_down(settings: MachineSettings, environ: Mapping[str, str], *, everywhere: bool = False) -> list[str]:
    """End this machine's workers on the configured server, with their tasks; return the names of those that ran.

    Without a configured server they are those of `server up`, whether that server runs or not.

    Args:
        settings: This machine's.
        environ: Where the server is configured.
        everywhere: End those on all servers, except on this machine's own.

    Raises:
        NoCredentialsError: The configuration of the server is not complete.
        StopError: A process does not end.
    """
    if everywhere:
        running = {Path(folder).parent for folder in processes.families(WORKER_VARIABLE)}
        folders = {folder for folder in running if folder.parent == settings.state / FOLDER}
        sets = [_named(settings, folder.name) for folder in sorted(folders)]
    else:
        own = not credentials.is_configured(environ)
        sets = [_own(settings) if own else _on_server(settings, _access(settings, environ))]
    stopped = []
    for each in sets:
        if each.workers_folder.exists() or workers.families(each):
            with lock(each):
                stopped += workers.stop(each)
    return stopped


def workers_status(settings: MachineSettings, environ: Mapping[str, str]) -> WorkersStatus:
    """Return the state of this machine's workers on the configured server, and of their queues.

    Raises:
        NoCredentialsError: The configuration of the server is not complete.
    """
    if not credentials.is_configured(environ) and not server.find(settings):
        settings = _own(settings)
        found = workers.recorded(settings)
        return WorkersStatus(settings.api_url, OWN_SERVER_DOWN, workers.statuses(found, {}), ())
    access = _access(settings, environ)
    settings = _on_server(settings, access)
    known: list[Worker] = []
    found, problem = workers.recorded(settings), None
    served = sorted({queue for worker in found for queue in worker.spec.queues})
    queues: list[QueueStatus] = []
    try:
        api = Api.of(access, direct=settings.worker_set.direct)
        known = api.workers(seen_s=WORKER_SEEN_S)
        waiting = {queue.name: len(queue.tasks) for queue in api.queues()}
        for name in served:
            if name in waiting:
                queues.append(QueueStatus(name, waiting[name], sum(name in worker.queues for worker in known)))
    except ServerError as error:
        problem = error.message
    rows = workers.statuses(found, {worker.id: worker for worker in known})
    return WorkersStatus(access.api, problem, rows, tuple(queues))


def _access(settings: MachineSettings, environ: Mapping[str, str]) -> Server:
    """Return the configured server; without one, this machine's own if it runs, as all commands do."""
    if not credentials.is_configured(environ) and server.find(settings):
        return read_access(settings.configuration)
    try:
        return credentials.find(environ)
    except NoCredentialsError as error:
        if not credentials.is_configured(environ):
            error.hint = "configure one: clearml-init; or start one here, with workers: ./task server-up"
        raise


def _on_server(settings: MachineSettings, access: Server) -> MachineSettings:
    """Return the settings of this machine's workers on a server."""
    if _is_own(settings, access):
        return _own(settings)
    return _named(settings, re.sub(r"[^\w.-]+", "-", access.api.partition("://")[2]))


def _own(settings: MachineSettings) -> MachineSettings:
    """Return the settings of the workers on this machine's own server."""
    return replace(server.as_running(settings), has_workers=True)


def _is_own(settings: MachineSettings, access: Server) -> bool:
    if not settings.configuration.is_file():
        return False
    own = read_access(settings.configuration)
    return (own.api, own.access_key) == (access.api, access.access_key)


def _named(settings: MachineSettings, name: str) -> MachineSettings:
    """Return the settings of the workers in a server's folder."""
    file = settings.state / FOLDER / name / SUFFIX_FILE
    suffix = file.read_text(encoding="ascii") if file.exists() else ""
    return replace(settings, worker_set=WorkerSet(f"{FOLDER}/{name}", "workers", suffix), shared_queues=())


def _make_suffix(settings: MachineSettings) -> str:
    """Return what makes these workers' ids unlike those of another user, or of a container of the same host name."""
    if not settings.worker_set.suffix:
        settings.workers_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        suffix = f"-{secrets.token_hex(3)}"
        (settings.workers_folder / SUFFIX_FILE).write_text(suffix, encoding="ascii")
        return suffix
    return settings.worker_set.suffix
