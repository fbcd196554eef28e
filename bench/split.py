"""The stratified split: ours beside scikit-learn given the frame itself, and beside rows as Python objects.

- `objects`: what the course does: the frame becomes pandas, whose texts are Python objects, is split by scikit-learn,
  and becomes a frame again. pandas is not part of this environment: an array of objects stands for its columns;
- `scikit-learn`: `train_test_split` given the polars frame;
- `pipeline`: `pipeline.amazon_reviews.reviews.frames.split`, which splits row numbers and takes the rows once.

Each is a process of its own. The same seed must give the same rows in all of them, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from bench import fresh_process
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.fresh_process import Prepared
from bench.result import Column, Row, Table
from pipeline.amazon_reviews.reviews import generate
from pipeline.amazon_reviews.reviews.frames import split
from pipeline.amazon_reviews.reviews.review_files import POLARITY, SCHEMA

ROWS = (25_000, 250_000, 1_000_000)
ROUNDS = 3
TEST_SIZE, SEED = 0.2, 42

Parts = tuple[pl.DataFrame, pl.DataFrame]


def objects(frame: pl.DataFrame) -> Parts:
    """Split rows of Python objects."""
    from sklearn.model_selection import train_test_split

    rows = frame.to_numpy()
    parts: list[Any] = train_test_split(rows, test_size=TEST_SIZE, random_state=SEED, stratify=rows[:, 0].astype(int))
    train, test = (
        pl.DataFrame({name: part[:, place].tolist() for place, name in enumerate(SCHEMA)}, schema=SCHEMA)
        for part in parts
    )
    return train, test


def given_the_frame(frame: pl.DataFrame) -> Parts:
    """Let scikit-learn take the frame apart."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(frame, test_size=TEST_SIZE, random_state=SEED, stratify=frame[POLARITY].to_numpy())
    return train, test


def ours(frame: pl.DataFrame) -> Parts:
    """Split as the pipeline does."""
    return split(frame, test_size=TEST_SIZE, random_state=SEED)


OBJECTS = "objects (as pandas holds texts)"
WAYS: dict[str, Callable[[pl.DataFrame], Parts]] = {
    OBJECTS: objects,
    "scikit-learn, given the frame": given_the_frame,
    "pipeline": ours,
}


def splitting(name: str, source: Path) -> Prepared:
    """Prepare to split; scikit-learn is imported before, since all ways need it."""
    import sklearn.model_selection  # noqa: F401

    frame = pl.read_parquet(source)
    return lambda: WAYS[name](frame)


def digesting(name: str, source: Path) -> Prepared:
    """Prepare to split and say what came out: frames are too large to send, and hashing them is not to be timed."""
    parts = splitting(name, source)
    return lambda: [hashlib.sha256(part.hash_rows().to_numpy()).hexdigest() for part in parts()]


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Split generated reviews in each way."""
    with tempfile.TemporaryDirectory(prefix="bench-split-") as folder:
        for rows in options.rows:
            csv, source = Path(folder, "made.csv"), Path(folder, "made.parquet")
            with csv.open("wb") as stream:
                stream.writelines(generate.generate(rows, SEED))
            pl.scan_csv(csv, has_header=False, schema=SCHEMA).sink_parquet(source)
            csv.unlink()
            digests = {name: fresh_process.measure(digesting, name, source).value for name in WAYS}
            if len({tuple(digest) for digest in digests.values()}) != 1:
                raise BenchmarkError(f"the ways disagree on {rows:,} reviews: {digests}")
            for name in WAYS:
                found = [fresh_process.measure(splitting_only, name, source) for _ in range(options.rounds)]
                seconds = tuple(each.seconds for each in found)
                peaks = tuple(each.peak_mib for each in found)
                yield Row("split", name, {"seconds": seconds, "peak": peaks}, f"{rows:,} reviews")


def splitting_only(name: str, source: Path) -> Prepared:
    """Prepare to split and keep the frames to the process."""
    work = splitting(name, source)
    return lambda: len(work())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="reviews to split")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"splits of each (default {ROUNDS})")


BENCHMARK = Benchmark(
    title="Train/test split",
    page_order=20,
    intro="""
A frame of generated reviews in memory is split 80:20, stratified by class. Each split runs in a new process. All must
give the same rows, or the benchmark fails. *Peak memory* is the peak of the whole process, with the frame and the
libraries.
""",
    notes="""
Measured by hand, without a server, at load 5 to 10: reading all 3.6 million reviews in 144 files, splitting them, and
writing the training set as CSV and parquet took 23 s (20 s of CPU time), with a peak of 2,470 MiB.
""",
    tables=(
        Table(
            "split",
            "Stratified split",
            (
                Column("seconds", "time", "s"),
                Column("faster", "faster", "x", better="higher", ratio_of="seconds"),
                Column("peak", "peak memory", "MiB"),
            ),
            baseline=OBJECTS,
            chart="seconds",
            log=True,
        ),
    ),
    targets=(),
    add_arguments=add_arguments,
    measure=measure,
    quick={"rows": [500], "rounds": 1},
)
