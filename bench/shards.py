"""Preprocessing spread over shards: time, and what each shard more costs in start-up and joining.

Each run is a real `python -m pipeline run --no-cache --shards N`. `BENCHMARK` is on a server and workers of its own;
`CONFIGURED` on the server that is configured, whatever its agents are: where that is the ClearML server of a cluster
with the deployed agent, it measures pods.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import environment
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.result import Column, Row, Table, Target

if TYPE_CHECKING:
    from clearml_access.run_records import RunState, StepState
    from pipeline.clearml_server import ClearmlServer

ROWS, SEED, WORKERS = 200_000, 42, 2
SHARDS = [1, 2, 4]
DATASET = "Benchmark of shards"
TIMEOUT_S = 3_000.0
MOST_TIMES = 1.3
"""Four shards on two cores take at most so many times as long as none."""
JOINING = ("train_processing", "test_processing")

Facts = dict[str, Any]
"""What was measured of one run, by the keys of the table's columns."""


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Upload reviews, then run with each number of shards, on two workers of this machine."""
    with environment.own_machine(say, step_workers=options.workers):
        yield from _measure(options, say, f"{options.workers} workers")


def measure_configured(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Do the same on the configured server."""
    return _measure(options, say, "the configured server's agents")


def _measure(options: argparse.Namespace, say: Say, agents: str) -> Iterator[Row]:
    group = f"{options.rows:,} reviews, {agents}"
    with tempfile.TemporaryDirectory(prefix="bench-shards-") as folder:
        from pipeline.commands.connection import connect

        server = connect(say).server
        dataset = upload(Path(folder), options.rows)
        run_once(Path(folder), *dataset, 1, use_cache=True)  # warms up: does not count
        single: Facts = {}
        for shards in sorted(options.shards):
            runs = [run_once(Path(folder), *dataset, shards) for _ in range(options.rounds)]
            facts = [facts_of(server, run_id, shards) for run_id in runs]
            single = single or facts[0]
            if any(found["rows"] != single["rows"] for found in facts):
                raise BenchmarkError(f"{shards} shards gave other results than {sorted(options.shards)[0]}")
            for found in facts:
                found["extra"] = extra_cost(single, found)
            keys = [key for key in facts[0] if key not in ("rows", "shards")]
            cells = {key: tuple(found[key] for found in facts if found[key] is not None) for key in keys}
            yield Row("shards", name_of(shards), {key: values for key, values in cells.items() if values}, group)


def name_of(shards: int) -> str:
    """Return what a number of shards is called."""
    return "not split" if shards == 1 else f"{shards} shards a set"


def upload(folder: Path, rows: int) -> tuple[str, str]:
    """Upload generated reviews, unless they are there; return the dataset's name and the version with all of them."""
    csv = folder / "reviews.csv"
    environment.run("generate", str(csv), "--rows", str(rows), "--seed", str(SEED))
    name = f"{DATASET}, {rows} rows"
    out = environment.run("dataset", "upload", str(csv), "--name", name, "--batch-size", str(rows), "--json")
    found = json.loads(out.splitlines()[-1])
    return name, max([*found["made"], *found["kept"]])  # 1.0 is empty, 1.1 its one batch


def run_once(folder: Path, name: str, version: str, shards: int, *, use_cache: bool = False) -> str:
    """Run the pipeline as a person does and return the run."""
    words = ["--set", f"dataset_name={name}", "--set", f"dataset_version={version}", "--shards", str(shards)]
    words += [] if use_cache else ["--no-cache"]
    report = str(folder / "report.html")
    out = environment.run(
        "run", *words, "--json", "--report", report, "--timeout", str(TIMEOUT_S), timeout_s=TIMEOUT_S + 60
    )
    return str(json.loads(out.splitlines()[-1])["run_id"])


def facts_of(server: ClearmlServer, run_id: str, shards: int) -> Facts:
    """Return what a run took, and a digest over the rows of each of its results.

    Args:
        server: The server.
        run_id: A run that completed.
        shards: How many shards each set had.
    """
    from pipeline.amazon_reviews.definitions import DATA_PREPARE
    from pipeline.runs.states import fetch

    run = fetch(server, run_id, DATA_PREPARE.with_shards(shards))
    results = {step.name: str(step.task_id) for step in run.steps if step.name in JOINING}
    made = server.tasks(["hyperparams.return"], id=list(results.values()))
    datasets = [task["hyperparams"]["return"]["dataset_id"]["value"] for task in made]
    return {"shards": shards, "rows": sorted(map(rows_digest, datasets)), **times_of(run)}


def rows_digest(dataset_id: str) -> str:
    """Return a digest over the rows of a dataset version, whatever the files that they are in."""
    import polars as pl

    from pipeline.datasets import datasets

    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="bench-shards-") as folder:
        for file in datasets.open_version(dataset_id=dataset_id, alias="result").own_files(Path(folder) / "files"):
            digest.update(pl.read_parquet(file).write_ndjson().encode())
    return digest.hexdigest()


def times_of(run: RunState) -> Facts:
    """Return the seconds of a run's preprocessing."""
    steps = [step for step in run.steps if step.name != "train_test_split"]
    shards = [step for step in steps if step.name not in JOINING]
    joins = [step for step in steps if step.name in JOINING] if shards else []
    work = shards or steps
    return {
        "wall": _between(run.created, run.completed),
        "preprocessing": max(_known(step.completed) for step in steps) - min(_known(step.launched) for step in steps),
        "startup": sum(step.startup_s or 0.0 for step in work) / len(work),
        "work": sum(step.run_s or 0.0 for step in work),
        "joining": sum(_occupied(step) for step in joins) if joins else None,
        "workers": sum(_occupied(step) for step in steps),
    }


def extra_cost(single: Facts, found: Facts) -> float | None:
    """Return the worker seconds that each shard more has cost: start-up, joining, reading.

    Args:
        single: What was measured with the fewest shards.
        found: What was measured with more.
    """
    more = len(JOINING) * (found["shards"] - single["shards"])
    return (float(found["workers"]) - float(single["workers"])) / more if more else None


def _occupied(step: StepState) -> float:
    """Return how long a step had a worker."""
    return (step.startup_s or 0.0) + (step.run_s or 0.0)


def _between(start: float | None, end: float | None) -> float:
    return _known(end) - _known(start)


def _known(moment: float | None) -> float:
    if moment is None:
        raise BenchmarkError("the server does not say when a step began or ended")
    return moment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size, and how it is spread."""
    parser.add_argument("--rows", type=int, default=ROWS, help=f"reviews (default {ROWS})")
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS, help="numbers of shards (default 1 2 4)")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each (default 1)")


def add_all_arguments(parser: argparse.ArgumentParser) -> None:
    """Add these, and the number of workers."""
    add_arguments(parser)
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"agents for steps (default {WORKERS})")


BENCHMARK = Benchmark(
    title="Preprocessing in shards, on one machine",
    page_order=50,
    by_default=False,
    intro="""
All rows use the same generated reviews and run every step (`--no-cache`). The results must be equal row by row (a
digest over the rows), or the benchmark fails.

- *preprocessing*: from the time when the first shard is enqueued to the time when the last joined set is published
- *start-up*: of one shard, from the time when a worker takes it to its first own line
- *work*: the sum over the shards
- *joining*: both joining steps, with their start-up
- *worker time*: how long all these steps occupied workers
- *per extra shard*: the growth of the worker time for each additional shard

Shards save time if the work of a set is long compared to their start-up, and if they have cores of their own. The
workers of one machine share its cores.
""",
    tables=(
        Table(
            "shards",
            "The same reviews, by number of shards",
            (
                Column("wall", "run", "s"),
                Column("preprocessing", "preprocessing", "s"),
                Column("faster", "faster", "x", better="higher", ratio_of="preprocessing"),
                Column("startup", "start-up", "s"),
                Column("work", "work", "s"),
                Column("joining", "joining", "s"),
                Column("workers", "worker time", "s"),
                Column("extra", "per extra shard", "s"),
            ),
            baseline=name_of(1),
            chart="preprocessing",
        ),
    ),
    targets=(Target("shards", "faster", MOST_TIMES**-1, row=name_of(4)),),
    notes="""
What each shard more costs is the start of a process: the agent's, Python's and the imports of the SDK and polars. The
join reads the shards' files once, to check their digests, and writes none of their rows.
""",
    add_arguments=add_all_arguments,
    measure=measure,
    quick={"rows": 2_000, "shards": [1, 2]},
)

CONFIGURED = replace(
    BENCHMARK,
    title="Preprocessing in shards, on a cluster",
    page_order=51,
    intro="""
The same on the configured server (`CLEARML_API_HOST` and keys, or `clearml.conf`) and its agents. Here, that is a local
server, and every step is a pod of a one-node cluster (`./task cluster-up`, `./task deploy-agent`). All pods share two
cores, so shards cannot save time; the table shows what each shard costs. The dataset stays on that server.
""",
    targets=(),
    notes="",
    add_arguments=add_arguments,
    measure=measure_configured,
)
