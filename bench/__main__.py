"""`python -m bench`, behind `task bench`: runs benchmarks, keeps their results, writes docs/benchmarks.md of them."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from bench import harness, page
from bench.contract import BenchmarkError
from bench.harness import BENCHMARKS, InterruptedBenchmarkError
from bench.machine import ROOT
from bench.result import Result

INTERRUPTED = 130
WIDTH = 140


def main(words: list[str] | None = None) -> int:
    """Run what is asked for; return 1 where a benchmark failed, or `--strict` and a target was missed."""
    parser = _parser()
    options, own = parser.parse_known_args(words)
    if options.page_only:
        harness.say_on_stderr(f"{page.write()} is written")
        return 0
    names = _names(parser, options.only)
    if options.help:
        _help(parser, names if options.only else [])
        return 0
    if own and len(names) > 1:
        parser.error(f"{shlex.join(own)}: the options of a benchmark need --only with its name")
    if own:
        try:
            BENCHMARKS[names[0]].load().parser(names[0]).parse_args(own)
        except SystemExit:
            return 2
    if len(names) == 1:
        return _one(names[0], own, options)
    return _several(names, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="task bench --", add_help=False, description=__doc__)
    parser.add_argument("--only", metavar="NAME,…", default="", help=f"only these: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works; nothing is kept")
    parser.add_argument("--keep", action="store_true", help="keep the result also with options of its own")
    parser.add_argument("--no-keep", action="store_true", help="leave docs/benchmarks/ and the page as they are")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page of what is kept")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a target is missed")
    parser.add_argument("--json", action="store_true", help="print each result as one line of JSON, not as tables")
    parser.add_argument("-h", "--help", action="store_true", help="say this; with --only, that benchmark's options too")
    return parser


def _names(parser: argparse.ArgumentParser, only: str) -> list[str]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    return names or [name for name, entry in BENCHMARKS.items() if entry.by_default]


def _help(parser: argparse.ArgumentParser, names: list[str]) -> None:
    parser.print_help()
    for name in names:
        print(f"\nOnly with --only {name}:")
        print(BENCHMARKS[name].load().parser(name).format_help())


def _one(name: str, own: list[str], options: argparse.Namespace) -> int:
    """Run one benchmark here."""
    benchmark = BENCHMARKS[name].load()
    reason = benchmark.unavailable(benchmark.options(own, quick=options.quick)[0])
    if reason:
        harness.say_on_stderr(f"{name}: cannot run here: {reason}")
        return 1
    harness.say_on_stderr(f"{name}: {benchmark.title}")
    try:
        result = harness.run(name, own, harness.say_on_stderr, quick=options.quick)
    except InterruptedBenchmarkError as interrupted:
        _print(interrupted.result, as_json=options.json)
        harness.say_on_stderr(f"{name}: interrupted; what was measured stands above and is not kept")
        return INTERRUPTED
    except BenchmarkError as error:
        harness.say_on_stderr(f"{name}: failed: {error}")
        return 1
    _print(result, as_json=options.json)
    if not options.no_keep and (result.whole or (options.keep and not options.quick)):
        path = harness.keep(result)
        harness.say_on_stderr(f"{name}: kept as {_short(path)}; {_short(page.write())} is written")
    return 1 if options.strict and not all(figure.met for figure in result.aimed()) else 0


def _several(names: list[str], options: argparse.Namespace) -> int:
    """Run one benchmark after the other, each in a process of its own, which keeps its result."""
    flags = [f"--{flag}" for flag in ("quick", "keep", "no-keep", "strict", "json") if vars(options)[_key(flag)]]
    failed = []
    for name in names:
        benchmark = BENCHMARKS[name].load()
        reason = benchmark.unavailable(benchmark.options([], quick=options.quick)[0])
        if reason:
            harness.say_on_stderr(f"{name}: left out: {reason}")
            continue
        child = subprocess.Popen([sys.executable, "-m", "bench", "--only", name, *flags])
        try:
            code = child.wait()
        except KeyboardInterrupt:
            child.wait()  # it had the same Ctrl-C, and removes what it has made
            code = INTERRUPTED
        if code == INTERRUPTED:
            harness.say_on_stderr("interrupted; the results before are kept")
            return INTERRUPTED
        if code:
            failed.append(name)
    if failed:
        harness.say_on_stderr(f"failed, or missed a target under --strict: {', '.join(failed)}")
    return 1 if failed else 0


def _key(flag: str) -> str:
    return flag.replace("-", "_")


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.as_json(), ensure_ascii=False))
    else:
        harness.show(result, Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH))


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
