"""`python -m pipeline watch|logs|report|rerun`: runs that exist, of any pipeline on any ClearML server.

It prints; the work is in `pipeline.runs.states`, `pipeline.runs.copies` and what shows a run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from command_line.console import Console
from command_line.options import FilePath, Number, as_json, examples
from pipeline.commands.connection import Connection, connect
from pipeline.commands.outcome import conclude, end_interrupted, require_folder
from pipeline.errors import OutputFileError, RunTimeoutError, SettingsError

if TYPE_CHECKING:
    from clearml_access.run_records import RunState

LOOK_AT_QUEUES_EVERY_S = 5.0

run_argument = click.argument("run", metavar="RUN")
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    default=float("inf"),
    metavar="SECONDS",
    help="Stop watching after this time; the run continues.  [default: no limit]",
)
raw_option = click.option("--raw", is_flag=True, help="Print all lines, also those of agents and libraries.")


@dataclass(frozen=True)
class Watching:
    """How a run is shown while it continues, and what is left of it at its end."""

    follow: bool
    raw: bool
    timeout_s: float
    report: Path | None
    as_json: bool

    def check(self) -> None:
        """Refuse a report that has no folder to go to.

        Raises:
            OutputFileError: It has none.
        """
        if self.report is not None:
            require_folder(self.report)

    def console(self) -> Console:
        """Return where a person reads; stdout is for the JSON document, where that is asked for."""
        return Console(stderr=self.as_json, highlight=False)


def watching_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of watching to a command, which takes them as one argument `watching`."""

    @click.option("--follow", is_flag=True, help="Print what the controller and all steps write, too.")
    @raw_option
    @timeout_option
    @click.option("--report", type=FilePath(), metavar="FILE", help="Write the report of the run, too.")
    @as_json
    @functools.wraps(command)
    def with_watching(
        *args: Any, follow: bool, raw: bool, timeout_s: float, report: Path | None, as_json: bool, **options: Any
    ) -> int:
        return command(*args, watching=Watching(follow or raw, raw, timeout_s, report, as_json), **options)

    return with_watching


@click.command()
@run_argument
@watching_options
@examples("python -m pipeline watch DataPrepare", "python -m pipeline watch 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --follow")
def watch(run: str, *, watching: Watching) -> int:
    """Show a run until it ends: its steps, how long they wait, and why one failed.

    RUN is an id, or the name of a pipeline for its newest run. The run may be anybody's: it needs nothing but a
    controller on the configured ClearML server. The exit code is 0 only if every step completes. Ctrl-C stops the
    watching, not the run.
    """
    console = watching.console()
    watching.check()
    connection = _connect(console)
    from pipeline.runs.states import find

    return _watch(connection, find(connection.server, run), console, watching)


@click.command()
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Follow the consoles until the run ends.")
@raw_option
@timeout_option
@examples("python -m pipeline logs DataPrepare", "python -m pipeline logs 0a1b2c3d4e5f60718293a4b5c6d7e8f9 -f --raw")
def logs(run: str, *, follow: bool, raw: bool, timeout_s: float) -> int:
    """Print the consoles of a run: the controller's and every step's, each line after its step's name.

    RUN is an id, or the name of a pipeline for its newest run.
    """
    console = Console(highlight=False)
    connection = _connect(console)
    from pipeline.runs.follow import Follower
    from pipeline.runs.states import fetch, find, watched

    run_id = find(connection.server, run)
    try:
        with Follower(connection.server, console, _Quiet(console), raw=raw) as follower:
            if not follow:
                follower.update(fetch(connection.server, run_id))
                return 0
            deadline = time.monotonic() + timeout_s
            for state in watched(connection.server, run_id, follower, deadline):
                if state.ended:
                    return 0
                _refuse_late(state, deadline, timeout_s)
    except KeyboardInterrupt:
        return _say_interrupted(console, run_id, as_json=False)
    raise AssertionError("a run is watched without end")


@click.command()
@run_argument
@click.argument("file", type=FilePath(), default=Path("report.html"))
@examples(
    "python -m pipeline report DataPrepare", "python -m pipeline report 0a1b2c3d4e5f60718293a4b5c6d7e8f9 run.html"
)
def report(run: str, file: Path) -> int:
    """Write the report of a run to FILE (report.html): one page that needs no server and no network.

    RUN is an id, or the name of a pipeline for its newest run.
    """
    console = Console(highlight=False)
    require_folder(file)
    connection = _connect(console)
    from pipeline.amazon_reviews.model.trained import models_of
    from pipeline.runs.report import write_report
    from pipeline.runs.run import datasets_of
    from pipeline.runs.states import fetch, find

    state = fetch(connection.server, find(connection.server, run))
    models = models_of(connection.server, state)
    try:
        write_report(
            connection.server, state, datasets_of(connection.server, state), file, definition=None, models=models
        )
    except OSError as error:
        raise OutputFileError(
            f"the report cannot be written to {file}: {error.strerror}",
            hint="name a file in a folder that you may write to",
        ) from error
    console.print(
        f"Report of run {state.run_id} ({escape(state.name)}, {state.outcome}): {file.resolve()}", soft_wrap=True
    )
    return 0


@click.command()
@run_argument
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a parameter of the pipeline, or with SECTION/NAME one of another section; may be repeated.",
)
@click.option("--from-failed", is_flag=True, help="Reuse the steps that the run completed.")
@click.option(
    "--from-step", default="", metavar="STEP", help="Reuse the steps that do not follow STEP; run the others."
)
@click.option("--queue", default="", metavar="NAME", help="Queue of the controller.  [default: that of the run]")
@click.option("--no-wait", is_flag=True, help="Put the new run into its queue, print its id, and end.")
@watching_options
@examples(
    "python -m pipeline rerun my-pipeline --set rows=1000",
    "python -m pipeline rerun 0a1b2c3d4e5f60718293a4b5c6d7e8f9 --from-failed --no-wait",
)
def rerun(
    run: str,
    *,
    assignments: tuple[str, ...],
    from_failed: bool,
    from_step: str,
    queue: str,
    no_wait: bool,
    watching: Watching,
) -> int:
    """Repeat a run of any pipeline: copy its controller, change parameters, put the copy into the run's queue.

    RUN is an id, or the name of a pipeline for its newest run. Which steps come from the cache is what its script says
    (`cache_executed_step`). --from-failed and --from-step work for the pipelines of this project, whose controllers
    know them.
    """
    console = watching.console()
    watching.check()
    changes = dict(_assignment(text) for text in assignments)
    connection = _connect(console)
    from pipeline.runs.copies import run_again
    from pipeline.runs.states import find

    source = find(connection.server, run)
    copy = run_again(
        connection.server, source, changes=changes, queue=queue, from_failed=from_failed, from_step=from_step
    )
    console.print(f"Run {copy} is a copy of run {source}", soft_wrap=True)
    if no_wait:
        console.print(f"watch it: .venv/bin/python -m pipeline watch {copy}", soft_wrap=True)
        if watching.as_json:
            click.echo(json.dumps({"status": "queued", "run_id": copy, "copy_of": source}))
        return 0
    return _watch(connection, copy, console, watching)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise SettingsError(f"--set {text!r} is not of the form NAME=VALUE", hint="for example: --set rows=1000")
    return name, value


def _connect(console: Console) -> Connection:
    return connect(lambda text: console.print(escape(text), soft_wrap=True))


class _Quiet:
    """An observer for consoles alone: it shows no states."""

    def __init__(self, console: Console) -> None:
        self.note: Callable[[str], None] = lambda text: console.print(escape(text), soft_wrap=True)

    def update(self, run: RunState) -> None:
        """Show nothing."""


def _watch(connection: Connection, run_id: str, console: Console, watching: Watching) -> int:
    """Show a run until it ends; say how it ended; return the exit code."""
    from pipeline.preflight import unserved
    from pipeline.runs.follow import Follower
    from pipeline.runs.progress import Progress
    from pipeline.runs.states import Observer, watched

    deadline = time.monotonic() + watching.timeout_s
    try:
        with contextlib.ExitStack() as stack:
            observer: Observer = stack.enter_context(Progress(console))
            if watching.follow:
                observer = stack.enter_context(Follower(connection.server, console, observer, raw=watching.raw))
            look_at_queues = time.monotonic() + LOOK_AT_QUEUES_EVERY_S
            for state in watched(connection.server, run_id, observer, deadline):
                if state.ended:
                    break
                if time.monotonic() > look_at_queues:
                    look_at_queues = time.monotonic() + LOOK_AT_QUEUES_EVERY_S
                    for text in unserved(connection.server, state):
                        observer.note(text)
                _refuse_late(state, deadline, watching.timeout_s)
    except KeyboardInterrupt:
        return _say_interrupted(console, run_id, as_json=watching.as_json)
    return conclude(
        connection,
        state,
        console,
        report=watching.report,
        definition=None,
        mode=None,
        tails=not watching.follow,
        again=f"run it again: .venv/bin/python -m pipeline rerun {run_id}",
        as_json=watching.as_json,
    )


def _say_interrupted(console: Console, run_id: str, *, as_json: bool) -> int:
    """Say that a run is not watched any more, and continues; return the exit code."""
    console.print(
        f"Interrupted. Run {run_id} continues; abort it: .venv/bin/python -m pipeline abort {run_id}", soft_wrap=True
    )
    return end_interrupted(as_json=as_json, run_id=run_id)


def _refuse_late(state: RunState, deadline: float, timeout_s: float) -> None:
    """Raise RunTimeoutError if the deadline has passed."""
    if time.monotonic() > deadline:
        raise RunTimeoutError(
            f"run {state.run_id} has not ended after {timeout_s:g} s; it continues",
            hint=f"watch it: .venv/bin/python -m pipeline watch {state.run_id}",
        )
