"""The text step on files of any size: rows stream through the module `text`, from CSV or parquet to parquet.

Memory does not grow with the rows, and the same rows give the same bytes on every machine and in every run mode: row
groups have a fixed number of rows, whatever the input's are. The output appears complete or not at all.

The module must not know what the file is a part of (`pipeline.amazon_reviews.step_work`) and prints nothing. Outside
system: the files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipeline.amazon_reviews.reviews import text
from pipeline.amazon_reviews.reviews.pace import Pace
from pipeline.amazon_reviews.reviews.review_files import MAX_BAD, Summary
from pipeline.amazon_reviews.reviews.tables import Table, encoded_lists, parquet_sink, to_arrow
from pipeline.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS = 2  # most of the work is outside the GIL; each batch on its way is some 100 MB


@dataclass
class Counts:
    """What the preprocessing of a file has come to."""

    rows: int = 0
    texts: int = 0
    """Rows that are not null."""
    words: int = 0
    """Lemmas in all of them."""
    seconds: float = 0.0
    reading: Summary = field(default_factory=Summary)
    """Good and bad rows of the input."""

    @property
    def rows_per_s(self) -> float:
        """Rows a second, reading and writing included."""
        return self.rows / self.seconds if self.seconds else 0.0


def preprocess_file(
    source: Path,
    target: Path,
    *,
    column: str = "Review",
    rows: tuple[int, int] | None = None,
    progress: Callable[[Pace], None] | None = None,
    require_texts: bool = True,
    quarantine: Path | None = None,
    max_bad: float = MAX_BAD,
) -> Counts:
    """Write the rows of a file with the list column `corpus` added.

    Args:
        source: Parquet, or CSV as `pipeline.amazon_reviews.reviews.review_files` reads it.
        target: The parquet file; one that is there is replaced at the end. It may be `source`.
        column: Column with the texts.
        rows: Only rows from the first number up to, not including, the second. Of a parquet file only the row groups
            that hold some of them are read.
        progress: Told after each batch where the work is.
        require_texts: Refuse a file without any text. A part of a file may have none.
        quarantine: File for a CSV's bad rows; default: beside `target`.
        max_bad: Share of bad rows above which a CSV is refused.

    Returns:
        Counts of rows and words.

    Raises:
        InputFileError: `source` cannot be read.
        BadRowsError: Too many rows of a CSV are bad.
        DataError: There is no such column or no text in it, or fewer rows than `rows` says.
        OutputFileError: `target` cannot be written, for instance since the disk is full.
    """
    start = time.perf_counter()
    counts = Counts()
    table = Table(
        source,
        column=column,
        quarantine=quarantine or Path(f"{target}.quarantine.jsonl"),
        max_bad=max_bad,
        rows=rows,
    )

    with parquet_sink(target) as write:
        for batch, share in _processed(table, column):
            write(batch.data)
            counts.rows += len(batch.data)
            counts.texts += batch.texts
            counts.words += batch.words
            if progress:
                progress(Pace(counts.rows, share, time.perf_counter() - start))
        if require_texts and not counts.texts:
            raise DataError(
                f"column {column!r} of {source} holds no text in any of its {counts.rows:,} rows",
                hint="name the text column with --column, or use data with texts",
            )
    counts.seconds = time.perf_counter() - start
    counts.reading = table.summary
    return counts


@dataclass(frozen=True)
class _Batch:
    data: pa.Table
    texts: int
    words: int


def _processed(table: Table, column: str) -> Iterator[tuple[_Batch, float]]:
    """Yield the batches in order, each with the share read up to its end; reading and writing go on meanwhile."""
    with ThreadPoolExecutor(_THREADS) as threads:
        waiting: deque[tuple[Future[_Batch], float]] = deque()
        try:
            for frame in table.batches():
                waiting.append((threads.submit(_process, frame, column), table.progress))
                if len(waiting) > _THREADS:
                    yield waiting[0][0].result(), waiting.popleft()[1]
            while waiting:
                yield waiting[0][0].result(), waiting.popleft()[1]
        finally:
            for future, _ in waiting:
                future.cancel()


def _process(frame: pl.DataFrame, column: str) -> _Batch:
    import pyarrow as pa

    texts = text.texts_of(frame, column)
    encoded = text.encode(texts)
    words = pa.DictionaryArray.from_arrays(
        pa.array(encoded.numbers), encoded.lemmas.to_arrow(compat_level=pl.CompatLevel.oldest())
    )
    nulls = pa.array(encoded.nulls) if encoded.nulls.any() else None
    lists = encoded_lists(pa.array(encoded.offsets), words, nulls)
    data = to_arrow(frame.drop(text.CORPUS, strict=False)).append_column(text.CORPUS, lists)
    return _Batch(data, len(texts) - int(encoded.nulls.sum()), encoded.words)
