"""Where the one-machine set-up lives and how large it is: one frozen value, built from the environment once."""

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

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses at which only this machine reaches a server; the first is the default."""

PORT_BASE_VARIABLE = "CLEARML_PODS_PORT_BASE"
WORKERS_VARIABLE = "CLEARML_PODS_STEP_WORKERS"
AGENT_VARIABLE = "CLEARML_PODS_AGENT_PYTHON"


@dataclass(frozen=True)
class WorkerPlan:
    """One agent daemon: its name on this machine and the queues that it serves, the most urgent first."""

    name: str
    queues: tuple[str, ...]

    @property
    def queue(self) -> str:
        """Its queues as text; of one, the name."""
        return ", ".join(self.queues)


@dataclass(frozen=True)
class MachineSettings:
    """Folders, ports and workers of the one-machine set-up."""

    state: Path
    """Everything it writes: data, logs, pid files, caches."""

    agent_python: Path
    """Interpreter that has clearml-agent (its pins conflict with the SDK's: an environment of its own)."""

    steps_queues: tuple[str, ...]
    """As the glue on a cluster, each step worker serves all queues of the values file."""

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
        return self.state / "workers"

    @property
    def api_url(self) -> str:
        """Address of the API."""
        return f"http://{self.host}:{self.port_base + 8}"

    @property
    def steps_queue(self) -> str:
        """The queues of steps as text; of one, the name."""
        return ", ".join(self.steps_queues)

    @property
    def workers(self) -> list[WorkerPlan]:
        """The agent daemons of this set-up."""
        if not self.has_workers:
            return []
        steps = [WorkerPlan(f"steps-{number}", self.steps_queues) for number in range(1, self.step_workers + 1)]
        more = [f"controllers-{number}" for number in range(2, self.controller_workers + 1)]
        return [*(WorkerPlan(name, (self.controllers_queue,)) for name in ("controllers", *more)), *steps]


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
