"""The one harness: which benchmarks there are, how one is run, and where its result goes.

A benchmark is a module with a `bench.declaration.Benchmark`. The harness runs it, shows it, and keeps what it found;
it must not know what is measured. Several are run one after the other, each in a process of its own, so
that what one loads or keeps does not help or burden the next.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import shlex
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table as Shown

from bench import machine, wording
from bench.declaration import Benchmark, Say
from bench.result import Result, Row
from command_line.console import Console

KEPT = machine.ROOT / "docs/benchmarks"
"""Results that the page is made of."""


@dataclass(frozen=True)
class Entry:
    """A benchmark by its name."""

    module: str
    value: str = "BENCHMARK"
    """What the module calls it."""
    by_default: bool = True
    page_order: int = 0

    def load(self) -> Benchmark:
        """Import it: only then, since some need a good second."""
        benchmark = getattr(importlib.import_module(self.module), self.value)
        assert isinstance(benchmark, Benchmark), self.module
        return benchmark


def benchmarks_in(folder: Path, package: str) -> dict[str, Entry]:
    """Return the benchmarks of a package's modules by name, in the order of the page.

    `BENCHMARK` of `pod_start.py` is `pod-start`; another value, such as `CONFIGURED` of `shards.py`, is
    `shards-configured`. The modules are read and not imported.
    """
    found = {}
    for path in folder.glob("*.py"):
        settled: dict[str, Any] = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                continue
            name, call = node.targets[0].id, node.value
            if not (
                name.isupper() and isinstance(call, ast.Call) and ast.unparse(call.func) in ("Benchmark", "replace")
            ):
                continue
            given = {word.arg: word.value for word in call.keywords if word.arg in ("by_default", "page_order")}
            # A value that is made of another one (`replace`) keeps what it does not say.
            settled |= {arg: ast.literal_eval(value) for arg, value in given.items() if arg}
            words = [path.stem, *([] if name == "BENCHMARK" else [name.lower()])]
            found["-".join(words).replace("_", "-")] = Entry(f"{package}.{path.stem}", name, **settled)
    return dict(sorted(found.items(), key=lambda item: item[1].page_order))


BENCHMARKS = benchmarks_in(Path(__file__).parent, "bench")
"""In the order of the page."""


class InterruptedBenchmarkError(Exception):
    """The user pressed Ctrl-C; what was measured until then is in `result`."""

    def __init__(self, result: Result) -> None:
        super().__init__("interrupted")
        self.result = result


def run(name: str, words: list[str], say: Say, *, quick: bool = False) -> Result:
    """Run one benchmark in this process.

    Args:
        name: One of `BENCHMARKS`.
        words: Options of its own.
        say: Reports progress.
        quick: Take small sizes.

    Raises:
        InterruptedBenchmarkError: By Ctrl-C or SIGTERM; holds what was measured.
    """
    benchmark = BENCHMARKS[name].load()
    options, normal = benchmark.options(words, quick=quick)
    own = {key: value for key, value in vars(options).items() if isinstance(value, (str, int, float, bool, list))}
    facts = machine.facts() | {"command": command(name, words, quick=quick), "options": own}
    rows: list[Row] = []
    began = time.monotonic()

    def found(*, whole: bool) -> Result:
        seconds = round(time.monotonic() - began, 1)
        more = facts | {"seconds": seconds}
        return Result(name, benchmark.title, benchmark.tables, benchmark.targets, tuple(rows), more, whole)

    try:
        with _closed(benchmark.measure(options, say)) as measured:
            for row in measured:
                say(f"  {row.group + ': ' if row.group else ''}{row.name}")
                rows.append(row)
    except KeyboardInterrupt:
        raise InterruptedBenchmarkError(found(whole=False)) from None
    return found(whole=normal)


@contextlib.contextmanager
def _closed(rows: Iterator[Row]) -> Iterator[Iterator[Row]]:
    """Close a generator at once when the block ends, so that it removes what it has made."""
    try:
        yield rows
    finally:
        if isinstance(rows, Generator):
            rows.close()


def command(name: str, words: list[str], *, quick: bool) -> str:
    """Return what a person types to have this again."""
    after = [*(["--quick"] if quick else []), *words]
    return f"./task bench-{name}" + (f" -- {shlex.join(after)}" if after else "")


def keep(result: Result, folder: Path = KEPT) -> Path:
    """Write a result where the page takes it from."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    path.write_text(as_text(result), encoding="utf-8")
    return path


def as_text(result: Result) -> str:
    """Return what a kept result's file holds."""
    return json.dumps(result.as_json(), indent=1, ensure_ascii=False) + "\n"


def kept(folder: Path = KEPT) -> list[Result]:
    """Return the kept results in the order of the page, with titles, tables and targets as they are declared now."""
    found = []
    for name, entry in BENCHMARKS.items():
        path = folder / f"{name}.json"
        if path.is_file():
            benchmark = entry.load()
            result = Result.from_json(json.loads(path.read_text(encoding="utf-8")))
            found.append(replace(result, title=benchmark.title, tables=benchmark.tables, targets=benchmark.targets))
    return found


def show(result: Result, console: Console) -> None:
    """Print a result's tables."""
    for table in result.tables:
        header, *rows = wording.lines(result, table, missed=lambda text: f"[bold red]{text}[/]")
        if not rows:
            continue
        shown = Shown(title=table.title, title_justify="left", box=None, header_style="dim")
        for title in header:
            shown.add_column(title, justify="left" if not title else "right", no_wrap=not title)
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
    missed = [figure.name for figure in result.aimed() if not figure.met]
    if missed:
        console.print(f"[bold red]{result.title}: misses its target:[/] {'; '.join(missed)}", soft_wrap=True)
    if not result.whole:
        console.print("(in part, or at other sizes than its targets are for: not compared with them)", soft_wrap=True)


def say_on_stderr(text: str) -> None:
    """Report progress on stderr, apart from the results."""
    print(text, file=sys.stderr, flush=True)
