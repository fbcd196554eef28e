"""Where this machine's server and workers live and how many there are: one frozen value, built from the environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from clearml_access import own_server
from clearml_access.agent_values import AgentValues
from clearml_access.own_server import PROJECT
from pipeline.errors import SettingsError

CONTROLLERS_QUEUE = "services"
"""Where `PipelineController.start()` puts controllers unless told otherwise."""

DEFAULT_QUEUE = "default"
"""Where the SDK puts steps, and most scripts their controllers, unless told otherwise."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses at which only this machine reaches a server; the first is the default."""

PORT_BASE_VARIABLE = "CLEARML_PODS_PORT_BASE"
WORKERS_VARIABLE = "CLEARML_PODS_STEP_WORKERS"
AGENT_VARIABLE = "CLEARML_PODS_AGENT_PYTHON"


@dataclass(frozen=True)
class WorkerSpec:
    """One agent daemon: its name on this machine and the queues that it serves, the most urgent first."""

    name: str
    queues: tuple[str, ...]

    @property
    def queue(self) -> str:
        """Its queues as text; of one, the name."""
        return ", ".join(self.queues)


@dataclass(frozen=True)
class WorkerSet:
    """The workers of this machine on one server: those of `server up`, or those of `workers up`."""

    folder: str
    """Where they are in the state folder."""

    task: str
    """The first word of their tasks in the Taskfile."""

    suffix: str = ""
    """Behind each worker's name in its id: on a server that others use too, a host name is not enough."""

    direct: bool = False
    """Whether the server is on this machine: proxies are for the internet."""

    @property
    def up_command(self) -> str:
        """What starts them."""
        return f"./task {self.task}-up"

    @property
    def restart_command(self) -> str:
        """What ends them and starts them again."""
        return f"./task {self.task}-down && {self.up_command}"


OWN_WORKERS = WorkerSet("workers", "server", direct=True)
"""Those of `server up`, on this machine's own server."""


@dataclass(frozen=True)
class MachineSettings:
    """Folders, ports and workers of the one-machine set-up."""

    state: Path
    """Everything it writes: data, logs, pid files, caches."""

    agent_python: Path
    """Interpreter that has clearml-agent (its pins conflict with the SDK's: an environment of its own)."""

    steps_queues: tuple[str, ...]
    """As the glue on a cluster, each step worker serves all queues of the values file."""

    shared_queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    """What every worker serves last: controllers and steps of other people's scripts. None on a configured server."""

    controllers_queue: str = CONTROLLERS_QUEUE
    step_workers: int = 3
    """Two steps at a time, and a spare: an agent looks at its process every 5 s, so a worker stays busy for up to 5 s
    after its step has completed itself."""

    controller_workers: int = 2
    """A pipeline inside a pipeline has a controller of its own, and the outer one waits for it."""

    host: str = LOOPBACK[0]
    """Address that the server listens on: this machine's alone, or one that pods reach."""

    has_workers: bool = True
    """Whether agents run here; not where a cluster's agent serves the queue."""

    port_base: int = 8000
    """API at +8, web at +80, files at +81: 8000 gives ClearML's own ports."""

    worker_set: WorkerSet = OWN_WORKERS
    """Whose workers the settings are about."""

    kept: tuple[WorkerSpec, ...] = ()
    """Workers as they were started; where there are some, they are taken, whatever the numbers and queues say."""

    server_command: tuple[str, ...] = (sys.executable, "-m", "clearml_localserver")
    environment: Path = Path(sys.prefix)
    """The Python environment that steps run in; each step worker gets a copy of its own (hard links)."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> MachineSettings:
        """Return the defaults with every `CLEARML_PODS_*` variable of `environ` applied.

        Raises:
            SettingsError: A variable is not a number, or out of range.
        """
        settings = cls(
            state=own_server.state_folder(environ),
            agent_python=Path(environ.get(AGENT_VARIABLE) or PROJECT / "images/agent/.venv/bin/python"),
            steps_queues=AgentValues.load().queues,
        )
        return replace(
            settings,
            port_base=_number(environ, PORT_BASE_VARIABLE, settings.port_base, range(1, 65001)),
            step_workers=_number(environ, WORKERS_VARIABLE, settings.step_workers, range(1, 65)),
        )

    @property
    def server_folder(self) -> Path:
        """Data, log and pid file of the server."""
        return self.configuration.parent

    @property
    def configuration(self) -> Path:
        """The `clearml.conf` that the server writes for its clients."""
        return own_server.configuration(self.state)

    @property
    def workers_folder(self) -> Path:
        """One folder per worker."""
        return self.state / self.worker_set.folder

    @property
    def api_url(self) -> str:
        """Address of the API."""
        return f"http://{self.host}:{self.port_base + 8}"

    @property
    def steps_queue(self) -> str:
        """The queues of steps as text; of one, the name."""
        return ", ".join(self.steps_queues)

    @property
    def workers(self) -> list[WorkerSpec]:
        """The agent daemons of this set-up."""
        if not self.has_workers:
            return []
        if self.kept:
            return list(self.kept)
        steps_queues = tuple(dict.fromkeys((*self.steps_queues, *self.shared_queues)))
        steps = [WorkerSpec(f"steps-{number}", steps_queues) for number in range(1, self.step_workers + 1)]
        names = ["controllers", *(f"controllers-{number}" for number in range(2, self.controller_workers + 1))]
        controllers_queues = (self.controllers_queue, *self.shared_queues)
        controllers = [WorkerSpec(name, controllers_queues) for name in names[: self.controller_workers]]
        return [*controllers, *steps]


def _number(environ: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or int(text) not in allowed:
        raise SettingsError(
            f"{name}={text!r} is not a whole number from {allowed.start} to {allowed.stop - 1}",
            hint=f"unset {name}, or set it to a number such as {default}",
        )
    return int(text)
