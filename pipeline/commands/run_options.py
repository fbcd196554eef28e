"""The options of every run: `run` and `run-full` have the same. They must not do anything here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pipeline.errors import UsageError
from pipeline.graph.definitions import Definition
from pipeline.graph.parameters import help_text
from pipeline.graph.sharding import MOST_SHARDS, NO_LIMIT, RETRIES
from pipeline.settings import DEFAULT_TIMEOUT_S, MODES, QUEUE

_OPTIONS = (
    click.option(
        "--mode",
        default=QUEUE,
        show_default=True,
        metavar="MODE",
        help="Where it runs; the results are the same. "
        + "; ".join(f"{mode}: {text}" for mode, text in MODES.items())
        + ".",
    ),
    click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated."),
    click.option("--no-cache", is_flag=True, help="Run every step, even if the same step has been run before."),
    click.option(
        "--shards",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help=f"Split the preprocessing of each set into N steps (1 to {MOST_SHARDS}) on the queue, and join them.",
    ),
    click.option(
        "--max-parallel",
        type=int,
        default=NO_LIMIT,
        metavar="M",
        help="Have at most M shards in queues or running at once  [default: all in the queue, for any worker that is "
        "free; in process, as many as cores]",
    ),
    click.option(
        "--retries",
        type=int,
        default=RETRIES,
        show_default=True,
        metavar="R",
        help="Run a shard that failed again, alone, up to R times; not where it refuses its data. "
        "(Any step whose worker is lost is run again once, whatever R.)",
    ),
    click.option(
        "--from-failed",
        is_flag=False,
        flag_value="",
        metavar="[RUN_ID]",
        help="Run what is missing of a run that failed or was aborted, with its parameters, shards and options; its "
        "completed steps are reused  [without RUN_ID: the last such run that no later run has completed]",
    ),
    click.option("--queue", metavar="QUEUE", help="Queue of the steps  [default: the queue in helm/values-agent.yaml]"),
    click.option(
        "--controllers-queue",
        metavar="QUEUE",
        help="Queue of the controller  [default: services if it is served, else --queue]",
    ),
    click.option(
        "--step-queue",
        "step_queues",
        multiple=True,
        metavar="STEP=QUEUE",
        help="A step's own queue, its shards' too; may be repeated.",
    ),
    click.option(
        "--step-image",
        "step_images",
        multiple=True,
        metavar="STEP=IMAGE",
        help="A step's own container image, its shards' too; may be repeated.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        metavar="SECONDS",
        help="Time for the whole run, waits in queues included; then it is aborted.",
    ),
    click.option("--follow", is_flag=True, help="Print the consoles of the controller and of all steps meanwhile."),
    click.option("--dry-run", is_flag=True, help="Print the graph and what would run where; touch nothing."),
    click.option(
        "--report",
        type=click.Path(path_type=Path),
        default=Path("report.html"),
        show_default=True,
        help="File for the report, a page that needs no network.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout."),
)


def epilog_of(definition: Definition) -> str:
    """Return what `--help` says of a pipeline itself: its steps and its parameters."""
    steps = "\n".join(f"  {step}" for step in definition.work_steps)
    return f"\b\nSteps (--step-queue, --step-image):\n{steps}\n\n{help_text(definition.parameters)}"


def run_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of every run; it hands them on to `start`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_FIXED = {"assignments": "--set", "shards": "--shards", "no_cache": "--no-cache", "step_images": "--step-image"}
"""What a run that goes on from a failure keeps as it was."""


def given_options(**options: Any) -> dict[str, Any]:
    """Return those options that were given; a run that goes on from its failure keeps the others as they were.

    Raises:
        UsageError: One was given that would make it another run.
    """
    source = click.get_current_context().get_parameter_source
    given = {name for name in (*options, *_FIXED) if source(name) not in (None, ParameterSource.DEFAULT)}
    refused = [option for name, option in _FIXED.items() if name in given]
    if refused:
        raise UsageError(
            f"--from-failed goes on with what that run was told: {', '.join(refused)} cannot be changed",
            hint=f"leave {' and '.join(refused)} out, or leave --from-failed out for a new run",
        )
    return {name: value for name, value in options.items() if name in given}
