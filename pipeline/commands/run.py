"""`python -m pipeline run|abort`: the pipeline from the command line. Prints; the work is in `pipeline.run`."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.markup import escape

from pipeline.commands.connection import Connection, connect
from pipeline.commands.dataset import SAMPLE_BATCH_ROWS, SAMPLE_FILE, Bars, fetch_sample
from pipeline.definitions import DATA_PREPARE, Definition
from pipeline.errors import PipelineError, UsageError
from pipeline.parameters import help_text
from pipeline.settings import (
    DEFAULT_TIMEOUT_S,
    IN_PROCESS,
    MODES,
    QUEUE,
    Settings,
    queue_of,
)
from pipeline.sharding import MOST_SHARDS, NO_LIMIT, RETRIES, value_of

if TYPE_CHECKING:
    from pipeline.preflight import Plan
    from pipeline.run import RunInterrupted
    from pipeline.runs import RunState
    from pipeline.trained import TrainedModel

INTERRUPTED = 130
FAILED = 40
CONSOLE_LINES = 25


_OPTIONS = (
    click.option(
        "--mode",
        default=QUEUE,
        show_default=True,
        metavar="MODE",
        help="Where it runs. " + "; ".join(f"{mode}: {text}" for mode, text in MODES.items()) + ".",
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
        help="Have at most M shards in queues or running at once  [default: as many as there are workers; in process, "
        "as many as cores]",
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
        help="Run again what is missing of a run that failed or was aborted, with its parameters, shards and options; "
        "completed steps are reused  [default: the last such run]",
    ),
    click.option("--queue", help="Queue of the steps  [default: the queue in helm/values-agent.yaml]"),
    click.option(
        "--controllers-queue", help="Queue of the controller  [default: services if it is served, else --queue]"
    ),
    click.option(
        "--step-queue", "step_queues", multiple=True, metavar="STEP=QUEUE", help="A step's own queue, its shards' too."
    ),
    click.option(
        "--step-image",
        "step_images",
        multiple=True,
        metavar="STEP=IMAGE",
        help="A step's own container image, its shards' too.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        help="Seconds for the whole run, waits in queues included; then it is aborted.",
    ),
    click.option("--follow", is_flag=True, help="Print the consoles of the controller and of all steps meanwhile."),
    click.option("--dry-run", is_flag=True, help="Print the graph and what would run where; touch nothing."),
    click.option("--report", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout."),
)


def run_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of every run; it hands them on to `start`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(epilog=help_text(DATA_PREPARE.parameters))
@run_options
def run(**options: Any) -> int:
    """Run the DataPrepare pipeline: split a dataset version, preprocess its texts, write a report.

    Uses the configured ClearML server; without one it starts its own with agents on this machine, and uploads a sample
    of real reviews. Exit code 0 only if every step completed.
    """
    return start(DATA_PREPARE, **options)


def start(
    definition: Definition,
    *,
    mode: str,
    assignments: tuple[str, ...],
    no_cache: bool,
    shards: int,
    max_parallel: int,
    retries: int,
    from_failed: str | None,
    queue: str | None,
    controllers_queue: str | None,
    step_queues: tuple[str, ...],
    step_images: tuple[str, ...],
    timeout_s: float,
    follow: bool,
    dry_run: bool,
    report: Path,
    as_json: bool,
) -> int:
    """Run a pipeline as told by the command line; return the exit code."""
    # With --json everything for people goes to stderr, so that stdout can be piped.
    console = Console(stderr=as_json, highlight=False)
    settings_for: Callable[[Connection], Settings]
    if from_failed is None:
        settings = Settings.from_environ(
            os.environ,
            definition=definition,
            queue=queue,
            controllers_queue=controllers_queue,
            mode=mode,
            assignments=assignments,
            use_cache=not no_cache,
            shards=shards,
            max_parallel=max_parallel,
            retries=retries,
            step_queues=step_queues,
            step_images=step_images,
            timeout_s=timeout_s,
        )
        if dry_run:
            return _dry_run(settings, console, as_json=as_json)
        settings_for = lambda _: settings  # noqa: E731
    else:
        changes = _changes(mode=mode, max_parallel=max_parallel, retries=retries)
        changes |= {"queue": queue, "controllers_queue": controllers_queue, "step_queues": step_queues}
        settings_for = functools.partial(
            _from_failed, definition, from_failed, console, timeout_s=timeout_s, changes=changes
        )
        if dry_run:
            return _dry_run(settings_for(connect(lambda _: None)), console, as_json=as_json)
    _interruptible()
    try:
        return _checked_run(settings_for, console, follow=follow, report=report, as_json=as_json)
    except PipelineError as error:
        if as_json:  # scripts get their line in any case
            document: dict[str, object] = {
                "status": "error",
                "run_id": None,
                "mode": mode,
                "steps": [],
                "datasets": {},
                "report": None,
            }
            click.echo(json.dumps({**document, "error": error.message, "hint": error.hint}))
        raise


def _changes(**options: Any) -> dict[str, Any]:
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


_FIXED = {"assignments": "--set", "shards": "--shards", "no_cache": "--no-cache", "step_images": "--step-image"}


def _from_failed(
    definition: Definition,
    run_id: str,
    console: Console,
    connection: Connection,
    *,
    timeout_s: float,
    changes: Mapping[str, Any],
) -> Settings:
    """Return the settings of a run that goes on from a failure, and say what that means."""
    from pipeline import reruns

    rerun = reruns.find(connection.server, definition, run_id or None)
    settings = rerun.settings(os.environ, definition, timeout_s=timeout_s, **changes)
    console.print(f"Again, from run {rerun.run.run_id} ({rerun.run.name}, {rerun.run.outcome})", soft_wrap=True)
    if not rerun.same_code:
        console.print("  the code has changed since: no step of that run can be reused")
    for label, steps in (("reused", rerun.reused), ("run", rerun.missing)):
        console.print(f"  {label}: {', '.join(steps) or 'nothing'}", soft_wrap=True, markup=False)
    return settings


def _checked_run(
    settings_for: Callable[[Connection], Settings], console: Console, *, follow: bool, report: Path, as_json: bool
) -> int:
    """Connect, check, run, report."""

    def say(text: str) -> None:
        console.print(escape(text), soft_wrap=True)

    began = time.monotonic()
    connection = connect(say)
    from pipeline.preflight import preflight

    settings = settings_for(connection)
    plan = preflight(connection.server, settings, prepare=lambda: _sample_for(connection, settings, say))
    for warning in plan.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}", soft_wrap=True)
    return _run(connection, plan, console, began=began, follow=follow, report=report, as_json=as_json)


def _interruptible() -> None:
    """Let SIGTERM end the run as Ctrl-C does: in good order."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _run(
    connection: Connection, plan: Plan, console: Console, *, began: float, follow: bool, report: Path, as_json: bool
) -> int:
    from pipeline import run as use_case
    from pipeline.follow import Follower
    from pipeline.progress import Progress
    from pipeline.runs import COMPLETED
    from pipeline.runs import as_json as as_document
    from pipeline.trained import models_of

    server = connection.server
    try:
        with contextlib.ExitStack() as stack:
            observer: use_case.Observer = stack.enter_context(Progress(console))
            if follow:
                observer = stack.enter_context(Follower(server, console, observer))
            state = use_case.run(server, plan, observer, os.environ, began=began)
    except use_case.RunInterrupted as interrupted:
        return _interrupted(connection, interrupted, console)
    datasets = use_case.datasets_of(server, state)
    models = models_of(server, state)
    written = _write_report(connection, state, datasets, models, report, console, plan.settings.definition)
    good = state.outcome == COMPLETED
    if good:
        _summarise(connection, state, datasets, models, written, console)
    else:
        _explain(connection, state, written, console, tails=not follow)
    if as_json:
        document = as_document(
            state,
            mode=plan.settings.mode,
            outcome=state.outcome,
            datasets=datasets,
            report=str(written.resolve()) if written else None,
        )
        document |= {"models": [model.as_json() for model in models]} if plan.settings.definition.parts else {}
        click.echo(json.dumps(document))
    return 0 if good else FAILED


def _write_report(
    connection: Connection,
    state: RunState,
    datasets: dict[str, str],
    models: list[TrainedModel],
    report: Path,
    console: Console,
    definition: Definition,
) -> Path | None:
    from pipeline.report import write_report

    try:
        return write_report(connection.server, state, datasets, report, definition=definition, models=models)
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
    cached = [step.name for step in state.all_steps if step.cached]
    if cached:
        console.print(f"Reused from an earlier run with the same code and inputs: {', '.join(cached)}")
    console.print(f"Dataset versions: {', '.join(datasets)}")
    for model in models:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in model.metrics.items())
        state_of = " (published)" if model.published else ""
        console.print(f"[green]Model {escape(model.name)}[/]{state_of}: {numbers}", soft_wrap=True)
        console.print(f"  model: {model.page}", soft_wrap=True)
        console.print(f"  plots: {connection.server.task_page('*', model.task_id)}", soft_wrap=True)
    seconds = (state.completed or 0) - (state.created or 0)
    console.print(f"[green]Run {state.run_id} completed[/] in {seconds:.0f} s", soft_wrap=True)
    _addresses(connection, state, report, console)


def _explain(connection: Connection, state: RunState, report: Path | None, console: Console, *, tails: bool) -> None:
    """Say which step failed, why, and (unless they stand above) show the last lines that it printed."""
    from pipeline.runs import cause

    parts = [(step.name, step.status, step.reason, step.task_id) for step in state.failed_steps]
    for name, status, reason, task_id in parts or [("the controller", state.status, state.reason, state.run_id)]:
        try:
            lines = connection.server.console(task_id, CONSOLE_LINES) if task_id else []
        except PipelineError as error:
            lines = [f"(its console cannot be read: {error.message})"]
        why = cause(lines) or reason or "no reason given"
        console.print(f"[bold red]{name} {status}[/]: {escape(why)}", soft_wrap=True)
        if not task_id:
            continue
        for line in lines if tails else []:
            console.print(f"    {escape(line)}", soft_wrap=True)
        console.print(f"All of it: {connection.server.task_page(state.project, task_id)}", soft_wrap=True)
    console.print(f"[bold red]Run {state.run_id} {state.outcome}[/]", soft_wrap=True)
    _addresses(connection, state, report, console)


def _addresses(connection: Connection, state: RunState, report: Path | None, console: Console) -> None:
    console.print(f"On the server: {connection.server.task_page(state.project, state.run_id)}", soft_wrap=True)
    if report:
        console.print(f"Report: {report.resolve()}", soft_wrap=True)
    if connection.machine is not None:
        console.print(f"The server stays up: {connection.machine.web} (stop it: task server-down)", soft_wrap=True)


def _interrupted(connection: Connection, interrupted: RunInterrupted, console: Console) -> int:
    if interrupted.goes_on:
        console.print(f"Interrupted. Run {interrupted.run_id} goes on by its agents:", soft_wrap=True)
        console.print(f"  look:  {connection.server.task_page('*', str(interrupted.run_id))}", soft_wrap=True)
        console.print(f"  abort: python -m pipeline abort {interrupted.run_id}", soft_wrap=True)
    elif interrupted.run_id:
        console.print(f"Interrupted. Run {interrupted.run_id} was aborted, and what it had begun removed.")
    else:
        console.print("Interrupted before anything was started.")
    return INTERRUPTED


def _sample_for(connection: Connection, settings: Settings, say: Callable[[str], None]) -> None:
    """Upload the sample if the run wants the default dataset, on a server of ours that does not have it."""
    wanted = {name: settings.parameters[name] for name in ("dataset_name", "dataset_project")}
    defaults = DATA_PREPARE.defaults
    project, name = str(defaults["dataset_project"]), str(defaults["dataset_name"])
    if not connection.is_ours or wanted != {"dataset_name": name, "dataset_project": project}:
        return
    versions = connection.server.dataset_versions(project, name)
    if any(version.final and version.version == defaults["dataset_version"] for version in versions):
        return
    if any(version.facts.get("Upload/source", SAMPLE_FILE) != SAMPLE_FILE for version in versions):
        return  # somebody's own dataset; it has its own versions
    from pipeline.reviews import ReviewFile
    from pipeline.upload import upload

    sample = fetch_sample(connection.settings, say)
    reviews = ReviewFile(sample, quarantine=sample.with_name("quarantine.jsonl"))
    with Bars(say) as bars:
        result = upload(connection.server, reviews, bars, project=project, name=name, batch_rows=SAMPLE_BATCH_ROWS)
    say(f"Uploaded {result.rows:,} reviews as {name}, versions {', '.join(result.made)}")


def _dry_run(settings: Settings, console: Console, *, as_json: bool) -> int:
    from pipeline.settings import step_requirements

    steps = [
        {
            "name": step,
            "parents": list(parents),
            "queue": None
            if settings.mode == IN_PROCESS or step in settings.definition.parts
            else queue_of(settings, step),
            "image": value_of(settings.step_images, step) or None,
        }
        for step, parents in settings.definition.whole_graph.items()
    ]
    if as_json:
        document = {
            "pipeline": settings.definition.name,
            "mode": settings.mode,
            "parameters": dict(settings.parameters),
            "cache": settings.use_cache,
            "shards": settings.shards,
            "max_parallel": settings.max_parallel,
            "retries": settings.retries,
            "from_run": settings.from_run or None,
            "steps": steps,
            "requirements": step_requirements(),
        }
        click.echo(json.dumps(document))
        return 0
    console.print(f"{settings.definition.name}, mode {settings.mode}: {MODES[settings.mode]}")
    for step in steps:
        behind = f" after {', '.join(step['parents'])}" if step["parents"] else ""
        where = f"queue {step['queue']}" if step["queue"] else "a process of this machine"
        if step["name"] in settings.definition.parts and settings.mode != IN_PROCESS:
            where = "the controllers' queue, or beside the controller of the whole"
        image = f", image {step['image']}" if step["image"] else ""
        console.print(f"  {step['name']}{behind}  [{where}{image}]", markup=False)
    console.print("Parameters")
    for name, value in settings.parameters.items():
        console.print(f"  {name} = {value}", markup=False)
    console.print(
        f"Steps that were run before with the same inputs are {'reused' if settings.use_cache else 'run anew'}"
    )
    console.print(f"Requirements of a step: {', '.join(step_requirements())}", soft_wrap=True)
    console.print("Nothing was enqueued (--dry-run).")
    return 0


@click.command()
@click.argument("run_id")
def abort(run_id: str) -> int:
    """Stop run RUN_ID: its controller, its steps, and what they had begun."""
    connection = connect(lambda text: click.echo(text))
    from pipeline import run as use_case

    state = use_case.fetch(connection.server, run_id)
    if state.ended:
        click.echo(f"Run {run_id} has ended already: {state.outcome}")
        return 0
    state = use_case.abort(connection.server, run_id)
    click.echo(f"Run {run_id} was aborted")
    return 0
