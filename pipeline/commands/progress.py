"""The progress bar of the commands: on a terminal only, on stderr, so that pipes and `--json` stay clean."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Show(Protocol):
    """Moves a bar."""

    def __call__(self, share: float, note: str = "") -> None:
        """Fill the bar up to `share`, and say `note` beside it."""


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Show]:
    """Show a bar; the block calls what it is given with the share that is done, and with more to say.

    Args:
        label: What stands before the bar.
    """
    if not sys.stderr.isatty():
        yield lambda share, note="": None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from command_line.console import Console

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()),
        *(TextColumn("{task.fields[note]}"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(label, total=1.0, note="")
        yield lambda share, note="": progress.update(bar, completed=share, note=note)
