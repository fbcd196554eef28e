"""Where a warm run's time goes, phase by phase, in each mode.

Each run is a real `python -m pipeline run --no-cache --json` against a server and agents of the benchmark's own; its
phases are read from the server afterwards. One run without a count warms up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench import environment, other_orchestrators, rivals, wording
from bench.declaration import Benchmark, Say
from bench.machine import ROOT
from bench.result import Column, Row, Table, Target
from pipeline.local_stack.settings import AGENT_VARIABLE
from pipeline.run_options import MODES

if TYPE_CHECKING:
    from clearml_access.run_records import RunState, StepState

RUNS = 2
RUN_TIMEOUT_S = 300.0
GENUINE = "genuine server, its defaults, trivial steps"
GENUINE_S = {"queue": 72.0, "controller": 57.0, "in-process": 82.0}
OURS, EARLIER = "this project", "the version before"
REUSED = "queue, every step reused"
AGENT_PYTHON = ROOT / "images/agent/.venv/bin/python"
NONE = "none"

Phases = dict[str, dict[str, float | None]]
"""Step → phase → seconds."""

PHASES = {
    "hand-over": "from the end of its last parent (for the first step: the controller's start) until it is enqueued",
    "queue wait": "until a worker takes it",
    "process start": "until the first line of its script",
    "imports": "until the SDK is imported, the task is initialised, and inputs and modules of the step are loaded",
    "user code": "until its work is done",
    "exit": "until its uploads are done and the task is completed",
}


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Run the pipeline in each mode by both versions in turns, then the same steps by other orchestrators."""
    ours: dict[str, tuple[float, ...]] = {}
    clones = {} if options.without_earlier else {EARLIER: rivals.earlier_clone(say)}
    clones[OURS] = ROOT
    with contextlib.ExitStack() as machines:
        environs = {}
        for name, clone in clones.items():
            agent = {AGENT_VARIABLE: str(AGENT_PYTHON)}  # the earlier one has no environment of the agent's
            machines.enter_context(environment.own_machine(say, variables=agent, clone=clone))
            environs[name] = dict(os.environ)
            environment.run("dataset", "upload", "--sample", "--json", clone=clone)
            say(f"{name}: a run in each way that does not count")
            run_once("in-process", clone=clone)
            run_once("queue", reuse=True, clone=clone)  # later runs reuse its steps
        from pipeline.commands.connection import connect
        from pipeline.runs.states import fetch

        server = connect(say).server
        for mode in options.mode or [*MODES, REUSED]:
            walls: dict[str, list[float]] = {name: [] for name in clones}
            runs = []
            for _ in range(options.runs):
                for name, clone in clones.items():
                    reuse = mode == REUSED
                    way = "queue" if reuse else mode
                    wall, run_id = run_once(way, reuse=reuse, environ=environs[name], clone=clone)
                    walls[name].append(wall)
                    if name == OURS:
                        runs.append(step_phases(fetch(server, run_id)))
                    say(f"  {mode}, {name}: {wall:.1f} s")
            if mode in GENUINE_S:
                yield Row("modes", GENUINE, {"wall": (GENUINE_S[mode],)}, mode, noted=True)
                yield Row("modes", OURS, {"wall": tuple(walls[OURS])}, mode)
                yield from phase_rows(mode, runs)
                ours[mode] = tuple(walls[OURS])
            for name in clones:
                yield Row("earlier", name, {"wall": tuple(walls[name])}, mode)
    others = [name for name in options.other or list(other_orchestrators.OTHERS) if name != NONE]
    for name, seconds in other_orchestrators.measure(others, options.runs, say):
        yield Row("others", name, {"wall": seconds})
    for mode, seconds in ours.items():
        yield Row("others", f"{OURS}, {mode}", {"wall": seconds})


def run_once(
    mode: str, *, reuse: bool = False, environ: Mapping[str, str] | None = None, clone: Path = ROOT
) -> tuple[float, str]:
    """Run the pipeline as a person does; return the seconds that it took, and the run."""
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        report = str(Path(folder) / "report.html")
        words = ("run", "--mode", mode, "--report", report, *(() if reuse else ("--no-cache",)), "--json")
        began = time.perf_counter()
        out = environment.run(*words, timeout_s=RUN_TIMEOUT_S, environ=environ, clone=clone)
        wall = time.perf_counter() - began
    return wall, str(json.loads(out.splitlines()[-1])["run_id"])


def step_phases(run: RunState) -> Phases:
    """Return the seconds of each phase of each step, hand-over first."""
    steps = {step.name: step for step in run.steps}
    return {name: {"hand-over": hand_over(run, steps, step), **step.phases()} for name, step in steps.items()}


def hand_over(run: RunState, steps: dict[str, StepState], step: StepState) -> float | None:
    """Return the time from the last parent's end (the controller's start, for the first step) to this step's queue."""
    ends = [steps[parent].completed for parent in step.parents] or [run.started]
    known = [end for end in ends if end is not None]
    return None if step.launched is None or not known else max(0.0, step.launched - max(known))


def phase_rows(mode: str, runs: list[Phases]) -> Iterator[Row]:
    """Yield a row for each step: each phase's seconds in each run, and their sum."""
    for step in runs[0]:
        found = {
            phase: tuple(seconds for run in runs if (seconds := run[step][phase]) is not None)
            for phase in runs[0][step]
        }
        cells = {phase: seconds for phase, seconds in found.items() if seconds}
        whole = sum(statistics.median(seconds) for seconds in cells.values())
        yield Row("phases", step, {**cells, "sum": (whole,)}, mode)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how often, and how."""
    parser.add_argument("--runs", type=int, default=RUNS, help=f"counted runs of each mode (default {RUNS})")
    parser.add_argument("--mode", action="append", choices=[*MODES, REUSED], help="only this mode (repeatable)")
    aside = f"measure without commit {rivals.COMMIT} of this project"
    parser.add_argument("--without-earlier", action="store_true", help=aside)
    choices = [*other_orchestrators.OTHERS, NONE]
    parser.add_argument("--other", action="append", choices=choices, help="only this other orchestrator (repeatable)")


OTHERS_NOTE = """
The same three steps on the same reviews, from the typed command to its end; all make the same two files, or the
benchmark fails. The others split and preprocess files. This project's runs also make three dataset versions, plots and
a report, on a server that keeps them.
"""

EARLIER_NOTE = f"""
*The version before* is commit {rivals.COMMIT} of this project, with its own server and agents, from this clone's
history. The two run in turns.
"""

BENCHMARK = Benchmark(
    title="A run, phase by phase",
    page_order=70,
    intro=f"""
Every step runs (`--no-cache`), on the sample of real reviews, after one run that does not count. The figures of the
genuine server were measured once on a machine of this kind, with three steps that do nothing. There, a step waits for
the agent, which polls its queue every 5 s, and for 10 s in the SDK at its exit.

The phases of a step, each from the end of the one before:

{wording.bullets(PHASES)}
""",
    notes="""
The targets beside the version before are half of its time in queue and controller mode, 0.35 of it in-process, and 0.6
of it where every step is reused. What is left is processor time of the SDK and of the agent. A step from a queue is two
processes, the agent's and its own (*process start* and *imports* together take two thirds of a step), and they follow
one another: command, controller, first step, then two steps at once on two cores. In-process mode forks the steps, so
that only the command and the controller import the SDK; a step still imports polars, which starts threads and cannot be
taken over by a fork, and opens its task.

In-process mode was to be ahead of all other orchestrators here, and queue mode ahead of Dagster and Prefect. In-process
mode is ahead of Dagster and Prefect, and behind Metaflow, whose steps import no SDK and report to no server. Queue mode
is ahead of Prefect alone. An agent that keeps a process ready for the next task would change that; the stock agent
starts one for each.

What each setting saves, measured by hand with a task of one line, the stock agent 1.9.2, and medians of 5 on a busy
machine:

| added setting | enqueue → first line | last line → completed | total |
|---|---:|---:|---:|
| none: no long poll, pip, reporting in a subprocess | 12.3 s | 15.2 s | 27.9 s |
| + long poll of the server | 5.8 s | 13.5 s | 20.1 s |
| + uv answers the agent's pip calls | 2.7 s | 11.5 s | 15.1 s |
| + `report_use_subprocess: false` | 1.8 s | 2.3 s | 5.1 s |
| + a step completes itself | 2.7 s (higher load) | 0.02 s | 4.5 s |
""",
    tables=(
        Table(
            "modes",
            "A run of DataPrepare",
            (
                Column("wall", "total", "s"),
                Column("faster", "faster", "x", better="higher", ratio_of="wall"),
            ),
            baseline=GENUINE,
            chart="wall",
        ),
        Table(
            "earlier",
            "The same run by the version before",
            (
                Column("wall", "total", "s"),
                Column("faster", "faster", "x", better="higher", ratio_of="wall"),
            ),
            baseline=EARLIER,
            note=EARLIER_NOTE,
        ),
        Table(
            "phases",
            "Phases of the steps",
            (*(Column(phase, phase, "s") for phase in PHASES), Column("sum", "sum", "s")),
        ),
        Table(
            "others",
            "The same steps by other orchestrators",
            (Column("wall", "total", "s"), Column("faster", "faster", "x", better="higher", ratio_of="wall")),
            baseline=other_orchestrators.PLAIN.name,
            chart="wall",
            note=OTHERS_NOTE,
        ),
    ),
    targets=(
        Target("modes", "wall", 35.0, row=OURS, group="queue"),
        Target("modes", "wall", 15.0, row=OURS, group="in-process"),
        Target("earlier", "faster", 2.0, row=OURS, group="queue"),
        Target("earlier", "faster", 2.0, row=OURS, group="controller"),
        Target("earlier", "faster", 1 / 0.35, row=OURS, group="in-process"),
        Target("earlier", "faster", 1 / 0.6, row=OURS, group=REUSED),
    ),
    add_arguments=add_arguments,
    measure=measure,
    quick={"runs": 1, "mode": ["in-process"], "other": [NONE], "without_earlier": True},
)
