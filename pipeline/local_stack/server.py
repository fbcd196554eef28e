"""The server process: start it, find it again, end it. The pipeline speaks to it as to any ClearML server."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil

from clearml_access import processes
from clearml_access.credentials import Server
from clearml_access.http import pings
from pipeline.local_stack.configuration import SERVER_VARIABLE, read_access, server_environment
from pipeline.local_stack.errors import StartError
from pipeline.local_stack.settings import LOOPBACK, PORT_BASE_VARIABLE, MachineSettings

START_TIMEOUT_S = 30.0
ADOPT_TIMEOUT_S = 10.0
UPDATE_TIMEOUT_S = 600.0
READY = "localserver ready: "
UPDATING = "updating the database"
"""What the server says when it rewrites the tables of an older data folder. Ended in the midst of it, it would begin it
again at the next start."""


def log_file(settings: MachineSettings) -> Path:
    """Return the server's log."""
    return settings.server_folder / "server.log"


def find(settings: MachineSettings) -> psutil.Process | None:
    """Return the running server of this set-up."""
    return processes.running(_pid_file(settings))


def family(settings: MachineSettings) -> list[psutil.Process]:
    """Return the live server processes of this set-up, also where its folder has been deleted."""
    return processes.family(SERVER_VARIABLE, str(settings.server_folder))


def as_running(settings: MachineSettings) -> MachineSettings:
    """Return the settings as the running server was started with; where none runs, as they are."""
    record = processes.Record.read(_pid_file(settings)) if find(settings) else None
    facts = record.facts if record else {}
    return replace(
        settings,
        host=str(facts.get("host", settings.host)),
        has_workers=bool(facts.get("has_workers", settings.has_workers)),
    )


def remember(settings: MachineSettings) -> None:
    """Keep, with the running server's record, what `as_running` reads."""
    processes.remember(_pid_file(settings), host=settings.host, has_workers=settings.has_workers)


def check(settings: MachineSettings) -> None:
    """Find out what would keep the server from starting, before anything is started.

    Raises:
        StartError: It is not installed in this Python environment.
    """
    python, *words = settings.server_command
    if python == sys.executable and words[:1] == ["-m"] and find_spec(words[1]) is None:
        raise StartError(
            f"this machine's own ClearML server is not installed: {sys.prefix} has no module {words[1]}",
            hint="./task setup installs it into the clone's .venv; or configure a ClearML server that runs elsewhere: "
            "CLEARML_API_HOST, CLEARML_API_ACCESS_KEY, CLEARML_API_SECRET_KEY",
        )


def ensure(settings: MachineSettings) -> tuple[Server, bool]:
    """Return the running server's access, and whether it had to be started.

    Raises:
        StartError: It does not start, does not answer, listens elsewhere, or a port is taken.
    """
    if find(settings) is None:
        return _start(settings), True
    running = as_running(settings)
    if running.host != settings.host:
        workers = "" if settings.has_workers else " --no-workers"
        raise StartError(
            f"the server is already running and listens on {running.host}, not on {settings.host}",
            hint=f"./task server-down && ./task server-up -- --host {settings.host}{workers}",
        )
    access = read_access(settings.configuration)
    if not processes.wait_until(lambda: pings(access.api), ADOPT_TIMEOUT_S):
        raise StartError(
            f"the server runs but does not answer at {access.api}",
            hint="./task server-down && ./task server-up",
            evidence=processes.tail(log_file(settings)),
        )
    return access, False


def stop(settings: MachineSettings) -> bool:
    """End the server and whatever it started; return whether there was one."""
    found = family(settings)
    processes.end(found)
    _pid_file(settings).unlink(missing_ok=True)
    return bool(found)


def _start(settings: MachineSettings) -> Server:
    # One without its pid file (a wiped state folder) would hold the ports and the data folder.
    processes.end(family(settings))
    folder, log = settings.server_folder, log_file(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = log.stat().st_size if log.exists() else 0
    process = processes.start(
        [
            *(*settings.server_command, "--data", str(folder), "--port-base", str(settings.port_base)),
            *("--host", settings.host),
        ],
        env=server_environment(os.environ, folder, patient=settings.host in LOOPBACK),
        folder=folder,
        log=log,
        pid_file=_pid_file(settings),
    )

    def said() -> str:
        with log.open("rb") as file:
            file.seek(before)
            return file.read().decode(errors="replace")

    def has_begun() -> bool:
        return process.poll() is not None or READY in said()

    waited_s = START_TIMEOUT_S
    if not processes.wait_until(has_begun, START_TIMEOUT_S) and UPDATING in said():
        waited_s += UPDATE_TIMEOUT_S
        processes.wait_until(has_begun, UPDATE_TIMEOUT_S)
    if process.poll() is None and READY in said():
        return read_access(settings.configuration)
    ended = process.poll()
    processes.end([process])
    _pid_file(settings).unlink(missing_ok=True)
    taken = _taken(settings)
    if taken:
        raise StartError(
            f"the server cannot start: {'; '.join(taken)}",
            hint=f"end what listens there, or move all three ports: {PORT_BASE_VARIABLE}=9000 ./task server-up",
        )
    outcome = f"ended with exit code {ended}" if ended is not None else f"was not ready after {waited_s:.0f} s"
    raise StartError(f"the server {outcome}", hint="./task server-up", evidence=processes.tail(log))


def _taken(settings: MachineSettings) -> list[str]:
    """Name who listens on the ports that the server wants."""
    wanted = {settings.port_base + offset for offset in (8, 80, 81)}
    owners = {
        connection.laddr.port: connection.pid
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port in wanted
    }
    return [f"port {port} is taken by {_name(pid)}" for port, pid in sorted(owners.items())]


def _name(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"pid {pid} ({' '.join(psutil.Process(pid).cmdline())[:80]})"
    except psutil.Error:
        return f"pid {pid}"


def _pid_file(settings: MachineSettings) -> Path:
    return settings.server_folder / "server.pid"
