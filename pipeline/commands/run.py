"""`python -m pipeline run`: a pipeline from the command line. Prints; the work is in `pipeline.runs.run`."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from clearml_access.errors import UserFacingError
from command_line.console import Console
from command_line.options import examples
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.commands.connection import Connection, connect
from pipeline.commands.dataset import SAMPLE_BATCH_ROWS, SAMPLE_FILE, Bars, fetch_sample
from pipeline.commands.dry_run import dry_run_of
from pipeline.commands.outcome import HandOver, conclude, require_folder, say_interrupted
from pipeline.commands.run_options import epilog_of, refuse_changes, run_options
from pipeline.graph.definitions import Definition
from pipeline.run_options import QUEUE
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.preflight import CheckedRun


@click.command(epilog=epilog_of(DATA_PREPARE))
@run_options
@examples(
    "./task run-pipeline",
    "python -m pipeline run --set dataset_version=1.1 --follow",
    "python -m pipeline run --mode in-process --shards 2",
    "python -m pipeline run --from-failed",
)
def run(**options: Any) -> int:
    """Run the DataPrepare pipeline: split a dataset version, preprocess its texts, write a report.

    It runs on the configured ClearML server. Without one, the command starts a server and agents on this machine, and
    uploads a sample of real reviews. The exit code is 0 only if every step completes.
    """
    return start(DATA_PREPARE, **options)


def start(
    definition: Definition,
    *,
    assignments: tuple[str, ...],
    from_failed: str | None,
    timeout_s: float,
    follow: bool,
    raw: bool,
    dry_run: bool,
    report: Path,
    as_json: bool,
    hand_over: HandOver | None = None,
    **told: Any,
) -> int:
    """Run a pipeline as told by the command line, and hand its models over; return the exit code."""
    follow = follow or raw
    # With --json everything for people goes to stderr, so that stdout can be piped.
    console = Console(stderr=as_json, highlight=False)
    if not dry_run:
        require_folder(report)
    settings_for: Callable[[Connection], Settings]
    if from_failed is None:
        settings = Settings.of(
            definition=definition,
            assignments=assignments,
            timeout_s=timeout_s,
            **told,
        )
        if dry_run:
            return dry_run_of(settings, console, as_json=as_json)
        settings_for = lambda _: settings  # noqa: E731
    else:
        refuse_changes(assignments, told)
        settings_for = functools.partial(
            _from_failed, definition, from_failed, console, timeout_s=timeout_s, changes=told
        )
        if dry_run:
            return dry_run_of(settings_for(connect(lambda _: None)), console, as_json=as_json)
    try:
        return _checked_run(
            settings_for, console, follow=follow, raw=raw, report=report, as_json=as_json, hand_over=hand_over
        )
    except UserFacingError as error:
        # Scripts get the same fields in any case.
        error.document = {
            "status": "error",
            "run_id": None,
            "mode": told["mode"] or QUEUE,
            "steps": [],
            "datasets": {},
            "report": None,
            **error.document,
        }
        raise


def _from_failed(
    definition: Definition,
    run_id: str,
    console: Console,
    connection: Connection,
    *,
    timeout_s: float,
    changes: Mapping[str, Any],
) -> Settings:
    """Return the settings of a run that continues a failed one, and say what that means."""
    from pipeline.runs import reruns

    rerun = reruns.find(connection.server, definition, run_id or None)
    settings = rerun.settings(definition, timeout_s=timeout_s, changes=changes)
    console.print(f"Again, from run {rerun.run.run_id} ({rerun.run.name}, {rerun.run.outcome})", soft_wrap=True)
    if not rerun.same_code:
        console.print("  the code has changed since: no step of that run can be reused")
    for label, steps in (("reused", rerun.reused), ("run", rerun.missing)):
        console.print(f"  {label}: {', '.join(steps) or 'nothing'}", soft_wrap=True, markup=False)
    return settings


def _checked_run(
    settings_for: Callable[[Connection], Settings],
    console: Console,
    *,
    follow: bool,
    raw: bool,
    report: Path,
    as_json: bool,
    hand_over: HandOver | None,
) -> int:
    """Connect, check, run, report."""

    def say(text: str) -> None:
        console.print(escape(text), soft_wrap=True)

    began = time.monotonic()
    connection = connect(say)
    from pipeline.preflight import preflight

    settings = settings_for(connection)
    if settings.options.mode != QUEUE:
        connection.check_storage()
    checked = preflight(connection.server, settings, prepare=lambda: _sample_for(connection, settings, say))
    for warning in checked.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}", soft_wrap=True)
    return _run(
        connection,
        checked,
        console,
        began=began,
        follow=follow,
        raw=raw,
        report=report,
        as_json=as_json,
        hand_over=hand_over,
    )


def _run(
    connection: Connection,
    checked: CheckedRun,
    console: Console,
    *,
    began: float,
    follow: bool,
    raw: bool,
    report: Path,
    as_json: bool,
    hand_over: HandOver | None,
) -> int:
    from pipeline.runs import run as use_case
    from pipeline.runs.follow import Follower
    from pipeline.runs.progress import Progress
    from pipeline.runs.states import Observer

    server = connection.server
    try:
        with contextlib.ExitStack() as stack:
            observer: Observer = stack.enter_context(Progress(console))
            if follow:
                observer = stack.enter_context(Follower(server, console, observer, raw=raw))
            state = use_case.run(server, checked, observer, os.environ, began=began)
    except use_case.RunInterrupted as interrupted:
        if hand_over is not None:
            after = ": this command would have served it; when the run has ended: ./task serve-model"
            console.print(f"The model of this run is not served{after if interrupted.goes_on else ''}", soft_wrap=True)
        return say_interrupted(connection, interrupted, console, as_json=as_json)
    command = click.get_current_context().command_path
    return conclude(
        connection,
        state,
        console,
        report=report,
        definition=checked.settings.definition,
        mode=checked.settings.options.mode,
        tails=not follow,
        again=f"run its missing steps again: {command} --from-failed {state.run_id}",
        as_json=as_json,
        hand_over=hand_over,
    )


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
        return  # another dataset; it has its own versions
    from pipeline.amazon_reviews.reviews.review_files import ReviewFile
    from pipeline.amazon_reviews.upload import upload

    sample = fetch_sample(connection.settings, say)
    reviews = ReviewFile(sample, quarantine=sample.with_name("quarantine.jsonl"))
    with Bars(say) as bars:
        result = upload(connection.server, reviews, bars, project=project, name=name, batch_rows=SAMPLE_BATCH_ROWS)
    say(f"Uploaded {result.rows:,} reviews as {name}, versions {', '.join(result.made)}")
