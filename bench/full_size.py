"""The data at full size: a CSV of generated reviews to processed dataset versions and a published model.

By what a person types, through a server and agents of the benchmark's own: `dataset upload`, then `run-full`. Wall time
of each part, and the most memory that each process ever held.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import environment
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.process_peaks import Peaks
from bench.result import Column, Row, Table, Target
from pipeline.local_stack.settings import MachineSettings

ROWS = 1_000_000
SEED = 42
UPLOAD_TIMEOUT_S, RUN_TIMEOUT_S = 1_200.0, 3_000.0
WHOLE = "in all"
TASK_VARIABLE = "CLEARML_TASK_ID"
ROLES = {
    re.compile("-m clearml_localserver"): "server",
    re.compile("clearml_agent .*daemon"): "agent",
    re.compile("clearml_agent .*execute"): "agent, while a task runs",
    re.compile("-m pipeline dataset upload"): "python -m pipeline dataset upload",
    re.compile("-m pipeline run-full"): "python -m pipeline run-full",
}
"""What a command line looks like → what the process is."""

STEP_PHASES = {"in its queue": "queue_wait_s", "start-up": "startup_s", "at work": "run_s"}
ORIGINAL, ORIGINAL_ROWS_PER_S = "preprocessing as in the course", 302.0


def unavailable(options: argparse.Namespace) -> str:
    """Say no where the kernel does not keep a process's peak."""
    return "" if sys.platform.startswith("linux") else "each process's peak of memory is read from Linux's /proc"


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Upload, run, and tell the phases; then the peaks."""
    with environment.own_machine(say, step_workers=options.workers) as machine:
        csv = machine.state / "reviews.csv"
        environment.run("generate", str(csv), "--rows", str(options.rows), "--seed", str(SEED))
        group = f"{options.rows:,} reviews, CSV of {csv.stat().st_size / 1e6:,.1f} MB"
        yield Row("phases", ORIGINAL, {"seconds": (options.rows / ORIGINAL_ROWS_PER_S,)}, group, noted=True)
        with Peaks(machine.state, role_of) as peaks:
            began = time.monotonic()
            uploaded = document("dataset", "upload", str(csv), "--json", timeout_s=UPLOAD_TIMEOUT_S)
            middle = time.monotonic()
            made = list(uploaded["made"])
            yield Row("phases", f"dataset upload: {len(made)} versions", {"seconds": (middle - began,)}, group)
            ran = run_full(made[-1], machine, shards=options.shards)
            end = time.monotonic()
        yield Row("phases", "FullPipeline", {"seconds": (end - middle,)}, group)
        steps = {str(step["task_id"]): step for step in family(ran["steps"])}
        for step in steps.values():
            cells = {name: (step[key],) for name, key in STEP_PHASES.items() if step[key] is not None}
            yield Row(
                "phases", f"its step {step['name']}", {"seconds": (sum(v for (v,) in cells.values()),), **cells}, group
            )
        yield Row("phases", WHOLE, {"seconds": (end - began,)}, group)
        require_whole(ran, steps)
        names = {task: step["name"] for task, step in steps.items()} | {ran["run_id"]: "FullPipeline's controller"}
        for role, mib in sorted(peaks.mib.items(), key=lambda item: -item[1]):
            yield Row("memory", names.get(role, role), {"peak": (mib,)}, group)


def document(*words: str, timeout_s: float) -> dict[str, Any]:
    """Run `python -m pipeline` with these words and return the JSON that it prints."""
    found: dict[str, Any] = json.loads(environment.run(*words, timeout_s=timeout_s).splitlines()[-1])
    return found


def run_full(
    version: str, machine: MachineSettings, *, shards: int = 1, timeout_s: float = RUN_TIMEOUT_S
) -> dict[str, Any]:
    """Run the full pipeline on a dataset version and return its document."""
    return document(
        *("run-full", "--set", f"dataset_version={version}", "--shards", str(shards), "--json"),
        *("--report", str(machine.state / "report.html"), "--timeout", str(timeout_s)),
        timeout_s=timeout_s + 60,
    )


def family(steps: list[dict[str, Any]], outer: str = "") -> Iterator[dict[str, Any]]:
    """Yield the steps and those inside them, which are called `outer.inner`."""
    for step in steps:
        name = f"{outer}{step['name']}"
        yield step | {"name": name}
        yield from family(step.get("steps", []), f"{name}.")


def require_whole(ran: dict[str, Any], steps: dict[str, dict[str, Any]]) -> None:
    """Check that the time is that of work done: nothing reused, and a model at the end.

    Raises:
        BenchmarkError: It is not.
    """
    reused = [step["name"] for step in steps.values() if step["cached"]]
    if reused or not ran["models"]:
        raise BenchmarkError(f"the run did not do all of it: reused {reused}, models {ran['models']}")


def role_of(command: list[str], environment: dict[str, str]) -> str:
    """Return what a process is: a name, or the id of the task that it runs."""
    line = " ".join(command)
    named = (role for pattern, role in ROLES.items() if pattern.search(line))
    return next(named, environment.get(TASK_VARIABLE, ""))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size, and how it is spread."""
    parser.add_argument("--rows", type=int, default=ROWS, help=f"reviews (default {ROWS})")
    parser.add_argument("--shards", type=int, default=1, help="shards of the preprocessing (default 1)")
    parser.add_argument("--workers", type=int, help="agents for steps (default: as `./task server-up` has)")


BENCHMARK = Benchmark(
    title="A million reviews, from CSV to a model",
    page_order=60,
    by_default=False,
    intro="""
The commands that a user types, on a new local server with its agents: `./task upload-dataset -- reviews.csv`, then
`./task run-full-pipeline`, with nothing in the cache. The baseline is the preprocessing alone, row by row with NLTK:
302 rows/s (nltk 3.9.1, noted). The time of a step is from its enqueueing to its end. *Peak* is the peak memory of a
process (`VmHWM`); of several processes of one kind, it is the highest.
""",
    tables=(
        Table(
            "phases",
            "Time from CSV to a published model",
            (Column("seconds", "time", "s"), *(Column(name, name, "s") for name in STEP_PHASES)),
            chart="seconds",
        ),
        Table("memory", "Peak memory of each process", (Column("peak", "peak", "MiB"),), chart="peak"),
    ),
    targets=(Target("phases", "seconds", 600.0, row=WHOLE), Target("memory", "peak", 4_096.0)),
    add_arguments=add_arguments,
    measure=measure,
    unavailable=unavailable,
    quick={"rows": 4_000},
)
