"""The agent workers: real `clearml-agent` daemons, one single-task process per slot.

Outside system: the clearml-agent command line. It must not know what the tasks are that its workers run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from clearml_access import api as access_api
from clearml_access import processes
from clearml_access.api import WORKER_SEEN_S, Api
from clearml_access.credentials import Server
from clearml_access.errors import ServerError
from pipeline.local_stack.configuration import (
    WORKER_VARIABLE,
    agent_configuration,
    agent_environment,
    git_settings,
    read_agent_access,
)
from pipeline.local_stack.environment import WorkerEnvironment, fingerprint
from pipeline.local_stack.errors import StartError
from pipeline.local_stack.settings import AGENT_VARIABLE, OWN_WORKERS, MachineSettings, WorkerSpec

REGISTER_TIMEOUT_S = 30.0
PID_FILE = "agent.pid"
GIT = "git"
"""Among what is remembered of a worker: by which access it clones repositories."""
CONFIGURATION_FILE = "clearml.conf"


@dataclass(frozen=True)
class Worker:
    """A worker as specified, and its place on this machine."""

    spec: WorkerSpec
    folder: Path
    suffix: str = ""
    """Behind its name in its id."""

    @property
    def id(self) -> str:
        """The id that the server knows it by."""
        return f"{socket.gethostname()}:{self.spec.name}{self.suffix}"

    @property
    def log(self) -> Path:
        """What the daemon says, and the output of its tasks."""
        return self.folder / "agent.log"

    @property
    def pid_file(self) -> Path:
        """Pid, start time and server address."""
        return self.folder / PID_FILE

    def process(self) -> psutil.Process | None:
        """Return the live daemon."""
        return processes.running(self.pid_file)

    def family(self) -> list[psutil.Process]:
        """Return the live daemon and everything that it started, also where the daemon itself was killed."""
        return processes.family(WORKER_VARIABLE, str(self.folder))


def specified(settings: MachineSettings) -> list[Worker]:
    """Return the workers of this set-up."""
    suffix = settings.worker_set.suffix
    return [Worker(spec, settings.workers_folder / spec.name, suffix) for spec in settings.workers]


def recorded(settings: MachineSettings) -> list[Worker]:
    """Return the workers that were started and not ended since, as they were started."""
    found = []
    for file in sorted(settings.workers_folder.glob(f"*/{PID_FILE}")):
        record = processes.Record.read(file)
        spec = WorkerSpec(file.parent.name, tuple((record.facts.get("queues") if record else None) or ()))
        found.append(Worker(spec, file.parent, settings.worker_set.suffix))
    return found


def as_running(settings: MachineSettings) -> MachineSettings:
    """Return the settings with the workers as they were started; where none runs, as they are."""
    found = [worker for worker in recorded(settings) if worker.spec.queues]
    runs = any(worker.process() for worker in found)
    return replace(settings, kept=tuple(worker.spec for worker in found)) if runs else settings


@dataclass(frozen=True)
class WorkerStatus:
    """One worker: what this machine and what the server know of it."""

    name: str
    id: str
    queue: str
    pid: int | None
    registered: bool
    task: str | None
    log: str

    @property
    def live(self) -> bool:
        """Whether it takes tasks."""
        return self.pid is not None and self.registered

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"live": self.live}

    def as_text(self) -> str:
        """Return it as a line."""
        if self.pid is None:
            state = "not running"
        elif not self.registered:
            state = f"pid {self.pid}, not known to the server (log: {self.log})"
        else:
            state = f"pid {self.pid}, {'runs task ' + self.task if self.task else 'idle'}"
        return f"Worker:      {self.name:<12} queue {self.queue:<10} {state}"


def statuses(workers: Sequence[Worker], known: Mapping[str, access_api.Worker]) -> tuple[WorkerStatus, ...]:
    """Return the state of workers.

    Args:
        workers: The workers.
        known: What the server knows, by worker id.
    """
    rows = []
    for worker in workers:
        daemon, entry = worker.process(), known.get(worker.id)
        pid, task = (daemon.pid if daemon else None), (entry.task if entry else None)
        rows.append(
            WorkerStatus(worker.spec.name, worker.id, worker.spec.queue, pid, entry is not None, task, str(worker.log))
        )
    return tuple(rows)


def ensure(settings: MachineSettings, access: Server, sdk: Mapping[str, Any] | None = None) -> list[Worker]:
    """Start the workers that do not run, wait until the server knows them, and return them.

    Args:
        settings: Which workers there are to be.
        access: Their server.
        sdk: What they take over of the caller's `clearml.conf`: see `agent_configuration`.

    Raises:
        StartError: A worker ended, or did not register in time.
    """
    api = Api.of(access, direct=settings.worker_set.direct)
    git = git_settings(os.environ)
    ensure_queues(settings, api)
    _retire(settings, access, api, git)
    started = {}
    for worker in specified(settings):
        if worker.process() is None:
            processes.end(worker.family())
            found_by = settings.worker_set.up_command
            _fail_running_tasks(api, worker.id, f"its worker {worker.id} had died; found by {found_by}")
            started[worker] = _start(settings, access, worker, sdk, git)
    _wait_until_registered(settings, api, started)
    return list(started)


def ensure_queues(settings: MachineSettings, api: Api) -> list[str]:
    """Make the queues that do not exist, and return them."""
    queues = sorted({queue for spec in settings.workers for queue in spec.queues})
    return [queue for queue in queues if api.ensure_queue(queue)]


def stop(settings: MachineSettings) -> list[str]:
    """End all workers with their tasks; return the names of those that ran.

    A daemon that gets SIGTERM ends its task first and reports it as stopped; what is left of its family is ended then.
    One that was killed, or is about to start the task that it has just taken, reports nothing: that is done for it.
    """
    before, ended = families(settings), recorded(settings)
    daemons = (processes.running(folder / PID_FILE) for folder in before)
    processes.end(daemon for daemon in daemons if daemon)
    processes.end(process for family in families(settings).values() for process in family)
    for pid_file in settings.workers_folder.glob(f"*/{PID_FILE}"):
        pid_file.unlink()
    _stop_running_tasks(settings, ended)
    return sorted(folder.name for folder in before)


def families(settings: MachineSettings) -> dict[Path, list[psutil.Process]]:
    """Return what runs of this set-up's workers, by worker folder; also where that folder has been deleted."""
    found = {Path(value): family for value, family in processes.families(WORKER_VARIABLE).items()}
    return {folder: family for folder, family in found.items() if folder.parent == settings.workers_folder}


def _retire(settings: MachineSettings, access: Server, api: Api, git: Mapping[str, Any]) -> None:
    """End workers that are of no use any more.

    These are the ones that are no longer specified or serve another address, and, where they are idle, those with
    another key, other queues or other access to git, and those whose environment was copied from one that has changed
    since (`./task setup` after a `git pull`). Where nothing is said of git, as in a shell of a later run, theirs stays.
    """
    wanted = {worker.folder: worker for worker in specified(settings)}
    busy = {worker.id for worker in api.workers(seen_s=WORKER_SEEN_S) if worker.task}

    def of_use(folder: Path) -> bool:
        record = processes.Record.read(folder / PID_FILE)
        if record is None or folder not in wanted or record.facts.get("api") != access.api:
            return False
        now = _facts(settings, access, wanted[folder], git)
        then = record.facts if git else {**record.facts, GIT: now[GIT]}
        return then == now or wanted[folder].id in busy

    ended = [worker for worker in recorded(settings) if not of_use(worker.folder)]
    for folder, family in families(settings).items():
        if not of_use(folder):
            processes.end(family)
            (folder / PID_FILE).unlink(missing_ok=True)
    _stop_running_tasks(settings, ended)


def _registered(api: Api) -> set[str]:
    return {worker.id for worker in api.workers(seen_s=WORKER_SEEN_S)}


def _fail_running_tasks(api: Api, worker: str, reason: str) -> None:
    """Mark the tasks that `worker` was running as failed.

    Its process is gone: the server would not know before its watchdog looks.
    """
    for task in _running_tasks(api, worker):
        api.call("tasks.failed", task=task, status_reason=reason, status_message=reason)


def _stop_running_tasks(settings: MachineSettings, ended: Sequence[Worker]) -> None:
    """Mark the tasks that ended workers left running as stopped, where their server answers."""
    for worker in ended:
        access = read_agent_access(worker.folder / CONFIGURATION_FILE)
        if access is None:
            continue
        api, reason = Api.of(access, direct=settings.worker_set.direct), f"its worker {worker.id} was ended"
        try:
            for task in _running_tasks(api, worker.id):
                api.call("tasks.stopped", task=task, status_reason=reason, status_message=reason)
        except ServerError:  # it has ended too, or the key is revoked: its watchdog will find them
            return


def _running_tasks(api: Api, worker: str) -> list[str]:
    running = api.tasks(["status", "last_worker"], status=["in_progress"])
    return [task["id"] for task in running if task.get("last_worker") == worker]


def _facts(settings: MachineSettings, access: Server, worker: Worker, git: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker is started with, remembered to see later whether it still holds."""
    return {
        GIT: access.fingerprint(json.dumps(git, sort_keys=True, default=str)) if git else "",
        "api": access.api,
        "key": access.fingerprint(""),
        "queues": list(worker.spec.queues),
        "environment": fingerprint(settings.environment),
    }


def check(settings: MachineSettings) -> None:
    """Find out what would keep workers from starting, before anything is started.

    Raises:
        StartError: The agent is not installed, or its folder has a name that it refuses.
    """
    if not settings.agent_python.exists():
        own = settings.worker_set is OWN_WORKERS
        without = ": ./task server-up -- --no-workers, then repeat the command" if own else ""
        raise StartError(
            f"there is no clearml-agent: {settings.agent_python} does not exist",
            hint=f"./task setup installs it (or {AGENT_VARIABLE}=<python of an environment with clearml-agent==1.9.2>)"
            f"; --mode in-process needs none{without}",
        )
    if any(character.isspace() for character in str(settings.state)):
        raise StartError(
            f"clearml-agent refuses folders with a space in their name: {settings.state}",
            hint="export CLEARML_PODS_STATE=/tmp/clearml-pods, then repeat the command",
        )


def _start(
    settings: MachineSettings,
    access: Server,
    worker: Worker,
    sdk: Mapping[str, Any] | None,
    git: Mapping[str, Any],
) -> psutil.Popen:
    folder = worker.folder
    shutil.rmtree(folder / "tmp", ignore_errors=True)  # what a killed agent left
    (folder / "tmp").mkdir(mode=0o700, parents=True)
    environment = WorkerEnvironment(folder, settings.environment, settings.state / "cache" / "environments")
    environment.forget_task()
    interpreter = environment.write_interpreter(environment.restore(), worker.spec.name)
    configuration = folder / CONFIGURATION_FILE
    values = agent_configuration(access, folder, settings.state / "cache", sdk, git)
    text = json.dumps(values, indent=2, default=str)
    configuration.touch(mode=0o600)
    configuration.write_text(text, encoding="utf-8")
    process = processes.start(
        [
            *(str(settings.agent_python), "-m", "clearml_agent", "--config-file", str(configuration)),
            *("daemon", "--foreground", "--queue", *worker.spec.queues),
        ],
        env=agent_environment(os.environ, worker=worker.id, folder=folder, interpreter=interpreter),
        folder=folder,
        log=worker.log,
        pid_file=worker.pid_file,
    )
    processes.remember(worker.pid_file, **_facts(settings, access, worker, git))
    return process


def _wait_until_registered(settings: MachineSettings, api: Api, started: dict[Worker, psutil.Popen]) -> None:
    def settled() -> bool:
        if any(process.poll() is not None for process in started.values()):
            return True
        return {worker.id for worker in started} <= _registered(api)

    in_time = processes.wait_until(settled, REGISTER_TIMEOUT_S, poll_s=0.2)
    for worker, process in started.items():
        code = process.poll()
        if code is not None or (not in_time and worker.id not in _registered(api)):
            outcome = f"ended with exit code {code}" if code is not None else "did not register in time"
            processes.end(worker.family())
            worker.pid_file.unlink(missing_ok=True)
            raise StartError(
                f"worker {worker.spec.name} {outcome}",
                hint=settings.worker_set.restart_command,
                evidence=processes.tail(worker.log),
            )
