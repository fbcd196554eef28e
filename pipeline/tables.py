"""Tables on disk for the text step: CSV or parquet in, parquet out, batch by batch in constant memory.

The module must not know what the batches are for. It talks to no outside system but the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.errors import InputFileError
from pipeline.files import replacing
from pipeline.reviews import MAX_BAD, ReviewFile, Summary

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 25_000


class Table:
    """An input file: parquet by its first bytes, CSV else.

    Args:
        path: The file.
        column: Column that it must have.
        quarantine: File for a CSV's bad rows.
        max_bad: Share of bad rows above which a CSV is refused.

    Attributes:
        summary: Counts of good and bad rows so far.
    """

    def __init__(self, path: Path, *, column: str, quarantine: Path, max_bad: float = MAX_BAD) -> None:
        self._parquet = _open_parquet(path)
        self._reviews = None
        if not self._parquet:
            self._reviews = ReviewFile(path, required=(column,), quarantine=quarantine, max_bad=max_bad)
        self._path = path
        self.summary = Summary()

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows; at least one frame, of no rows where a parquet file has none.

        Raises:
            InputFileError: The file cannot be read.
            BadRowsError: Too many rows are bad.
        """
        if self._reviews:
            for frame in self._reviews.batches(BATCH_ROWS):
                self.summary = self._reviews.summary
                yield frame
            self.summary = self._reviews.summary
        else:
            yield from self._parquet_batches()

    @property
    def progress(self) -> float:
        """Share of the file that is read."""
        if self._reviews:
            return self.summary.bytes_read / self._reviews.size
        return self.summary.rows / max(int(self._parquet.metadata.num_rows), 1)

    def _parquet_batches(self) -> Iterator[pl.DataFrame]:
        batches = self._parquet.iter_batches(batch_size=BATCH_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError) as error:  # what pyarrow raises for a damaged page
                raise InputFileError(f"{self._path} cannot be read as parquet: {error}") from error
            if batch is None:
                break
            self.summary.rows += len(batch)
            yield _from_arrow(batch)
        if not self.summary.rows:
            yield _from_arrow(self._parquet.schema_arrow.empty_table())


def _open_parquet(path: Path) -> Any:
    """Return the opened parquet file, or None where it is another kind of file."""
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"PAR1":
                return None
    except OSError as error:
        raise InputFileError(f"cannot read {path}: {error.strerror}") from error
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read as parquet: {error}") from error


def _from_arrow(data: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(data)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  # a batch or a table is never a series
    return frame


def write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Write frames of one schema as one parquet file.

    Args:
        path: The file; one that is there is replaced at the end.
        frames: At least one frame.

    Raises:
        OutputFileError: The file cannot be written.
    """
    from pyarrow import parquet

    with replacing(path) as temporary:
        first = _to_arrow(next(frames))
        with parquet.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            for frame in frames:
                writer.write_table(_to_arrow(frame))


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    # Readers other than polars may not know string views.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
