"""Which bytes of a parquet file hold some of its rows and columns. Pure apart from reading the file's end."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

MAGIC = b"PAR1"
_LENGTH = 4
_END = _LENGTH + len(MAGIC)

Span = tuple[int, int]
"""First, and last (not included)."""


def footer_bytes(path: Path) -> int:
    """Return how many bytes at a file's end describe it, as its last bytes say.

    Raises:
        ValueError: It is not a parquet file.
    """
    with path.open("rb") as stream:
        stream.seek(0, 2)
        if stream.tell() < _END + len(MAGIC):
            raise ValueError(f"{path} is too short for a parquet file")
        stream.seek(-_END, 2)
        end = stream.read(_END)
    if end[_LENGTH:] != MAGIC:
        raise ValueError(f"{path} is not a parquet file")
    return int.from_bytes(end[:_LENGTH], "little") + _END


def row_groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """Return the row groups that hold rows from `start` to `stop`, and how many rows of them are to be left out.

    Args:
        metadata: Pyarrow's, of the file.
        start: The first row.
        stop: The row behind the last.
    """
    groups: list[int] = []
    place = skip = 0
    for number in range(metadata.num_row_groups):
        rows = int(metadata.row_group(number).num_rows)
        if place < stop and place + rows > start:
            if not groups:
                skip = start - place
            groups.append(number)
        place += rows
    return groups, skip


def spans(metadata: Any, *, columns: Collection[str] | None = None, rows: Span | None = None) -> list[Span]:
    """Return the bytes that hold some columns of some rows, and the first ones, by which a file is recognised.

    Args:
        metadata: Pyarrow's, of the file.
        columns: The columns; all by default.
        rows: The rows; all by default.
    """
    groups, _ = row_groups(metadata, *(rows or (0, metadata.num_rows)))
    found: list[Span] = [(0, len(MAGIC))]
    for number in groups:
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            if columns is None or column.path_in_schema.partition(".")[0] in columns:
                begin = column.data_page_offset
                if column.has_dictionary_page and column.dictionary_page_offset:
                    begin = min(begin, column.dictionary_page_offset)
                found.append((begin, begin + column.total_compressed_size))
    return found
