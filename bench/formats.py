"""How a step hands a frame on: parquet as this project writes it, beside what the SDK does with a frame by itself.

The SDK pickles what it does not know, a polars frame for one (`clearml.binding.artifacts`), and writes a pandas frame
as csv.gz. Two frames that steps hand on, of generated reviews: as split, and with the lists of lemmas. Each write and
each read is a process of its own; what is read is compared with what was written.
"""

from __future__ import annotations

import argparse
import gzip
import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import polars as pl

from bench import fresh_process
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.fresh_process import Prepared
from bench.result import Column, Row, Table
from pipeline.amazon_reviews.reviews import generate, tables
from pipeline.amazon_reviews.reviews.review_files import SCHEMA

ROWS = (25_000, 250_000)
ROUNDS = 3
SEED = 42


def write_parquet(frame: pl.DataFrame, file: Path) -> None:
    """Write as the steps do."""
    tables.write_parquet(file, tables.slices(frame))


def write_pickle(frame: pl.DataFrame, file: Path) -> None:
    """Write as the SDK does with an object that it does not know."""
    with file.open("wb") as stream:
        pickle.dump(frame, stream)


def read_pickle(file: Path) -> pl.DataFrame:
    """Read as the SDK does."""
    with file.open("rb") as stream:
        frame = pickle.load(stream)
    assert isinstance(frame, pl.DataFrame)
    return frame


def write_csv_gz(frame: pl.DataFrame, file: Path) -> None:
    """Write as the SDK does with a pandas frame, at gzip's level there; polars writes the CSV, which is quicker."""
    with gzip.open(file, "wb") as stream:
        frame.write_csv(cast(IO[bytes], stream))


def read_csv_gz(file: Path) -> pl.DataFrame:
    """Read it back, types given."""
    return pl.read_csv(file, schema=SCHEMA)


@dataclass(frozen=True)
class Format:
    """A way to store a frame."""

    write: Callable[[pl.DataFrame, Path], None]
    read: Callable[[Path], pl.DataFrame]
    lists: bool = True
    """Whether it holds lists."""


PICKLE = "pickle (SDK, a polars frame)"
FORMATS = {
    PICKLE: Format(write_pickle, read_pickle),
    "csv.gz (SDK, a pandas frame)": Format(write_csv_gz, read_csv_gz, lists=False),
    "parquet (ours)": Format(write_parquet, pl.read_parquet),
}


def writing(name: str, source: Path, target: Path) -> Prepared:
    """Prepare to write."""
    frame = pl.read_parquet(source)
    return lambda: FORMATS[name].write(frame, target)


def reading(name: str, target: Path) -> Prepared:
    """Prepare to read; the frame itself is too large to send."""
    return lambda: len(FORMATS[name].read(target))


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Write and read each frame in each format."""
    with tempfile.TemporaryDirectory(prefix="bench-formats-") as folder:
        for rows in options.rows:
            raw, processed = made(rows, Path(folder))
            for words, source in (("as split", raw), ("with lemmas", processed)):
                for name, way in FORMATS.items():
                    if way.lists or source is raw:
                        yield row(name, source, f"{rows:,} reviews, {words}", options.rounds)


def made(rows: int, folder: Path) -> tuple[Path, Path]:
    """Make the frames that the steps hand on, each in a file for the measuring processes."""
    from pipeline.amazon_reviews.reviews.text import corpus

    csv = folder / "made.csv"
    csv.write_bytes(b"".join(generate.generate(rows, SEED)))
    raw, processed = folder / "raw.parquet", folder / "processed.parquet"
    frame = pl.read_csv(csv, has_header=False, schema=SCHEMA)
    frame.write_parquet(raw)
    frame.with_columns(corpus=corpus(frame["Review"])).write_parquet(processed)
    return raw, processed


def row(name: str, source: Path, group: str, rounds: int) -> Row:
    """Measure one format on one frame.

    Raises:
        BenchmarkError: What is read is not what was written.
    """
    target = source.with_name("artifact")
    writes = [fresh_process.measure(writing, name, source, target) for _ in range(rounds)]
    reads = [fresh_process.measure(reading, name, target) for _ in range(rounds)]
    if not FORMATS[name].read(target).equals(pl.read_parquet(source)):
        raise BenchmarkError(f"{name}: another frame came back")
    size = target.stat().st_size
    target.unlink()
    return Row(
        "formats",
        name,
        {
            "size": (size / 1e6,),
            "write": tuple(each.seconds for each in writes),
            "read": tuple(each.seconds for each in reads),
            "write_peak": tuple(each.peak_mib for each in writes),
            "read_peak": tuple(each.peak_mib for each in reads),
        },
        group,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="reviews of the frames")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"writes and reads of each (default {ROUNDS})")


BENCHMARK = Benchmark(
    title="Artifact formats",
    page_order=40,
    intro="""
The frame of a step as an artifact, written and read once in a new process, between memory and the file cache. *Peak*
is the peak memory of the whole process, with the frame. Reading a pickle also runs any code that it contains; reading
parquet does not.
""",
    tables=(
        Table(
            "formats",
            "Step artifacts: parquet and pickle",
            (
                Column("size", "file", "MB"),
                Column("size_ratio", "smaller", "x", better="higher", ratio_of="size"),
                Column("write", "write", "s"),
                Column("read", "read", "s"),
                Column("write_peak", "peak while writing", "MiB"),
                Column("read_peak", "peak while reading", "MiB"),
            ),
            baseline=PICKLE,
            chart="size",
        ),
    ),
    targets=(),
    add_arguments=add_arguments,
    measure=measure,
    quick={"rows": [500], "rounds": 1},
)
