"""The live view of a run: a table that is redrawn on a terminal, a line for each change elsewhere.

It only shows: what it is told is already true on the server. Outside system: the console that it is given.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from clearml_access import run_records
from clearml_access.run_records import RunState, StepState
from command_line.console import Console

STYLE = {
    run_records.PENDING: ("·", "dim"),
    run_records.QUEUED: ("…", "yellow"),
    run_records.RUNNING: ("▸", "cyan"),
    run_records.COMPLETED: ("✓", "green"),
    run_records.CACHED: ("✓", "blue"),
    run_records.FAILED: ("✗", "bold red"),
    run_records.ABORTED: ("■", "magenta"),
    run_records.SKIPPED: ("-", "dim"),
}


class Progress:
    """Shows a run while it runs; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: RunState | None = None
        self._seen: dict[str, tuple[str, str]] = {}
        self._notes: list[str] = []
        self._began = time.time()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(self, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            if self._run is not None:
                self._console.print(step_table(self._run))

    def note(self, text: str) -> None:
        """Print a line, once."""
        if text not in self._notes:
            self._notes.append(text)
            self._console.print(escape(text), soft_wrap=True)

    def update(self, run: RunState) -> None:
        """Show the run's state."""
        self._run = run
        if self._live is None:
            self._print_changes(run)

    def __rich__(self) -> Table:
        """Return what is on the terminal now."""
        grid = Table.grid()
        if self._run is None:
            grid.add_row(Spinner("dots", text=" submitting the controller"))
            return grid
        elapsed = time.time() - (self._run.created or self._began)
        grid.add_row(Spinner("dots", text=Text(f" {self._run.name}: {self._run.status}, {elapsed:.0f} s")))
        grid.add_row(step_table(self._run, now=time.time()))
        return grid

    def _print_changes(self, run: RunState) -> None:
        for name, status, pod, extra in [
            ("controller", run.status, run.pod, ""),
            *((step.name, step.status, step.pod, _times(step)) for step in run.all_steps),
        ]:
            place = f" (pod {pod})" if pod and status == run_records.RUNNING else ""  # known a moment after the start
            if self._seen.get(name, (run_records.PENDING, "")) != (status, place):
                mark, _ = STYLE[status]
                since = time.time() - (run.created or self._began)
                self._console.print(
                    f"{since:6.1f} s  {mark} {name}: {status}{place}{extra}", highlight=False, soft_wrap=True
                )
            self._seen[name] = (status, place)


def step_table(run: RunState, now: float | None = None) -> Table:
    """Return the steps as a table; with `now`, phases that have not ended are counted up to it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("step", min_width=18)
    table.add_column("status")
    for heading in ("queue wait", "start-up", "run"):
        table.add_column(heading, justify="right")
    table.add_column("task", style="dim")
    for step in run.all_steps:
        *outer, name = step.name.split(".")
        mark, style = STYLE[step.status]
        place = step.pod if step.status == run_records.RUNNING else ""  # kubectl logs -f takes it as long as it runs
        table.add_row(
            "  " * len(outer) + name,
            Text(f"{mark} {step.status}", style=style),
            *_cells(step, now),
            place or step.task_id or "",
            style=None,
        )
    return table


def _cells(step: StepState, now: float | None) -> list[str]:
    if step.cached:
        return ["", "", ""]
    waiting = step.queue_wait_s
    starting = step.startup_s
    running = step.run_s
    if now is not None and step.status == run_records.QUEUED and step.launched:
        waiting = max(0.0, now - step.launched)
    if now is not None and step.status == run_records.RUNNING and step.started and starting is None:
        running = max(0.0, now - step.started)
    return ["" if seconds is None else f"{seconds:.1f} s" for seconds in (waiting, starting, running)]


def _times(step: StepState) -> str:
    if step.status not in (run_records.COMPLETED, run_records.FAILED):
        before = step.earlier_attempts
        again = f"attempt {len(before) + 1}; the one before: {before[-1]}" if before else ""
        return f" ({step.reason or again})" if step.reason or again else ""
    parts = [
        f"{label} {seconds:.1f} s"
        for label, seconds in (("waited", step.queue_wait_s), ("start-up", step.startup_s), ("ran", step.run_s))
        if seconds is not None
    ]
    return f" ({', '.join(parts)})" if parts else ""
