"""Reviews on disk that are written again in another order, in memory that does not grow with their number.

Rows in random order cannot be streamed from where they are. So as many as fit are gathered at once: each time, all
pieces are gone through, and each row that is wanted is copied once. Outside system: the files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.amazon_reviews.reviews import tables
from pipeline.amazon_reviews.reviews.review_files import POLARITY

if TYPE_CHECKING:
    import pyarrow as pa

Integers = npt.NDArray[np.int64]

GATHERED_ROWS = 200_000
"""Rows that are in memory at once: 200 MB of reviews, twice while they are put in order."""


class RowStore:
    """Frames of one schema, one behind the other.

    Args:
        folder: An empty folder for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts = [0]
        self._polarity: list[pl.Series] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows at the end."""
        import pyarrow as pa

        table = tables.to_arrow(frame)
        with pa.OSFile(str(self._file(len(self._polarity))), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table)
        self._starts.append(self._starts[-1] + len(frame))
        self._polarity.append(frame[POLARITY])

    @property
    def pieces(self) -> int:
        """How many frames have been added."""
        return len(self._polarity)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self._starts[-1]

    def polarity(self) -> pl.Series:
        """Return the polarity of each row."""
        return pl.concat(self._polarity)

    def write(self, rows: Integers, file: Path, progress: Callable[[int], None]) -> None:
        """Write some rows to a parquet file.

        Args:
            rows: Their numbers, in the order wanted.
            file: The file.
            progress: Told after each row group how many rows are written.

        Raises:
            OutputFileError: The file cannot be written.
        """
        step = max(GATHERED_ROWS // tables.BATCH_ROWS, 1) * tables.BATCH_ROWS
        with tables.parquet_sink(file) as write:
            for start in range(0, len(rows), step):
                gathered = self._gathered(rows[start : start + step])
                for place in range(0, len(gathered), tables.BATCH_ROWS):
                    write(gathered.slice(place, tables.BATCH_ROWS))
                    progress(min(start + place + tables.BATCH_ROWS, len(rows)))

    def _gathered(self, rows: Integers) -> pa.Table:
        import pyarrow as pa

        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        bounds = np.searchsorted(ordered, self._starts)
        found = []
        for piece, (first, last) in enumerate(itertools.pairwise(bounds)):
            if first < last:
                with pa.memory_map(str(self._file(piece))) as source:
                    table = pa.ipc.open_file(source).read_all()
                    found.append(table.take(pa.array(ordered[first:last] - self._starts[piece])))
        places = np.empty(len(rows), np.int64)
        places[order] = np.arange(len(rows))
        return pa.concat_tables(found).combine_chunks().take(pa.array(places))

    def _file(self, piece: int) -> Path:
        return self._folder / f"{piece}.arrow"
