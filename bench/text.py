"""How fast the text step is, beside the plain word-by-word way to do it, in one run on one machine.

    python -m bench.text [--rows 25000] [--file reviews.csv]

Three ways over the same reviews:

- `original`: what the step replaces: row by row, NLTK's stop-word corpus asked for every word and NLTK's lemmatizer for
  every token (on the first reviews only: it is that slow);
- `plain`: the same, careful: stop words in a frozen set, lemmas remembered;
- `pipeline`: `pipeline.text.corpus`, the first call of the process and a later one.

All of them must give the same lists, or the benchmark fails. `rows/s` is by the clock on the wall, which other work on
the machine slows down; `rows/cpu s` by the processor time that the process took. Prints a table, and one JSON object as
the last line.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import generate
from pipeline.nltk_data import write_nltk_data
from pipeline.reviews import ReviewFile
from pipeline.text import corpus
from tests.unit.pipeline.nltk_reference import reference

ORIGINAL_ROWS = 100
Corpus = list[list[str] | None]


def original(reviews: pl.Series) -> Corpus:
    """Do it as the original did: the corpora are asked for every word."""
    from nltk.corpus import stopwords
    from nltk.stem import WordNetLemmatizer

    class Asked:
        def __contains__(self, word: object) -> bool:
            return word in set(stopwords.words("english"))

    row = reference(Asked(), lambda token: str(WordNetLemmatizer().lemmatize(token)))
    return [row(review) for review in reviews]


def plain(reviews: pl.Series) -> Corpus:
    """Do it row by row with everything remembered."""
    from nltk.corpus import stopwords
    from nltk.stem import WordNetLemmatizer

    row = reference(frozenset(stopwords.words("english")), functools.cache(WordNetLemmatizer().lemmatize))
    return [row(review) for review in reviews]


@dataclass(frozen=True)
class Pace:
    """Rows per second of one way."""

    wall: float
    cpu: float


def measured(run: Callable[[pl.Series], Any], reviews: pl.Series, rounds: int = 1) -> tuple[Pace, Any]:
    """Return the best pace of some passes, and the result."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        result = run(reviews)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Pace(len(reviews) / min(walls), len(reviews) / min(cpus)), result


def main() -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description="Measure the text step.")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--file", type=Path, help="a review file instead of generated reviews")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        source = options.file or Path(folder, "made.csv")
        if not options.file:
            source.write_bytes(b"".join(generate.generate(options.rows, 42)))
        batches = ReviewFile(source, quarantine=Path(folder, "bad.jsonl")).batches(options.rows)
        reviews = next(batches)["Review"]

        import nltk

        write_nltk_data(Path(folder, "nltk_data"))
        nltk.data.path[:] = [str(Path(folder, "nltk_data"))]
        plain(reviews.head(10))  # NLTK loads its WordNet at the first lemma
        few = reviews.head(ORIGINAL_ROWS)
        original_pace, original_corpus = measured(original, few)
        plain_pace, plain_corpus = measured(plain, reviews)

    wall = time.perf_counter()
    corpus(reviews.head(1))
    first_call = time.perf_counter() - wall
    cold_pace, ours = measured(corpus, reviews)
    warm_pace, _ = measured(corpus, reviews, rounds=5)

    if original_corpus != plain_corpus[: len(few)] or ours.to_list() != plain_corpus:
        print("the ways disagree", file=sys.stderr)
        return 1
    paces = {"original": original_pace, "plain": plain_pace, "pipeline": cold_pace, "pipeline, later": warm_pace}
    print(f"{len(reviews):,} reviews (original: {len(few)}); lexicon and libraries loaded in {first_call:.2f} s\n")
    print(f"{'':16}{'rows/s':>10}{'x original':>12}{'x plain':>9}{'rows/cpu s':>13}{'x original':>12}")
    for name, pace in paces.items():
        by_wall, by_cpu = pace.wall / original_pace.wall, pace.cpu / original_pace.cpu
        print(
            f"{name:16}{pace.wall:>10,.0f}{by_wall:>12.1f}{pace.wall / plain_pace.wall:>9.1f}"
            f"{pace.cpu:>13,.0f}{by_cpu:>12.1f}"
        )
    result = {name: {"rows_per_s": round(pace.wall), "rows_per_cpu_s": round(pace.cpu)} for name, pace in paces.items()}
    print(json.dumps({"rows": len(reviews), "first_call_s": round(first_call, 3), "paces": result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
