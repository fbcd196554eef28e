"""The options of `run` and `run-full`: those of a run (`pipeline.run_options`), and those of the command itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from command_line.options import AnyNumber, FilePath, TaskId, as_json
from pipeline.errors import UsageError
from pipeline.graph.definitions import Definition
from pipeline.graph.parameters import help_text
from pipeline.run_options import Option, RunOptions
from pipeline.settings import DEFAULT_TIMEOUT_S

Command = Callable[..., int]

_OPTIONS = (
    click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated."),
    click.option(
        "--from-failed",
        is_flag=False,
        flag_value="",
        type=TaskId(or_none=True),
        metavar="[RUN_ID]",
        help="Run the missing steps of a run that failed or was aborted, with its parameters, shards and options; "
        "reuse its completed steps.  [default without RUN_ID: the last such run that no later run has completed]",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=AnyNumber(),
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        metavar="SECONDS",
        help="Time limit of the whole run, with the waits in queues; then it is aborted.",
    ),
    click.option(
        "--follow",
        is_flag=True,
        help="Print what the controller and all steps write while they run, without the lines of agents and libraries.",
    ),
    click.option("--raw", is_flag=True, help="With --follow: print all lines of the consoles."),
    click.option("--dry-run", is_flag=True, help="Print the graph and what would run where; change nothing."),
    click.option(
        "--report",
        type=FilePath(),
        default=Path("report.html"),
        show_default=True,
        metavar="FILE",
        help="File of the report, a page that needs no network.",
    ),
    as_json,
)


def epilog_of(definition: Definition) -> str:
    """Return what `--help` says of a pipeline itself: its steps and its parameters."""
    steps = "\n".join(f"  {step}" for step in definition.work_steps)
    return f"\b\nSteps (--step-queue, --step-image, --step-retries):\n{steps}\n\n{help_text(definition.parameters)}"


def run_options(function: Command) -> Command:
    """Give a command the options of every run; it hands them on to `start`."""
    told = [_click_option(option) for option in RunOptions.declared() if option.flag]
    decorators: tuple[Callable[[Command], Command], ...] = (*told, *_OPTIONS)
    for add in reversed(decorators):
        function = add(function)
    return function


def _click_option(option: Option) -> Callable[[Command], Command]:
    """Return an option of a run as click has it: `None`, or nothing, where it is not given."""
    facts: dict[str, Any] = {"type": option.type, "metavar": option.metavar}
    shown = option.shown_default
    if option.per_step:
        facts |= {"type": str, "multiple": True}
    elif option.type is bool:
        facts = {"is_flag": True, "flag_value": not option.default, "default": None}
    else:
        shown = shown or str(option.default)
    if option.type is int and not option.per_step:
        shown += f"; {option.least} to {option.most}"
    text = option.help + (f"  [default: {shown}]" if shown else "")
    add: Callable[[Command], Command] = click.option(option.flag, option.name, help=text, **facts)
    return add


def refuse_changes(assignments: tuple[str, ...], told: Mapping[str, Any]) -> None:
    """Refuse what would make a run that continues a failed one another run.

    Args:
        assignments: What `--set` says.
        told: The options of a run, as the command line has them.

    Raises:
        UsageError: One of them was given.
    """
    refused = ["--set"] if assignments else []
    refused += [
        option.flag
        for option in RunOptions.declared()
        if option.kept_by_rerun and told.get(option.name) not in (None, ())
    ]
    if refused:
        raise UsageError(
            f"--from-failed keeps the settings of that run: {', '.join(refused)} cannot be changed",
            hint=f"leave {' and '.join(refused)} out, or leave --from-failed out for a new run",
        )
