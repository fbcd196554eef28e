"""Stored parquet files: made ahead of the version that consists of them, checked, and read in part.

Outside system: the file server, through the SDK.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline import parquet_parts
from pipeline.parquet_parts import Span
from pipeline.sdk import datasets as sdk_datasets
from pipeline.sdk import stored_files
from pipeline.sdk.stored_files import PartialCopy, StoredFile

END = 1 << 16
"""Bytes of a file's end that are fetched first: they describe most files."""


def store(task: Any, file: Path) -> StoredFile:
    """Store a file below a task for a version that will refer to it; the file does not go with the task.

    Raises:
        ValueError: It did not reach the file server.
    """
    sdk_datasets.prepare()
    return stored_files.send(task, file, mode=stored_files.REFERRED)


def require_stored(files: Sequence[StoredFile]) -> None:
    """Check that files are on the file server with the size and the digest that are known of them.

    Raises:
        ValueError: One is not, or cannot be read.
    """
    stored_files.verify(files)


def fetch_some(
    stored: StoredFile, target: Path, *, columns: Collection[str] | None = None, rows: Span | None = None
) -> None:
    """Fetch some columns of some rows to where they are in the file; the rest of the copy is holes.

    Args:
        stored: The file.
        target: The copy.
        columns: The columns; all by default. With none, the copy only says what is in the file.
        rows: The rows; all by default.

    Raises:
        ValueError: It is not a parquet file, or cannot be read.
    """
    from pyarrow import parquet

    with PartialCopy(stored, target) as copy:
        end = max(stored.size - END, 0)
        copy.fill([(end, stored.size)])
        footer = max(stored.size - parquet_parts.footer_bytes(target), 0)
        if footer < end:
            copy.fill([(footer, end)])
        copy.fill(parquet_parts.spans(parquet.read_metadata(target), columns=columns, rows=rows))
