"""`python -m bench`, behind `./task bench`: runs benchmarks, keeps their results, writes docs/benchmarks.md of them."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click

from bench import harness, page
from bench.declaration import BenchmarkError
from bench.harness import BENCHMARKS, InterruptedBenchmarkError
from bench.machine import ROOT
from bench.result import Result
from command_line import interrupts
from command_line.console import Console
from command_line.main import run
from command_line.options import examples, verbose

WIDTH = 140


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True, "max_content_width": 120},
    options_metavar="[OPTIONS]",
)
@click.option("--only", metavar="NAME,…", default="", help=f"Run only these: {', '.join(BENCHMARKS)}.")
@click.option("--quick", is_flag=True, help="Use small sizes, to see that it works; keep nothing.")
@click.option("--keep", is_flag=True, help="Keep the result also when a benchmark's own options were given.")
@click.option("--no-keep", is_flag=True, help="Leave docs/benchmarks/ and the page as they are.")
@click.option("--page-only", is_flag=True, help="Measure nothing; write the page from the kept results.")
@click.option("--strict", is_flag=True, help="End with exit code 1 where a target is missed.")
@click.option("--json", "as_json", is_flag=True, help="Print each result as one line of JSON instead of tables.")
@click.option("-h", "--help", "wants_help", is_flag=True, help="Show this; with --only, a benchmark's own options too.")
@verbose
@click.argument("own", metavar="[OPTIONS OF ONE BENCHMARK]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
@examples("python -m bench --only text,train", "python -m bench --only split --rounds 3")
def cli(context: click.Context, /, own: tuple[str, ...], only: str, wants_help: bool, **flags: bool) -> int:
    """Run benchmarks, keep their results, and write docs/benchmarks.md."""
    if flags["page_only"]:
        harness.say_on_stderr(f"{page.write()} is written")
        return 0
    names = _names(only)
    if wants_help:
        _help(context, names if only else [])
        return 0
    if own and len(names) > 1:
        raise click.UsageError(f"{shlex.join(own)}: the options of a benchmark need --only with its name")
    if own:
        try:
            BENCHMARKS[names[0]].load().parser(names[0]).parse_args(own)
        except SystemExit:
            return 2
    if len(names) == 1:
        return _one(names[0], list(own), flags)
    return _several(names, flags)


def main(words: list[str] | None = None) -> int:
    """Run what is asked for; return 1 where a benchmark failed, or `--strict` and a target was missed."""
    return run(cli, words, program="python -m bench")


def _names(only: str) -> list[str]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise click.UsageError(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    return names or [name for name, entry in BENCHMARKS.items() if entry.by_default]


def _help(context: click.Context, names: list[str]) -> None:
    print(context.get_help())
    for name in names:
        print(f"\nOnly with --only {name}:")
        print(BENCHMARKS[name].load().parser(name).format_help())


def _one(name: str, own: list[str], flags: dict[str, bool]) -> int:
    """Run one benchmark here."""
    benchmark = BENCHMARKS[name].load()
    reason = benchmark.unavailable(benchmark.options(own, quick=flags["quick"])[0])
    if reason:
        harness.say_on_stderr(f"{name}: cannot run here: {reason}")
        return 1
    harness.say_on_stderr(f"{name}: {benchmark.title}")
    try:
        result = harness.run(name, own, harness.say_on_stderr, quick=flags["quick"])
    except InterruptedBenchmarkError as interrupted:
        _print(interrupted.result, as_json=flags["as_json"])
        harness.say_on_stderr(f"{name}: interrupted; what was measured is above and is not kept")
        return interrupts.exit_code()
    except BenchmarkError as error:
        harness.say_on_stderr(f"{name}: failed: {error}")
        return 1
    _print(result, as_json=flags["as_json"])
    if not flags["no_keep"] and (result.whole or (flags["keep"] and not flags["quick"])):
        path = harness.keep(result)
        harness.say_on_stderr(f"{name}: kept as {_short(path)}; {_short(page.write())} is written")
    return 1 if flags["strict"] and not all(figure.met for figure in result.aimed()) else 0


def _several(names: list[str], flags: dict[str, bool]) -> int:
    """Run one benchmark after the other, each in a process of its own, which keeps its result."""
    given = [f"--{name.removeprefix('as_').replace('_', '-')}" for name, is_given in flags.items() if is_given]
    failed = []
    for name in names:
        benchmark = BENCHMARKS[name].load()
        reason = benchmark.unavailable(benchmark.options([], quick=flags["quick"])[0])
        if reason:
            harness.say_on_stderr(f"{name}: left out: {reason}")
            continue
        child = subprocess.Popen([sys.executable, "-m", "bench", "--only", name, *given])
        try:
            code = child.wait()
        except KeyboardInterrupt:
            if interrupts.last_signal() == signal.SIGTERM:  # a Ctrl-C has reached it already
                child.terminate()
            child.wait()  # it removes what it has made
            code = interrupts.exit_code()
        if code in (130, 143):
            harness.say_on_stderr("interrupted; the results before are kept")
            return code
        if code:
            failed.append(name)
    if failed:
        harness.say_on_stderr(f"failed, or missed a target under --strict: {', '.join(failed)}")
    return 1 if failed else 0


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        harness.show(result, Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH))


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
