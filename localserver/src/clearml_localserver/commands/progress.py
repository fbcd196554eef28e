"""Output of commands: progress lines, sizes and names as text."""

from __future__ import annotations

import time

import click

PERIOD_S = 2.0


class Progress:
    """Prints what it is told, at most every two seconds."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._next = time.monotonic() + PERIOD_S

    def __call__(self, text: str) -> None:
        """Print a line if the last one was long enough ago."""
        if self._quiet or time.monotonic() < self._next:
            return
        click.echo(f"  {text}", err=True)
        self._next = time.monotonic() + PERIOD_S


def printable(text: str) -> str:
    """Return a text that others stored as one line: in a terminal, control characters do more than be shown."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def size_text(size: float) -> str:
    """Return bytes as `12 B`, `3.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("the last unit takes any size")
