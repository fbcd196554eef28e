"""How long a run takes whose steps are all reused, on localserver and on one that answers as a genuine server does.

Nearly all of such a run is calls to the server, so that it shows what the server's manners cost. The two servers are
the same program: `--like-genuine` answers an empty queue at once, ends idle connections, and knows a lost worker late.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Mapping

from bench import environment
from bench.declaration import Benchmark, Say
from bench.result import Column, Row, Table, Target
from bench.startup import run_once

RUNS = 5
MODE = "queue"
USUAL = "localserver"
LIKE_GENUINE = "localserver --like-genuine"
SERVERS: Mapping[str, Mapping[str, str]] = {USUAL: {}, LIKE_GENUINE: {"LOCALSERVER_LIKE_GENUINE": "1"}}


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Run the pipeline on each server: once with every step, then with every step reused, on both in turn."""
    walls: dict[str, list[float]] = {name: [] for name in SERVERS}
    with contextlib.ExitStack() as machines:
        environs = {}
        for name, variables in SERVERS.items():
            machines.enter_context(environment.own_machine(say, variables=variables))
            environs[name] = dict(os.environ)
            environment.run("dataset", "upload", "--sample", "--json")
            say("one run of every step, which does not count")
            run_once(MODE, reuse=True)
        for _ in range(options.runs):
            for name, environ in environs.items():
                walls[name].append(run_once(MODE, reuse=True, environ=environ)[0])
                say(f"  {name}: {walls[name][-1]:.1f} s")
    for name in SERVERS:
        yield Row("cached", name, {"wall": tuple(walls[name])})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how often."""
    parser.add_argument("--runs", type=int, default=RUNS, help=f"counted runs on each server (default {RUNS})")


BENCHMARK = Benchmark(
    title="A run whose steps are all reused",
    page_order=75,
    intro="""
DataPrepare on the sample of real reviews, every step reused, in queue mode. `--like-genuine` has the manners of a
genuine ClearML server that cost time: an agent asks an empty queue again only after its pause of 5 s, idle connections
are closed, and a lost worker is known after 600 s.
""",
    tables=(
        Table(
            "cached",
            "A cached run of DataPrepare",
            (Column("wall", "total", "s"), Column("faster", "faster", "x", better="higher", ratio_of="wall")),
            baseline=USUAL,
            chart="wall",
        ),
    ),
    targets=(Target("cached", "faster", 1 / 1.3, row=LIKE_GENUINE),),
    add_arguments=add_arguments,
    measure=measure,
    quick={"runs": 1},
)
