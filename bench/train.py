"""Training on processed reviews: ours, batch by batch, beside scikit-learn with everything in memory.

- `scikit-learn in memory`: what the course does: the lemmas joined by spaces, `TfidfVectorizer(max_features=1000,
  analyzer="word")`, `BernoulliNB`, prediction of the test set;
- `pipeline`: the same model batch by batch, which also writes the features of both sets down and measures the model;
- `pipeline, linear`: logistic regression on the same features.

Each is a process of its own; four of five reviews are for training. The first two must say the same of every test
review, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench import fresh_process
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.fresh_process import Prepared
from bench.result import Column, Row, Table, Target
from pipeline.amazon_reviews.reviews import generate
from pipeline.amazon_reviews.reviews.review_files import ReviewFile
from pipeline.amazon_reviews.reviews.tables import write_parquet
from pipeline.amazon_reviews.reviews.text import preprocess

ROWS = (200_000,)
SEED = 42
BLOCK_ROWS = 25_000
FEATURES = 1000
TIMEOUT_S = 1800.0
LIMIT_MIB = 4096.0

Found = tuple[list[str], str]
"""The terms, and a digest of the predictions."""


def in_memory(folder: Path, terms: list[str] | None = None) -> Found:
    """Train with scikit-learn, as the course does; with given terms, if any."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import BernoulliNB

    train, test = (pl.read_parquet(folder / f"{part}.parquet", columns=["Polarity", "corpus"]) for part in PARTS)
    vectorizer = TfidfVectorizer(max_features=FEATURES, analyzer="word", vocabulary=terms)
    features = vectorizer.fit_transform(train["corpus"].list.join(" ").fill_null(""))
    model = BernoulliNB().fit(features, train["Polarity"].to_numpy())
    said = model.predict(vectorizer.transform(test["corpus"].list.join(" ").fill_null("")))
    return vectorizer.get_feature_names_out().tolist(), _digest(said == 2)


def streaming(folder: Path, kind: str = "bernoulli-nb") -> Found:
    """Train as the pipeline does."""
    from pipeline.amazon_reviews.training.tables import Processed
    from pipeline.amazon_reviews.training.train import Options, train

    train_set, test_set = (Processed(f"{part} set", [folder / f"{part}.parquet"]) for part in PARTS)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        trained = train(train_set, test_set, Options(kind=kind, max_features=FEATURES), Path(scratch))
        said = pl.read_parquet(trained.test_features, columns=["probability"])["probability"].to_numpy() > 0.5
    return list(trained.model.terms), _digest(said)


def linear(folder: Path) -> Found:
    """Train the linear model."""
    return streaming(folder, "linear")


PARTS = ("train", "test")
BASELINE = "scikit-learn in memory"
WAYS: dict[str, Callable[[Path], Found]] = {BASELINE: in_memory, "pipeline": streaming, "pipeline, linear": linear}


def _digest(positive: Any) -> str:
    return hashlib.sha256(np.packbits(positive).tobytes()).hexdigest()


def make_sets(rows: int, folder: Path) -> None:
    """Write processed reviews, four of five for training, the rest for the test."""
    csv = folder / "made.csv"
    with csv.open("wb") as stream:
        stream.writelines(generate.generate(rows, SEED))
    edge = rows * 4 // 5

    def frames(first: int, last: int) -> Iterator[pl.DataFrame]:
        at = 0
        for frame in ReviewFile(csv, quarantine=folder / "bad.jsonl").batches(BLOCK_ROWS):
            part = frame[max(first - at, 0) : max(last - at, 0)]
            at += len(frame)
            if len(part):
                yield preprocess(part, "Review")

    for part, first, last in (("train", 0, edge), ("test", edge, rows)):
        write_parquet(folder / f"{part}.parquet", frames(first, last))
    csv.unlink()


def preparing(name: str, folder: Path) -> Prepared:
    """Prepare to train in one way; its imports are not to be timed."""
    for module in ("sklearn.naive_bayes", "sklearn.feature_extraction.text", "pipeline.amazon_reviews.training.train"):
        importlib.import_module(module)
    return lambda: WAYS[name](folder)


def checking(folder: Path, terms: list[str]) -> Prepared:
    """Prepare to train with scikit-learn on given terms."""
    return lambda: in_memory(folder, terms)


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Train in each way on generated reviews."""
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
            folder = Path(name)
            say(f"making {rows:,} processed reviews")
            make_sets(rows, folder)
            values: dict[str, Found] = {}
            for way in WAYS:
                if way == BASELINE and rows > options.baseline_rows:
                    continue
                found = fresh_process.measure(preparing, way, folder, timeout_s=TIMEOUT_S)
                values[way] = found.value
                cells = {"seconds": (found.seconds,), "pace": (rows / found.seconds,), "peak": (found.peak_mib,)}
                yield Row("train", way, cells, f"{rows:,} reviews")
            _require_equal(values, folder, rows)


def _require_equal(values: dict[str, Found], folder: Path, rows: int) -> None:
    """Compare what was said of every test review, scikit-learn given our terms where it cut a tie in another way."""
    if BASELINE not in values:
        return
    terms, said = values["pipeline"]
    expected = values[BASELINE]
    if expected[0] != terms:
        expected = fresh_process.measure(checking, folder, terms, timeout_s=TIMEOUT_S).value
    if expected[1] != said:
        raise BenchmarkError(f"the ways disagree on {rows:,} reviews")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="reviews, train and test together")
    parser.add_argument(
        "--baseline-rows", type=int, default=1_000_000, help="leave scikit-learn out above that many (default 1000000)"
    )


BENCHMARK = Benchmark(
    title="Training",
    page_order=30,
    intro="""
The TF-IDF task without the server: from preprocessed reviews in parquet files to a model, and to its predictions for
the test set (a fifth of the reviews). *Peak memory* is the peak of the whole process. scikit-learn keeps texts and
features in memory. The pipeline reads them in batches; its time includes writing the features of both sets to files.
""",
    tables=(
        Table(
            "train",
            "Features, model, predictions",
            (
                Column("seconds", "time", "s"),
                Column("pace", "reviews per second", "1/s", better="higher"),
                Column("faster", "faster", "x", better="higher", ratio_of="seconds"),
                Column("peak", "peak memory", "MiB"),
            ),
            baseline=BASELINE,
            chart="peak",
        ),
    ),
    targets=(Target("train", "peak", LIMIT_MIB, row="pipeline"),),
    add_arguments=add_arguments,
    measure=measure,
    quick={"rows": [2000]},
)
