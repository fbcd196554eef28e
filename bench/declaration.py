"""What a benchmark's module hands to the harness: one value, `BENCHMARK`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.result import Row, Table, Target

Say = Callable[[str], None]
"""Reports progress."""


class BenchmarkError(Exception):
    """A benchmark cannot give figures that mean something: its ways disagree, or a part of it failed."""


def nothing_in_the_way(options: argparse.Namespace) -> str:
    """Say that a benchmark can run anywhere."""
    return ""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: what it declares, and how it measures."""

    title: str
    tables: tuple[Table, ...]
    targets: tuple[Target, ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    """Adds its options, with the defaults that the targets are for."""
    measure: Callable[[argparse.Namespace, Say], Iterator[Row]]
    """Yields each row as soon as it is measured; removes what was made, also when closed early."""
    by_default: bool = True
    """Whether `./task bench` runs it unasked. A literal: the harness reads it without importing the module."""
    page_order: int = 100
    """Its place on the page, smallest first. A literal, too."""
    intro: str = ""
    """Markdown above its tables on the page: what is compared, and how to read it."""
    notes: str = ""
    """Markdown below them: what was found by hand, or is noted from elsewhere."""
    adding: frozenset[str] = frozenset()
    """Options that change no row, or only add some: with them, targets still hold."""
    quick: Mapping[str, Any] = field(default_factory=dict)
    """Values of its options with which it ends within seconds: to see that it works, not to measure."""
    unavailable: Callable[[argparse.Namespace], str] = nothing_in_the_way
    """Returns why it cannot run on this machine; nothing where it can."""

    def parser(self, name: str = "") -> argparse.ArgumentParser:
        """Return the parser of its own options."""
        parser = argparse.ArgumentParser(prog=f"./task bench-{name} --" if name else None, add_help=False)
        self.add_arguments(parser)
        return parser

    def options(self, words: list[str], *, quick: bool) -> tuple[argparse.Namespace, bool]:
        """Return its options, and whether they are the defaults, which the targets are for."""
        parser = self.parser()
        normal = parser.parse_args([])
        if quick:
            parser.set_defaults(**self.quick)
        options = parser.parse_args(words)
        return options, all(vars(options)[name] == vars(normal)[name] for name in vars(normal).keys() - self.adding)
