"""`python -m pipeline preprocess`: the text step alone, on a file. The only part of it that prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from command_line.options import FilePath, Number, as_json, examples
from pipeline.commands.progress import progress_bar


@click.command()
@click.argument("source", metavar="INPUT", type=FilePath())
@click.argument("target", metavar="OUTPUT", type=FilePath())
@click.option("--column", default="Review", show_default=True, help="Column that holds the texts.")
@click.option(
    "--max-bad",
    type=Number(0, 1),
    default=0.01,
    show_default=True,
    help="Largest share of bad CSV rows with which OUTPUT is written.",
)
@as_json
@examples("python -m pipeline preprocess train.csv train.parquet")
def preprocess(source: Path, target: Path, column: str, max_bad: float, as_json: bool) -> None:
    """Add the list column `corpus` to a file of reviews: its noun lemmas in lower case, without stop words.

    INPUT is parquet, CSV with a header, or the Kaggle file (Polarity, Title, Review, without a header). OUTPUT is
    parquet with all columns of INPUT, and `corpus`. Bad rows of a CSV are left out, and written with their line number
    and cause to OUTPUT.quarantine.jsonl.
    """
    from pipeline.amazon_reviews.reviews.processing import preprocess_file

    with progress_bar("Preprocessing") as show:
        counts = preprocess_file(
            source,
            target,
            column=column,
            max_bad=max_bad,
            progress=lambda pace: show(pace.share, f"{pace.rows:,} rows, {pace.rows_per_s:,.0f} rows/s"),
        )
    summary = counts.reading
    if as_json:
        result = {
            "status": "completed",
            "output": str(target),
            "rows": counts.rows,
            "words": counts.words,
            "bad_rows": summary.bad,
            "causes": dict(summary.causes),
            "quarantine": str(summary.quarantine) if summary.quarantine else None,
            "seconds": round(counts.seconds, 3),
            "rows_per_s": round(counts.rows_per_s),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"{counts.rows:,} texts in {counts.seconds:.1f} s ({counts.rows_per_s:,.0f} rows/s): {target}")
    if summary.bad:
        causes = ", ".join(f"{count:,} {cause}" for cause, count in summary.causes.most_common())
        click.echo(f"{summary.bad:,} bad rows left out ({causes}): {summary.quarantine}", file=sys.stderr)
