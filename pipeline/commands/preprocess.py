"""`python -m pipeline preprocess`: the text step alone, on a file. Prints; the work is in `text` and `tables`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.progress import progress_bar

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option("--column", default="Review", show_default=True, help="Column with the texts.")
@click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Share of bad CSV rows above which nothing is written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def preprocess(source: Path, target: Path, column: str, max_bad: float, as_json: bool) -> None:
    """Add the list column `corpus` to a file of reviews: lower-case noun lemmas without stop words.

    INPUT is parquet, or CSV with a header, or the Kaggle file (no header: Polarity, Title, Review). OUTPUT is parquet
    with all columns of INPUT and `corpus`. Bad rows of a CSV are left out, counted, and written with line number and
    cause to OUTPUT.quarantine.jsonl.
    """
    from pipeline import text
    from pipeline.tables import Table, write_parquet

    start = time.perf_counter()
    table = Table(source, column=column, quarantine=Path(f"{target}.quarantine.jsonl"), max_bad=max_bad)
    with progress_bar("Preprocessing") as show:

        def frames() -> Iterator[pl.DataFrame]:
            for frame in table.batches():
                yield text.preprocess(frame, column)
                show(table.progress)

        write_parquet(target, frames())
    seconds = time.perf_counter() - start

    summary = table.summary
    if as_json:
        result = {
            "status": "completed",
            "output": str(target),
            "rows": summary.rows,
            "bad_rows": summary.bad,
            "causes": dict(summary.causes),
            "quarantine": str(summary.quarantine) if summary.quarantine else None,
            "seconds": round(seconds, 3),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"{summary.rows:,} texts in {seconds:.1f} s: {target}")
    if summary.bad:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in summary.causes.most_common())
        click.echo(f"{summary.bad:,} bad rows left out ({causes}): {summary.quarantine}", file=sys.stderr)
