"""`python -m pipeline dataset upload`: reviews as dataset versions. Prints; the work is in `pipeline.upload`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from pipeline.commands.connection import connect
from pipeline.commands.progress import progress_bar
from pipeline.definitions import DATA_PREPARE
from pipeline.errors import SettingsError

BATCH_ROWS = 25_000


@click.group()
def dataset() -> None:
    """Upload review datasets."""


@dataset.command()
@click.argument("source", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--name", default=DATA_PREPARE.defaults["dataset_name"], show_default=True, help="Name of the dataset.")
@click.option("--project", default=DATA_PREPARE.defaults["dataset_project"], show_default=True, help="Its project.")
@click.option("--batch-size", type=click.IntRange(1), default=BATCH_ROWS, show_default=True, help="Rows per version.")
@click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Share of bad rows above which nothing is uploaded.",
)
@click.option(
    "--quarantine",
    type=click.Path(path_type=Path),
    help="File for bad rows  [default: <CSV>.quarantine.jsonl in the current folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def upload(
    source: Path, name: str, project: str, batch_size: int, max_bad: float, quarantine: Path | None, as_json: bool
) -> None:
    """Upload CSV as a dataset: version 1.0 is empty, then each batch of rows is a child version of the one before.

    CSV has a header, or is the Kaggle file (no header: Polarity, Title, Review). Safe to stop and to run again: what
    is complete is recognised by its content and kept.
    """
    for label, value in (("--name", name), ("--project", project)):
        if any(len(part.strip()) < 3 for part in value.split("/")):
            raise SettingsError(f"{label} {value!r} is too short: ClearML wants 3 characters or more")
    from pipeline.reviews import ReviewFile

    reviews = ReviewFile(source, quarantine=quarantine or Path(f"{source.name}.quarantine.jsonl"), max_bad=max_bad)
    say = _say_on_stderr if as_json else click.echo
    connection = connect(say)
    from pipeline.upload import upload as upload_reviews

    with Bars(say) as bars:
        result = upload_reviews(connection.server, reviews, bars, project=project, name=name, batch_rows=batch_size)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "status": "completed",
                    "dataset": name,
                    "project": project,
                    "made": result.made,
                    "kept": result.kept,
                    "rows": result.rows,
                    "bad_rows": result.bad_rows,
                    "quarantine": str(result.quarantine) if result.quarantine else None,
                }
            )
        )
        return
    made = f"versions {_range(list(result.made))} uploaded" if result.made else "nothing to upload"
    kept = f", {_range(list(result.kept))} there already" if result.kept else ""
    click.echo(f"{name}: {made}{kept} ({result.rows:,} reviews)")
    if result.bad_rows:
        click.echo(f"{result.bad_rows:,} bad rows left out: {result.quarantine}", file=sys.stderr)
    click.echo(f"Look at it: {connection.server.web_url}/datasets")


class Bars:
    """Shows each part of an upload as a bar; tells notes in words."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stack = contextlib.ExitStack()
        self._show: Callable[[float], None] = lambda _: None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, text: str) -> None:
        """Show a new bar instead of the one before."""
        self._stack.close()
        self._show = self._stack.enter_context(progress_bar(text))

    def advance(self, share: float) -> None:
        """Fill the bar."""
        self._show(min(share, 1.0))

    def note(self, text: str) -> None:
        """Say a thing in words."""
        self._say(text)


def _say_on_stderr(text: str) -> None:
    click.echo(text, err=True)


def _range(versions: list[str]) -> str:
    return versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
