"""Runs the steps of DataPrepare by other orchestrators on this machine, each in an environment of its own.

An environment has the orchestrator and what it needs from the package index, and after them this project's packages.
It is made once, below `.local/orchestrators`. Outside systems: `uv`, and the orchestrators' own command lines.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.declaration import BenchmarkError, Say
from bench.machine import ROOT
from bench.orchestrators.three_steps import PARTS
from pipeline.amazon_reviews.reviews.sample import write_sample

HOME = ROOT / ".local" / "orchestrators"
INSTALL_TIMEOUT_S = 600.0
RUN_TIMEOUT_S = 300.0
RESOLVED_UNTIL = "2026-11-28"
"""Packages that are newer than this day are not taken, so that all measure the same ones."""


@dataclass(frozen=True)
class Orchestrator:
    """One way to run the steps.

    Attributes:
        name: As the tables call it.
        requirement: What is installed; nothing for this project's own Python.
        words: The command line after `python`, in which `{reviews}` and `{work}` stand for the two folders.
        variables: Environment variables, in which `{home}` stands for a new folder.
    """

    name: str
    requirement: str
    words: tuple[str, ...]
    variables: Mapping[str, str]


PLAIN = Orchestrator(
    "a plain script, one process", "", ("-m", "bench.orchestrators.plain_script", "{reviews}", "{work}"), {}
)
OTHERS = {
    "metaflow": Orchestrator(
        "Metaflow, local",
        "metaflow==2.19.39",
        (
            *(str(ROOT / "bench/orchestrators/metaflow_flow.py"), "--no-pylint", "--quiet", "--datastore", "local"),
            *("run", "--reviews", "{reviews}", "--work", "{work}"),
        ),
        {"METAFLOW_HOME": "{home}", "METAFLOW_DATASTORE_SYSROOT_LOCAL": "{home}", "METAFLOW_USER": "bench"},
    ),
    "dagster": Orchestrator(
        "Dagster, multiprocess",
        "dagster==1.13.29",
        ("-m", "bench.orchestrators.dagster_job", "{reviews}", "{work}"),
        {"DAGSTER_HOME": "{home}", "DAGSTER_DISABLE_TELEMETRY": "yes"},
    ),
    "prefect": Orchestrator(
        "Prefect, temporary server",
        "prefect==3.9.1",
        ("-m", "bench.orchestrators.prefect_flow", "{reviews}", "{work}"),
        {
            "PREFECT_HOME": "{home}",
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its 20 s are short on a busy machine
            "DO_NOT_TRACK": "1",
        },
    ),
}


def measure(names: list[str], runs: int, say: Say) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield each way's name and the seconds of its runs, the plain script first. One run of each does not count.

    Raises:
        BenchmarkError: An environment cannot be made, a run fails, or the ways do not make the same files.
    """
    with tempfile.TemporaryDirectory(prefix="bench-orchestrators-", dir=_parent()) as folder:
        reviews = Path(folder) / "reviews"
        reviews.mkdir()
        write_sample(reviews / "sample.csv")
        expected = ""
        for way in (PLAIN, *(OTHERS[name] for name in names)):
            python = environment(way, say)
            seconds = []
            for number in range(runs + 1):
                with _folders(Path(folder)) as (work, home):
                    took = run(way, python, reviews, work, home)
                    made = digest(work)
                expected = expected or made
                if made != expected:
                    raise BenchmarkError(
                        f"{way.name} does not make what the plain script makes: {made}, not {expected}"
                    )
                if number:
                    seconds.append(took)
                    say(f"  {way.name}: {took:.1f} s")
            yield way.name, tuple(seconds)


def environment(way: Orchestrator, say: Say) -> Path:
    """Return the Python that runs a way; make its environment if need be.

    Raises:
        BenchmarkError: There is no `uv`, or it fails.
    """
    if not way.requirement:
        return Path(sys.executable)
    folder = HOME / way.requirement
    python = folder / "bin" / "python"
    if python.exists():
        return python
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        raise BenchmarkError("uv is not on PATH: the environments of other orchestrators are made with it")
    say(f"making an environment for {way.requirement}")
    half = Path(tempfile.mkdtemp(prefix="half-", dir=_parent()))
    try:
        _uv(uv, "venv", "--clear", "--python", sys.executable, "--relocatable", str(half))
        packages = ("--python", str(half / "bin/python"), "--exclude-newer", RESOLVED_UNTIL, way.requirement)
        _uv(uv, "pip", "install", "--compile-bytecode", *packages)
        site = next(half.glob("lib/python*/site-packages"))
        # After the orchestrator's own packages: each finds its own versions first.
        (site / "own_code.pth").write_text(f"{ROOT}\n{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
        folder.parent.mkdir(parents=True, exist_ok=True)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return python


def run(way: Orchestrator, python: Path, reviews: Path, work: Path, home: Path) -> float:
    """Run the steps once; return the seconds from the command to its end.

    Raises:
        BenchmarkError: The command fails, or takes too long.
    """
    places = {"reviews": str(reviews), "work": str(work), "home": str(home)}
    command = [str(python), *(word.format_map(places) for word in way.words)]
    own = {name: value.format_map(places) for name, value in way.variables.items()}
    foreign = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=kept | own, capture_output=True, text=True, timeout=RUN_TIMEOUT_S,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{way.name} took more than {RUN_TIMEOUT_S:.0f} s") from error
    took = time.perf_counter() - began
    if done.returncode:
        raise BenchmarkError(f"{way.name} failed:\n{(done.stderr or done.stdout)[-3000:]}")
    return took


def digest(work: Path) -> str:
    """Return what tells the processed frames of a run from others."""
    files = [(work / f"processed_{part}.parquet").read_bytes() for part in PARTS]
    return " ".join(hashlib.sha256(file).hexdigest()[:12] for file in files)


@contextmanager
def _folders(parent: Path) -> Iterator[tuple[Path, Path]]:
    """Make the folders of one run, for what it makes and for what the orchestrator keeps; remove them afterwards."""
    with tempfile.TemporaryDirectory(dir=parent) as work, tempfile.TemporaryDirectory(dir=parent) as home:
        yield Path(work), Path(home)


def _parent() -> Path:
    HOME.mkdir(parents=True, exist_ok=True)  # on the disk of the clone: a temporary folder may be in memory
    return HOME


def _uv(uv: str, *words: str) -> None:
    done = subprocess.run(
        [uv, *words, "--quiet"], capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"uv {words[0]} failed:\n{done.stderr[-3000:]}")
