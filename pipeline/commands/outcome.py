"""How a run ended, for a person: what it made, or which step failed and why. Prints; looks nothing up but consoles."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from clearml_access.errors import UserFacingError
from command_line import interrupts
from command_line.console import Console
from pipeline.commands.connection import Connection
from pipeline.errors import OutputFileError, RunError
from pipeline.graph.definitions import Definition

if TYPE_CHECKING:
    from clearml_access.run_records import RunState
    from pipeline.amazon_reviews.model.trained import TrainedModel
    from pipeline.runs.run import RunInterrupted

CONSOLE_LINES = 25

HandOver = Callable[["list[TrainedModel]", Callable[[str], None]], dict[str, Any]]
"""Takes the models of a run, and a function that is told what happens; returns what `--json` prints of it."""


def require_folder(report: Path) -> None:
    """Find out whether a report has a place to go to, before anything is asked of the server.

    Raises:
        OutputFileError: It has none.
    """
    folder = report.absolute().parent
    if report.is_dir() or (folder.exists() and not folder.is_dir()):
        what = f"{report} is a folder" if report.is_dir() else f"{folder} is not a folder"
        raise OutputFileError(
            f"the report cannot be written to {report}: {what}", hint="name a file in a folder: report.html"
        )
    if not folder.is_dir():
        raise OutputFileError(
            f"the report cannot be written to {report}: the folder {folder} does not exist",
            hint=f"mkdir -p {shlex.quote(str(folder))}, or name a file in another folder",
        )


def conclude(
    connection: Connection,
    state: RunState,
    console: Console,
    *,
    report: Path | None,
    definition: Definition | None,
    mode: str | None,
    tails: bool,
    again: str,
    as_json: bool,
    hand_over: HandOver | None = None,
) -> int:
    """Write the report of a run that has ended, say how it ended, and return the exit code.

    Args:
        connection: The server.
        state: The run.
        console: Where it is said.
        report: The file of the report, if one is wanted.
        definition: The pipeline, if it is one of this project.
        mode: How it was run, if that is known.
        tails: Whether to show the last lines of failed steps; not where they were printed already.
        again: What to do after a failure, with the command.
        as_json: Whether to print the JSON object.
        hand_over: What is done with the models of a run that completed.

    Raises:
        RunError: It did not complete; its document is the JSON object.
        UserFacingError: The models could not be handed over.
    """
    from clearml_access import run_records
    from pipeline.amazon_reviews.model.trained import models_of
    from pipeline.runs.run import datasets_of

    datasets = datasets_of(connection.server, state)
    models = models_of(connection.server, state)
    written = _write_report(connection, state, datasets, models, report, console, definition) if report else None
    document = run_records.as_json(
        state,
        mode=mode,
        outcome=state.outcome,
        datasets=datasets,
        report=str(written.resolve()) if written else None,
    )
    if definition is None or definition.parts:
        document |= {"models": [model.as_json() for model in models]}
    if state.outcome != run_records.COMPLETED:
        error = explain(connection, state, written, console, tails=tails, again=again)
        error.document = document
        raise error
    _summarise(connection, state, datasets, models, written, console)
    if hand_over is not None:
        try:
            document |= hand_over(models, lambda text: console.print(escape(text), soft_wrap=True))
        except UserFacingError as error:
            error.document = document
            raise
    if as_json:
        click.echo(json.dumps(document))
    return 0


def _write_report(
    connection: Connection,
    state: RunState,
    datasets: dict[str, str],
    models: list[TrainedModel],
    report: Path,
    console: Console,
    definition: Definition | None,
) -> Path | None:
    """Write the report and return its file; None, said on the console, if it cannot be written."""
    from pipeline.runs import report as page

    try:
        return page.write_report(connection.server, state, datasets, report, definition=definition, models=models)
    except OSError as error:  # a run that went well stays one without its report
        console.print(f"[red]The report cannot be written to {escape(str(report))}: {error.strerror}[/]")
        return None


def _summarise(
    connection: Connection,
    state: RunState,
    datasets: dict[str, str],
    models: list[TrainedModel],
    report: Path | None,
    console: Console,
) -> None:
    """Say what a run that completed has made."""
    cached = [step.name for step in state.all_steps if step.cached]
    if cached:
        console.print(f"Reused from an earlier run with the same code and inputs: {', '.join(cached)}", soft_wrap=True)
    if datasets:
        console.print(f"Dataset versions: {', '.join(datasets)}", soft_wrap=True)
    for model in models:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in model.metrics.items())
        state_of = " (published)" if model.published else ""
        console.print(f"[green]Model {escape(model.name)}[/]{state_of}: {numbers}", soft_wrap=True)
        console.print(f"  model: {model.page}", soft_wrap=True)
        console.print(f"  plots: {connection.server.task_page('*', model.task_id)}", soft_wrap=True)
    seconds = (state.completed or 0) - (state.created or 0)
    console.print(f"[green]Run {state.run_id} completed[/] in {seconds:.0f} s", soft_wrap=True)
    _addresses(connection, state, report, console)


def explain(
    connection: Connection, state: RunState, report: Path | None, console: Console, *, tails: bool, again: str
) -> RunError:
    """Say which steps failed, why, and (unless they are above) show the last lines that they printed.

    Args:
        connection: The server.
        state: The run.
        report: Its report, if there is one.
        console: Where that is said.
        tails: Whether the last lines are shown.
        again: The hint: what to do next.

    Returns:
        The command's error.
    """
    from clearml_access.causes import cause, help_for
    from clearml_access.own_lines import READ_LINES, last_own
    from pipeline.preflight import NO_PACKAGE

    parts = [(step.name, step.status, step.reason, step.task_id) for step in state.failed_steps]
    causes, helps = [], []
    for name, status, reason, task_id in parts or [("the controller", state.status, state.reason, state.run_id)]:
        try:
            read = connection.server.console(task_id, READ_LINES) if task_id else []
            lines = last_own(read, CONSOLE_LINES)
        except UserFacingError as error:
            lines = [f"(its console cannot be read: {error.message})"]
        why = cause(lines) or reason or "no reason given"
        helps.append(help_for(why))
        causes.append(f"{f'step {name}' if parts else name}: {why}")
        console.print(f"[bold red]{name} {status}[/]: {escape(why)}", soft_wrap=True)
        if not task_id:
            continue
        for line in lines if tails else []:
            console.print(f"    {escape(line)}", soft_wrap=True)
        console.print(f"Whole console: {connection.server.task_page(state.project, task_id)}", soft_wrap=True)
    _addresses(connection, state, report, console)
    others = f"; {len(causes) - 1} more failed, see above" if causes[1:] else ""
    if any(NO_PACKAGE in cause for cause in causes):
        again = (
            f"stop the plain agent that ran it; start workers that have this package: ./task workers-up; then {again}"
        )
    return RunError(f"run {state.run_id} {state.outcome}: {causes[0]}{others}", hint=helps[0] or again)


def _addresses(connection: Connection, state: RunState, report: Path | None, console: Console) -> None:
    console.print(f"On the server: {connection.server.task_page(state.project, state.run_id)}", soft_wrap=True)
    if report:
        console.print(f"Report: {report.resolve()}", soft_wrap=True)
    if connection.machine is not None:
        console.print(f"The server stays up: {connection.machine.web} (stop it: ./task server-down)", soft_wrap=True)


def say_interrupted(connection: Connection, interrupted: RunInterrupted, console: Console, *, as_json: bool) -> int:
    """Say what happened to a run that was interrupted; return the exit code."""
    if interrupted.goes_on:
        console.print(f"Interrupted. Run {interrupted.run_id} continues on its agents:", soft_wrap=True)
        console.print(f"  look:  {connection.server.task_page('*', str(interrupted.run_id))}", soft_wrap=True)
        console.print(f"  abort: .venv/bin/python -m pipeline abort {interrupted.run_id}", soft_wrap=True)
    elif interrupted.run_id:
        console.print(f"Interrupted. Run {interrupted.run_id} was aborted, and its unfinished results were removed.")
    else:
        console.print("Interrupted before anything was started.")
    return end_interrupted(as_json=as_json, run_id=interrupted.run_id)


def end_interrupted(*, as_json: bool, **subject: str | None) -> int:
    """Return the exit code of a command that was interrupted; print its JSON object, if that is asked for.

    Args:
        as_json: Whether `--json` is among the arguments.
        subject: What it was about: `run_id` or `task_id`.
    """
    code = interrupts.exit_code()
    if as_json:
        click.echo(json.dumps({"status": "interrupted", **subject, "exit_code": code}))
    return code
