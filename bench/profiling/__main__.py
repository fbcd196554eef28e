"""`python -m bench.profiling`, behind `./task profile`: runs one thing under a profiler and shows its time."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click
import psutil
from rich.table import Table as Shown

from bench import environment
from bench.harness import say_on_stderr
from bench.profiling import calls, recorder, stacks
from bench.profiling.calls import Calls
from command_line.console import Console
from command_line.main import run
from command_line.options import FilePath, as_json, examples, verbose
from pipeline.local_stack import server
from pipeline.local_stack.configuration import read_access
from pipeline.local_stack.settings import MachineSettings
from pipeline.run_options import MODES

ROWS = 100_000
SEED = 42
TIMEOUT_S = 1_800.0
SERVER = "server"
TOTAL = "in all"
WIDTH = 140


@click.command(context_settings={"max_content_width": 120})
@click.argument("what", metavar="run|upload|step", type=click.Choice(["run", "upload", "step"]))
@click.option("--rows", type=click.IntRange(100), default=ROWS, show_default=True, help="Reviews, generated.")
@click.option(
    "--mode", type=click.Choice(list(MODES)), default="in-process", show_default=True, help="Mode of the run."
)
@click.option(
    "--step",
    type=click.Choice([name for name in stacks.STEPS if "shard" not in name]),
    default="train_processing",
    show_default=True,
    help="With `step`: which one.",
)
@click.option("--keep", type=FilePath(), metavar="FOLDER", help="Keep the stacks here, for a flame graph.")
@as_json
@verbose
@examples("./task profile -- upload --rows 200000", "python -m bench.profiling step --step train_test_split")
def cli(what: str, rows: int, mode: str, step: str, keep: Path | None, as_json: bool) -> int:
    """Run one thing under a sampling profiler and show where its time goes.

    `run` is the full pipeline, `upload` an upload, `step` one step of a run. Each has a server of its own and generated
    reviews. The seconds are those in which threads work; threads that wait are not counted. The server's own
    times of the calls are beside them.
    """
    recorder.require()
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="profile-")))
        folder.mkdir(parents=True, exist_ok=True)
        counted = _record(what, rows, mode, folder)
        lines = [line for file in folder.glob("*.raw") for line in file.read_text(errors="replace").splitlines()]
    table = stacks.add_up(stacks.parse(lines), recorder.RATE)
    if what == "step":
        table = {name: phases for name, phases in table.items() if name == f"step {step}"}
    if as_json:
        found = {name: asdict(it) for name, it in counted.items()}
        print(json.dumps({"what": what, "rows": rows, "seconds": table, "calls": found}))
        return 0
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(_seconds(table))
    console.print(_calls(counted))
    if keep:
        console.print(
            f"The stacks are in {keep}: one line each, as flamegraph.pl and speedscope read them", soft_wrap=True
        )
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run(cli, words, program="python -m bench.profiling")


def _record(what: str, rows: int, mode: str, folder: Path) -> dict[str, Calls]:
    """Run it on a machine of its own; return the calls that the server has answered meanwhile."""
    with environment.own_machine(say_on_stderr) as machine:
        csv = machine.state / "reviews.csv"
        environment.run("generate", str(csv), "--rows", str(rows), "--seed", str(SEED))
        upload = ("dataset", "upload", str(csv), "--json")
        words: tuple[str, ...] = upload
        if what != "upload":
            say_on_stderr("uploading what the run reads")
            made = json.loads(environment.run(*upload, timeout_s=TIMEOUT_S).splitlines()[-1])["made"]
            words = (
                *("run-full", "--mode", mode, "--no-cache", "--set", f"dataset_version={list(made)[-1]}"),
                *("--report", str(machine.state / "report.html"), "--json"),
            )
        api = read_access(machine.configuration).api
        before = calls.answered(api)
        say_on_stderr(f"recording `pipeline {words[0]}` with py-spy")
        with recorder.attached(_running(machine, with_agents=what != "upload" and mode != "in-process"), folder):
            recorder.run(words, folder, timeout_s=TIMEOUT_S)
        return calls.between(before, calls.answered(api))


def _running(machine: MachineSettings, *, with_agents: bool) -> list[int]:
    """Return the server's process and, where they do the work, the agents'."""
    serving = server.find(machine)
    found = [serving.pid] if serving else []
    for process in psutil.process_iter(["pid", "cmdline"]) if with_agents else ():
        line = " ".join(process.info["cmdline"] or ())
        if "clearml_agent" in line and " daemon" in line and str(machine.state) in line:
            found.append(process.info["pid"])
    return found


def _seconds(table: stacks.Table) -> Shown:
    shown = Shown(title="Seconds of work, by phase and cause", title_justify="left", box=None, header_style="dim")
    shown.add_column("")
    for cause in (*stacks.CAUSES, TOTAL):
        shown.add_column(cause, justify="right")
    for role, phases in sorted(table.items(), key=lambda item: (item[0] == SERVER, -_total(item[1].values()))):
        causes = {cause: sum(found.get(cause, 0.0) for found in phases.values()) for cause in stacks.CAUSES}
        shown.add_row(f"[bold]{role}[/]", *_cells(causes))
        if len(phases) > 1:
            for phase, found in sorted(phases.items(), key=lambda item: -_total([item[1]])):
                shown.add_row(f"  {phase}", *_cells(found))
    return shown


def _cells(found: Mapping[str, float]) -> list[str]:
    cells = [f"{found[cause]:.2f}" if found.get(cause) else "" for cause in stacks.CAUSES]
    return [*cells, f"{sum(found.values()):.2f}"]


def _total(rows: Iterable[Mapping[str, float]]) -> float:
    return sum(sum(row.values()) for row in rows)


def _calls(counted: Mapping[str, Calls]) -> Shown:
    shown = Shown(title="Calls that the server answered", title_justify="left", box=None, header_style="dim")
    shown.add_column("")
    shown.add_column("calls", justify="right")
    shown.add_column("server's seconds", justify="right")
    for endpoint, found in counted.items():
        shown.add_row(endpoint, f"{found.count:,}", f"{found.seconds:.2f}")
    shown.add_row(TOTAL, f"{sum(it.count for it in counted.values()):,}", "")
    return shown


if __name__ == "__main__":
    sys.exit(main())
