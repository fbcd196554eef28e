"""Tables on disk for the text step: CSV or parquet in, parquet out, batch by batch in constant memory.

Batches and row groups have a fixed number of rows, whatever those of the input: the same rows are the same bytes. The
module must not know what the batches are for. It talks to no outside system but the files.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.amazon_reviews.reviews.review_files import MAX_BAD, ReviewFile, Summary
from pipeline.errors import DataError, InputFileError
from pipeline.files import replacing
from pipeline.parquet_parts import MAGIC, row_groups
from pipeline.step_runtime.written import HashedFile, note

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 25_000
"""Rows of a batch, and of each row group that is written: small enough to give each of many shards its own."""
_DICTIONARY_BYTES = 1 << 24
_READ_BYTES = 1 << 20  # pyarrow would else read a column's whole row group at once, which may be the whole file


class Table:
    """An input file: parquet by its first bytes, CSV else.

    Args:
        path: The file.
        column: Column that it must have.
        quarantine: File for a CSV's bad rows.
        max_bad: Share of bad rows above which a CSV is refused.
        rows: Only rows from the first number up to, not including, the second.

    Attributes:
        summary: Counts of good and bad rows so far.
    """

    def __init__(
        self,
        path: Path,
        *,
        column: str,
        quarantine: Path,
        max_bad: float = MAX_BAD,
        rows: tuple[int, int] | None = None,
    ) -> None:
        self._parquet = _open_parquet(path)
        self._reviews = None
        if not self._parquet:
            self._reviews = ReviewFile(path, required=(column,), quarantine=quarantine, max_bad=max_bad)
        elif rows is None:
            rows = (0, int(self._parquet.metadata.num_rows))
        self._path = path
        self._rows = rows
        self._given = 0
        self.summary = Summary()

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in batches of `BATCH_ROWS`; at least one frame, of no rows where a parquet file has none.

        Raises:
            InputFileError: The file cannot be read.
            BadRowsError: Too many rows are bad.
            DataError: The file has fewer rows than are wanted.
        """
        self._given = 0
        start, stop = self._rows or (0, None)
        if self._reviews:
            pieces = self._csv_pieces(start, stop)
        else:
            assert stop is not None  # noqa: S101
            pieces = _parquet_frames(self._path, self._parquet, start, stop)
        empty = None
        for frame in _equal(pieces):
            if not len(frame):
                empty = frame
                continue
            self._given += len(frame)
            if not self._reviews:
                self.summary.rows = self._given
            yield frame
        if not self._given and empty is not None:
            yield empty
        if stop is not None and start + self._given < stop:
            raise DataError(f"{self._path} has no rows {start:,} to {stop:,}: it ends before")

    @property
    def progress(self) -> float:
        """Share of the rows that have been handed out, as far as it is known."""
        if self._rows:
            return self._given / max(self._rows[1] - self._rows[0], 1)
        return self.summary.bytes_read / self._reviews.size if self._reviews else 1.0

    def _csv_pieces(self, start: int, stop: int | None) -> Iterator[pl.DataFrame]:
        """Yield the wanted rows of a CSV, in which every row before them has to be read."""
        assert self._reviews  # noqa: S101
        place = 0
        for frame in self._reviews.batches(BATCH_ROWS):
            self.summary = self._reviews.summary
            yield frame[max(start - place, 0) : None if stop is None else max(stop - place, 0)]
            place += len(frame)
            if stop is not None and place >= stop:
                return
        self.summary = self._reviews.summary


def _parquet_frames(path: Path, file: Any, start: int, stop: int) -> Iterator[pl.DataFrame]:
    """Yield an empty frame, then the rows wanted."""
    groups, skip = row_groups(file.metadata, start, stop)
    wanted = stop - start
    batches = file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups)
    yield _from_arrow(file.schema_arrow.empty_table())
    while wanted > 0:
        try:
            batch = next(batches, None)
        except (OSError, ValueError) as error:  # what pyarrow raises for a damaged page
            raise InputFileError(f"{path} cannot be read as parquet: {error}") from error
        if batch is None:
            break
        frame = _from_arrow(batch.slice(min(skip, len(batch)), wanted))
        skip = max(skip - len(batch), 0)
        wanted -= len(frame)
        yield frame


def _equal(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield the same rows in frames of `BATCH_ROWS` each, the last one shorter; and a frame without rows as it is."""
    waiting: list[pl.DataFrame] = []
    count = 0
    for frame in frames:
        if not len(frame):
            if not count:
                yield frame
            continue
        waiting.append(frame)
        count += len(frame)
        while count >= BATCH_ROWS:
            whole = pl.concat(waiting) if len(waiting) > 1 else waiting[0]
            yield whole[:BATCH_ROWS]
            waiting, count = [whole[BATCH_ROWS:]], count - BATCH_ROWS
    if count:
        yield pl.concat([frame for frame in waiting if len(frame)])


def _open_parquet(path: Path) -> Any:
    """Return the opened parquet file, or None where it is another kind of file."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                return None
    except OSError as error:
        raise InputFileError(f"cannot read {path}: {error.strerror}") from error
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read as parquet: {error}") from error


def _from_arrow(data: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(data)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  # a batch or a table is never a series
    return frame


@contextlib.contextmanager
def parquet_sink(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Write a parquet file piece by piece: give a function that writes one row group.

    Lists of texts are best given with their values as a dictionary, in the order in which they come first; they are
    read as plain lists of strings all the same.

    Args:
        path: The file; it appears, or is replaced, when the block ends well. Its digest is known then
            (`pipeline.step_runtime.written`).

    Raises:
        OutputFileError: The file cannot be written.
    """
    from pyarrow import parquet

    with replacing(path) as temporary, contextlib.ExitStack() as stack:
        file = stack.enter_context(HashedFile(temporary))
        writer = None

        def write(data: pa.Table) -> None:
            nonlocal writer
            if writer is None:
                schema = data.schema
                writer = stack.enter_context(parquet.ParquetWriter(file, schema, **_writing(schema)))
                writer.add_key_value_metadata(_types(schema))
            if len(data):
                # In one piece: a page would end where a chunk does, and the same rows would not be the same bytes.
                writer.write_table(data.combine_chunks())

        yield write
    note(path, file.sha256)


def _writing(schema: pa.Schema) -> dict[str, Any]:
    """Return how to write: dictionaries where values repeat, for texts only compression; no statistics, unread here."""
    import pyarrow as pa

    texts = (pa.types.is_string, pa.types.is_large_string)
    dictionaries = [
        f"{field.name}.list.element" if _is_list(field.type) else field.name
        for field in schema
        if not any(test(field.type) for test in texts)
    ]
    return {
        "compression": "zstd",
        "use_dictionary": dictionaries,
        "dictionary_pagesize_limit": _DICTIONARY_BYTES,
        "write_statistics": False,
        "store_schema": False,  # it would make dictionaries a type; `_types` does not
    }


def _types(schema: pa.Schema) -> dict[bytes, bytes]:
    """Return the note by which readers learn the columns' types; dictionaries are but a way of writing."""
    import pyarrow as pa

    plain = pa.schema([_plain_field(field) for field in schema])
    return {b"ARROW:schema": base64.b64encode(plain.serialize())}


def _plain_field(field: pa.Field) -> pa.Field:
    import pyarrow as pa

    if _is_list(field.type) and pa.types.is_dictionary(field.type.value_type):
        return pa.field(field.name, pa.large_list(pa.large_string()))
    return field


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def write_parquet(path: Path, frames: Iterable[pl.DataFrame]) -> None:
    """Write frames of one schema as one parquet file with row groups of `BATCH_ROWS`.

    Args:
        path: The file; one that is there is replaced at the end.
        frames: At least one frame.

    Raises:
        OutputFileError: The file cannot be written.
    """
    with parquet_sink(path) as write:
        for frame in _equal(frames):
            write(to_arrow(frame))


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as it is written: lists of texts with their values as a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Readers other than polars may not know string views.
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    for place, field in enumerate(table.schema):
        if _is_list(field.type) and pa.types.is_large_string(field.type.value_type):
            lists = table.column(place).combine_chunks()
            first, last = lists.offsets[0].as_py(), lists.offsets[-1].as_py()  # a slice has values of others around
            values = lists.values.slice(first, last - first)
            offsets = pc.subtract(lists.offsets, first)
            table = table.set_column(place, field.name, encoded_lists(offsets, values, lists.is_null()))
    return table


def encoded_lists(offsets: pa.Array, values: pa.Array, nulls: pa.Array | None = None) -> pa.Array:
    """Return lists whose values are a dictionary: of texts, or of places in a dictionary already."""
    import pyarrow as pa

    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    return pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), values, mask=nulls)


def join_parquet(sources: Sequence[Path], target: Path) -> None:
    """Write the rows of parquet files of one schema, in the order given, as if they had been written at once.

    Raises:
        InputFileError: One of the files cannot be read.
        OutputFileError: The file cannot be written.
    """
    files = [_open_parquet(path) for path in sources]
    for path, file in zip(sources, files, strict=True):
        if file is None or not file.schema_arrow.equals(files[0].schema_arrow):
            raise InputFileError(f"{path} is not a parquet file with the columns of {sources[0]}")
    pieces = (
        piece
        for path, file in zip(sources, files, strict=True)
        for piece in _parquet_frames(path, file, 0, file.metadata.num_rows)
    )
    write_parquet(target, pieces)


def row_count(path: Path) -> int:
    """Return the rows of a parquet file, as it says itself.

    Raises:
        InputFileError: It is not a parquet file, or cannot be read.
    """
    file = _open_parquet(path)
    if file is None:
        raise InputFileError(f"{path} is not a parquet file")
    return int(file.metadata.num_rows)


@contextlib.contextmanager
def csv_sink(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a CSV file with a header piece by piece: give a function that writes one piece.

    Raises:
        OutputFileError: The file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:

        def write(frame: pl.DataFrame) -> None:
            frame.write_csv(stream, include_header=not stream.tell())

        yield write


def slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield a frame in pieces of `BATCH_ROWS`, for `write_parquet`: only a piece at a time is made into bytes."""
    yield from frame.iter_slices(BATCH_ROWS) if len(frame) else [frame]
