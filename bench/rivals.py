"""What this project is measured beside: an earlier commit of it, and an MLflow server, each in its own environment.

Both are made once, below `.local/rivals`. Outside systems: git, `uv`, MLflow's command line.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.declaration import BenchmarkError, Say
from bench.machine import ROOT

HOME = ROOT / ".local" / "rivals"
COMMIT = "af93724"
MLFLOW = "mlflow==3.17.2"
RESOLVED_UNTIL = "2026-11-28"
"""Packages that are newer than this day are not taken, so that all measure the same ones."""

INSTALL_TIMEOUT_S = 900.0
START_TIMEOUT_S = 180.0


def earlier_python(say: Say) -> Path:
    """Return the Python of an environment with the server of the earlier commit; make it if need be.

    Raises:
        BenchmarkError: This clone does not have that commit, or the environment cannot be made.
    """
    words = ("--no-default-groups", "--extra", "server", "--no-editable")
    return _earlier(HOME / COMMIT, words, "name another version's Python (--beside PYTHON), or ", say)


def earlier_clone(say: Say) -> Path:
    """Return a folder with the earlier commit and `.venv`, from which its commands run; make it if need be.

    Raises:
        BenchmarkError: This clone does not have that commit, or the environment cannot be made.
    """
    return _earlier(HOME / f"{COMMIT}-whole", ("--all-extras", "--no-editable"), "", say).parents[2]


def _earlier(folder: Path, words: Sequence[str], or_else: str, say: Say) -> Path:
    python = folder / ".venv/bin/python"
    if python.exists():
        return python
    if subprocess.run(["git", "cat-file", "-e", COMMIT], cwd=ROOT, capture_output=True, check=False).returncode:
        raise BenchmarkError(
            f"this clone does not have commit {COMMIT}, which is the baseline: fetch it (git fetch --unshallow), "
            f"{or_else}leave it out (--without-earlier)"
        )
    say(f"making an environment for commit {COMMIT}")
    with _half_made(folder) as half:
        packed = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(half)], input=packed, check=True)
        _uv("venv", "--python", sys.executable, "--relocatable", str(half / ".venv"))
        sync = ("sync", "--frozen", "--compile-bytecode", *words)
        _uv(*sync, "--project", str(half), "--python", sys.executable)
    return python


def mlflow_python(say: Say) -> Path:
    """Return the Python of an environment with MLflow; make it if need be.

    Raises:
        BenchmarkError: The environment cannot be made.
    """
    folder = HOME / MLFLOW
    python = folder / "bin/python"
    if python.exists():
        return python
    say(f"making an environment for {MLFLOW}")
    with _half_made(folder) as half:
        _uv("venv", "--clear", "--python", sys.executable, "--relocatable", str(half))
        packages = ("--python", str(half / "bin/python"), "--exclude-newer", RESOLVED_UNTIL, MLFLOW)
        _uv("pip", "install", "--compile-bytecode", *packages)
    return python


@dataclass(frozen=True)
class Mlflow:
    """A running MLflow server.

    Attributes:
        url: Its address.
        start_s: Seconds from the command until it answered.
        process: Its first process.
    """

    url: str
    start_s: float
    process: psutil.Process

    def processes(self) -> list[psutil.Process]:
        """Return all of its processes."""
        return [self.process, *self.process.children(recursive=True)]

    def memory_mib(self) -> float:
        """Return the memory that its processes have, what they share counted once."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 2**20


@contextmanager
def running_mlflow(python: Path, folder: Path) -> Iterator[Mlflow]:
    """Run an MLflow server on SQLite for the length of the block."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder.mkdir()
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env |= {"PATH": f"{python.parent}:{env['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    began = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(python), *words, *stores], cwd=folder, env=env, stdout=log, stderr=log)
    server = psutil.Process(process.pid)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _answers(f"{url}/health"):
            if process.poll() is not None or time.perf_counter() - began > START_TIMEOUT_S:
                raise BenchmarkError(f"MLflow did not start:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)
        yield Mlflow(url, time.perf_counter() - began, server)
    finally:
        family = [*server.children(recursive=True), server] if process.poll() is None else []
        for one in family:
            one.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        for one in alive:
            one.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def _half_made(folder: Path) -> Iterator[Path]:
    """Yield a folder that gets its name at the end of the block."""
    HOME.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix="half-", dir=HOME))
    try:
        yield half
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _uv(*words: str) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        raise BenchmarkError("uv is not on PATH: the environments of other servers are made with it")
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [uv, *words, "--quiet"], capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False, env=env
    )
    if done.returncode:
        raise BenchmarkError(f"uv {words[0]} failed:\n{done.stderr[-3000:]}")
