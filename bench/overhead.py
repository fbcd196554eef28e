"""What orchestration costs: upload and full pipeline beside the same work in one plain process, in the same run.

The plain process is `bench.plain_process`. The pipeline is what a person types: `dataset upload`, then `run-full`, with
nothing in the cache, through a server and agents of the benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from bench import environment
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.full_size import document, family, require_whole, role_of, run_full, unavailable
from bench.machine import ROOT
from bench.process_peaks import Peaks
from bench.result import Cell, Column, Row, Table, Target

SIZES = (200_000, 1_000_000)
ALL = 3_600_000
"""Reviews of the Kaggle file, whose size the generated ones have."""

SEED = 42
TIMEOUT_S = 7_200.0
PLAIN, PIPELINE = "one plain process", "pipeline"
ACCURACY_MARGIN = 0.01
"""Words tie at the cut of the features, where scikit-learn may choose others."""


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    seconds: float
    cpu_s: float
    peak_mib: float = 0.0


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Do the work in both ways, for each size."""
    for rows in options.rows:
        group = f"{rows:,} reviews"
        with environment.own_machine(say) as machine:
            csv = machine.state / "reviews/reviews.csv"
            csv.parent.mkdir()
            environment.run("generate", str(csv), "--rows", str(rows), "--seed", str(SEED))
            say(f"{group}: in one plain process")
            found, plain = in_one_process(csv)
            yield Row("overhead", PLAIN, _cells(plain), group)
            say(f"{group}: upload and full pipeline")
            with Peaks(machine.state, role_of) as peaks:
                began, before = time.monotonic(), cpu_s(machine.state)
                made = document("dataset", "upload", str(csv), "--json", timeout_s=TIMEOUT_S)["made"]
                middle, between = time.monotonic(), cpu_s(machine.state)
                ran = run_full(list(made)[-1], machine, timeout_s=TIMEOUT_S)
                end, after = time.monotonic(), cpu_s(machine.state)
            require_same_work(ran, found)
            parts = {
                f"upload: {len(made)} versions": Cost(middle - began, between - before),
                "full pipeline": Cost(end - middle, after - between),
            }
            for name, cost in parts.items():
                yield Row("overhead", f"its {name}", _cells(cost), group)
            whole = Cost(end - began, after - before, max(peaks.mib.values()))
            times: dict[str, Cell] = {
                "times": (whole.seconds / plain.seconds,),
                "times_cpu": (whole.cpu_s / plain.cpu_s,),
            }
            yield Row("overhead", PIPELINE, _cells(whole) | times, group)


def in_one_process(csv: Path) -> tuple[dict[str, Any], Cost]:
    """Do the work in one process, imports included; return what it found, and its cost.

    Raises:
        BenchmarkError: It failed, or took too long.
    """
    command = [sys.executable, "-m", "bench.plain_process", str(csv)]
    began, before = time.monotonic(), _of_children()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"the plain process took more than {TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise BenchmarkError(f"the plain process failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found, Cost(time.monotonic() - began, _of_children() - before, found["peak_mib"])


def cpu_s(state: Path) -> float:
    """Return the processor seconds of this process's children that have ended, and of the server and the agents.

    The agents wait for the tasks that they start, so a task's seconds are among theirs once it has ended.
    """
    seconds = _of_children()
    for process in psutil.process_iter():
        try:
            if str(state) not in " ".join(process.cmdline()):
                continue
            times = process.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def require_same_work(ran: dict[str, Any], found: dict[str, Any]) -> None:
    """Compare what both ways found.

    Raises:
        BenchmarkError: They split or predict differently, or a step was not run.
    """
    require_whole(ran, {str(step["task_id"]): step for step in family(ran["steps"])})
    metrics = ran["models"][0]["metrics"]
    if abs(float(metrics["accuracy"]) - found["accuracy"]) > ACCURACY_MARGIN:
        raise BenchmarkError(f"the ways disagree: accuracy {metrics['accuracy']} and {found['accuracy']}")


def _cells(cost: Cost) -> dict[str, Cell]:
    cells: dict[str, Cell] = {"seconds": (cost.seconds,), "cpu": (cost.cpu_s,)}
    return cells | ({"peak": (cost.peak_mib,)} if cost.peak_mib else {})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="reviews (default 200000 1000000)")


def add_all_reviews(parser: argparse.ArgumentParser) -> None:
    """Add the size, which is that of the whole file."""
    parser.add_argument("--rows", type=int, nargs="+", default=[ALL], help=f"reviews (default {ALL})")


BENCHMARK = Benchmark(
    title="What orchestration costs",
    page_order=65,
    by_default=False,
    intro="""
The same work in two ways, from one CSV of generated reviews to a model and its accuracy on the test set:

- *one plain process*: reads the CSV, splits it, preprocesses it with this project's text step, and trains with
  scikit-learn in memory
- *pipeline*: `./task upload-dataset`, then `./task run-full-pipeline`, on a new local server with its agents, with
  nothing in the cache; what is between is versioned, checked and published

*Times* is the pipeline's time in times of the plain process. *CPU* counts all processes, those of server and agents
too; on a busy machine it is the more reliable ratio. *Peak* of the pipeline is that of its worst process.
""",
    notes="""
What bounds the ratio at 200,000 reviews is the start of processes: two controllers, four steps and the command each
import the SDK (0.8 s of processor time on a busy machine), the steps polars and pyarrow (0.1 s), the training
scikit-learn (1.3 s), and the agent starts a process of its own for each task. This does not grow with the reviews. With
`--mode in-process`, steps are forked from their controller, which has the SDK already.

Measured since then on a busy machine (load 12 to 18), at 200,000 reviews, with files that are stored once: 2.86 times
the processor time of the plain process, in place of 3.07; the worst process held 519 MiB, in place of 618.

Where the time of a run goes, by `./task profile -- run --rows 100000`, in seconds of work of all threads. The run was
in-process, with nothing in the cache, on a busy machine (load 12):

| process | imports | validation | HTTP | hashing | compression | work |
|---|---:|---:|---:|---:|---:|---:|
| step train_test_split | 3.9 | 0.0 | 1.3 | 0.1 | 1.3 | 0.6 |
| step train_processing | 0.9 | 0.1 | 1.6 | 0.2 | 0.1 | 4.1 |
| step test_processing | 1.2 | 0.0 | 1.2 | 0.0 | 0.0 | 1.2 |
| step fit_model | 10.0 | 0.3 | 2.8 | 0.0 | 0.2 | 5.5 |
| both controllers | 2.2 | 0.2 | 2.7 | 0.0 | 0.0 | 0.2 |
| the command | 0.6 | 0.0 | 0.9 | 0.0 | 0.0 | 0.2 |
| server | 0.1 | 0.0 | 0.0 | 0.0 | 0.0 | 2.3 |

Since then, train_test_split imports no scikit-learn and compresses no CSV files: 2.8 and 2.1 s of its 11.6 s in a
profile of 200,000 reviews.
""",
    tables=(
        Table(
            "overhead",
            "From CSV to a model",
            (
                Column("seconds", "time", "s"),
                Column("times", "times", "x"),
                Column("cpu", "CPU", "s"),
                Column("times_cpu", "times (CPU)", "x"),
                Column("peak", "peak", "MiB"),
            ),
            baseline=PLAIN,
            chart="seconds",
        ),
    ),
    targets=(
        Target("overhead", "times", 2.0, row=PIPELINE, group="200,000 reviews"),
        Target("overhead", "times", 1.6, row=PIPELINE, group="1,000,000 reviews"),
        Target("overhead", "peak", 1_024.0, row=PIPELINE),
    ),
    add_arguments=add_arguments,
    measure=measure,
    unavailable=unavailable,
    quick={"rows": [200_000]},
)

ALL_REVIEWS = replace(
    BENCHMARK,
    title="What orchestration costs: all reviews",
    page_order=66,
    intro="""
The same with as many reviews as the Kaggle file has: 145 dataset versions, their split, preprocessing, training and
publishing, end to end. The plain process holds all of them in memory.
""",
    notes="",
    targets=(
        Target("overhead", "times", 1.6, row=PIPELINE),
        Target("overhead", "peak", 2_048.0, row=PIPELINE),
    ),
    add_arguments=add_all_reviews,
)
