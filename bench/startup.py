"""Where a warm run's time goes: `task bench-startup`, or `python -m bench.startup [--runs N] [--mode M] [--json FILE]`.

Each run is a real `python -m pipeline run --no-cache --json` against the configured server, or this machine's own;
its phases are read from the server afterwards. One run without a count warms up. Prints a table per mode and, as the
last line of stdout, one JSON object.

Phases of a step: queue wait (its queue to a worker), process start (the worker to the script's first line), imports
(SDK, joining the task, inputs, the step's modules), user code, exit (uploads done, task completed), hand-over (the
last of its parents completed to this step in its queue).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.table import Table

from pipeline.commands.connection import connect
from pipeline.run import fetch
from pipeline.runs import RunState, StepState
from pipeline.settings import MODES

TARGETS_S = {"queue": 35.0, "in-process": 15.0}
RUN_TIMEOUT_S = 300


Phases = dict[str, dict[str, float | None]]
"""Step → phase → seconds."""


class Mode(TypedDict):
    """What was measured of one mode."""

    wall_s: list[float]
    steps: Phases


def main() -> int:
    """Measure, print, and return 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=2, help="counted runs per mode (default 2)")
    parser.add_argument("--mode", action="append", choices=list(MODES), help="default: all modes")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="parameter of the pipeline")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON object there too")
    arguments = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)

    server = connect(lambda text: console.print(text, soft_wrap=True)).server
    console.print("Warming up: one run that does not count")
    run_once("in-process", arguments.set)
    results: dict[str, Mode] = {}
    for mode in arguments.mode or list(MODES):
        walls, phases = [], []
        for _ in range(arguments.runs):
            wall, run_id = run_once(mode, arguments.set)
            walls.append(wall)
            phases.append(step_phases(fetch(server, run_id)))
        results[mode] = {"wall_s": [round(wall, 2) for wall in walls], "steps": median(phases)}
        show(console, mode, results[mode])
    missed = [mode for mode, target in TARGETS_S.items() if mode in results and middle(results[mode]) > target]
    document = json.dumps(
        {
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
            "modes": results,
            "targets_s": TARGETS_S,
            "missed": missed,
        }
    )
    if arguments.json:
        arguments.json.write_text(document + "\n", encoding="utf-8")
    print(document)
    return 1 if missed else 0


def run_once(mode: str, assignments: list[str]) -> tuple[float, str]:
    """Run the pipeline as a person does; return the seconds that it took and the run."""
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        options = [word for assignment in assignments for word in ("--set", assignment)]
        report = Path(folder) / "report.html"
        flags = ("--no-cache", "--json")
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "run", "--mode", mode, "--report", str(report), *flags, *options],
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
        )
        wall = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"run in mode {mode} failed:\n{done.stderr}")
    return wall, json.loads(done.stdout.splitlines()[-1])["run_id"]


def step_phases(run: RunState) -> Phases:
    """Return the seconds of each phase of each step, hand-over first."""
    steps = {step.name: step for step in run.steps}
    return {name: {"hand-over": hand_over(run, steps, step), **step.phases()} for name, step in steps.items()}


def hand_over(run: RunState, steps: dict[str, StepState], step: StepState) -> float | None:
    """Return the time from the last parent's end (the controller's start, for the first step) to this step's queue."""
    ends = [steps[parent].completed for parent in step.parents] or [run.started]
    known = [end for end in ends if end is not None]
    return None if step.launched is None or not known else max(0.0, step.launched - max(known))


def median(runs: list[Phases]) -> Phases:
    """Return the median of each phase over the runs."""

    def over_runs(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return round(statistics.median(known), 3) if known else None

    return {
        step: {phase: over_runs([run[step][phase] for run in runs]) for phase in phases}
        for step, phases in runs[0].items()
    }


def middle(result: Mode) -> float:
    """Return the median wall time of a mode."""
    return statistics.median(result["wall_s"])


def show(console: Console, mode: str, result: Mode) -> None:
    """Print a mode's table."""
    walls, steps = result["wall_s"], result["steps"]
    target = f", target {TARGETS_S[mode]:.0f} s" if mode in TARGETS_S else ""
    total = f"{statistics.median(walls):.1f} s in all (median of {len(walls)}{target})"
    table = Table(title=f"{mode}: {total}", title_justify="left", box=None, header_style="dim")
    table.add_column("step", no_wrap=True)
    for phase in next(iter(steps.values())):
        table.add_column(phase, justify="right")
    for name, phases in steps.items():
        table.add_row(name, *("–" if seconds is None else f"{seconds:.2f} s" for seconds in phases.values()))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
