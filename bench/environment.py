"""A server and agents of a benchmark's own, on this machine: new folders, free ports, nothing left behind.

What is already running here (`./task server-up`, a configured server) is neither used nor disturbed. Outside systems:
`python -m pipeline`, and the environment of this process: the SDK reads there where its server is, so import it inside
the block.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.declaration import BenchmarkError, Say
from bench.machine import ROOT
from clearml_access.own_server import STATE_VARIABLE
from pipeline.local_stack.settings import (
    AGENT_VARIABLE,
    PORT_BASE_VARIABLE,
    WORKERS_VARIABLE,
    MachineSettings,
)

KEPT_VARIABLES = {AGENT_VARIABLE, WORKERS_VARIABLE}
OFFSETS = (8, 80, 81, 82)
"""Of the ports of server and served models from the base."""
COMMAND_TIMEOUT_S = 600.0
ENDING_TIMEOUT_S = 60.0


@contextlib.contextmanager
def own_machine(
    say: Say, *, step_workers: int | None = None, variables: Mapping[str, str] | None = None, clone: Path = ROOT
) -> Iterator[MachineSettings]:
    """Start a server and workers, and make them this process's and its children's; all are gone afterwards.

    Args:
        say: Reports progress.
        step_workers: Agents for steps; default: as many as the product starts.
        variables: Environment variables of the server and of all else in the block.
        clone: Whose commands; default: this one's.
    """
    parent = ROOT / ".local"  # on the disk of the clone: a temporary folder may be in memory
    parent.mkdir(exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    settings = MachineSettings.from_environ({STATE_VARIABLE: str(state)})
    own = {
        STATE_VARIABLE: str(state),
        PORT_BASE_VARIABLE: str(free_base()),
        "CLEARML_CONFIG_FILE": str(settings.configuration),
        "CLEARML_CACHE_DIR": str(state / "cache/storage"),
        **(variables or {}),
    }
    if step_workers is not None:
        own[WORKERS_VARIABLE] = str(step_workers)
    try:
        with _environment(own):
            settings = MachineSettings.from_environ(os.environ)
            try:
                say("starting a server and agents of its own")
                run("server", "up", clone=clone)
                yield settings
            finally:
                run("server", "down", timeout_s=ENDING_TIMEOUT_S, clone=clone)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def run(
    *words: str,
    timeout_s: float = COMMAND_TIMEOUT_S,
    environ: Mapping[str, str] | None = None,
    clone: Path = ROOT,
) -> str:
    """Run `python -m pipeline` with these words and return its stdout.

    Args:
        words: The command.
        timeout_s: How long it may take.
        environ: Its environment; default: this process's.
        clone: Whose command; another clone's runs with its own `.venv`.

    Raises:
        BenchmarkError: It fails, or takes too long.
    """
    python = sys.executable if clone == ROOT else str(clone / ".venv/bin/python")
    command = [python, "-m", "pipeline", *words]
    try:
        done = subprocess.run(
            command, cwd=clone, env=environ, capture_output=True, text=True, timeout=timeout_s,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"`{' '.join(command[1:])}` took more than {timeout_s:.0f} s") from error
    if done.returncode:
        raise BenchmarkError(f"`{' '.join(command[1:])}` failed:\n{done.stderr[-3000:] or done.stdout[-3000:]}")
    return done.stdout


def free_base() -> int:
    """Return a port base none of whose ports is taken now."""
    for base in range(21_000, 29_000, 100):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for offset in OFFSETS:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
            return base
    raise BenchmarkError("no free ports are found from 21000 to 29000")


@contextlib.contextmanager
def _environment(own: Mapping[str, str]) -> Iterator[None]:
    """Set these variables, without any other that says where a ClearML server is."""
    before = dict(os.environ)
    ours = {name for name in before if name.startswith(("CLEARML_", "TRAINS_"))} - KEPT_VARIABLES
    for name in ours:
        del os.environ[name]
    os.environ.update(own)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
