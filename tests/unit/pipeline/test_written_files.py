"""Files that are hashed while they are written, and copies that have only some of a file's rows and columns."""

from __future__ import annotations

import hashlib
import os

import polars as pl
import pytest
from pyarrow import parquet

from pipeline import parquet_parts
from pipeline.amazon_reviews.reviews import tables
from pipeline.step_runtime import written

ROWS = 1_000


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A parquet file of ten row groups."""
    monkeypatch.setattr(tables, "BATCH_ROWS", 100)
    frame = pl.DataFrame(
        {
            "Polarity": [1, 2] * (ROWS // 2),
            "Review": [f"review {number} {'x' * number}" for number in range(ROWS)],
            "corpus": [["word", str(number)] for number in range(ROWS)],
        }
    )
    path = tmp_path / "whole.parquet"
    tables.write_parquet(path, tables.slices(frame))
    return path


def sparse_copy(file, target, **wanted):
    """Copy what is wanted of a file to where it is in it."""
    found = parquet_parts.spans(parquet.read_metadata(file), **wanted)
    size, footer = file.stat().st_size, parquet_parts.footer_bytes(file)
    content = file.read_bytes()
    with target.open("wb") as stream:
        stream.truncate(size)
        for start, stop in [*found, (size - footer, size)]:
            stream.seek(start)
            stream.write(content[start:stop])
    return sum(stop - start for start, stop in found)


def test_a_written_file_has_a_known_digest_until_it_changes(file):
    assert written.digest_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    with file.open("ab") as stream:
        stream.write(b"more")
    assert written.digest_of(file) is None
    file.unlink()
    assert written.digest_of(file) is None


def test_a_file_that_replaces_another_has_no_known_digest(file, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(bytes(file.stat().st_size))
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert written.digest_of(file) is None


def test_a_copy_of_some_columns_reads_as_the_whole(file, tmp_path):
    copy = tmp_path / "copy.parquet"
    columns = ["Polarity", "corpus"]
    assert sparse_copy(file, copy, columns=columns) < file.stat().st_size / 2
    assert parquet.read_table(copy, columns=columns).equals(parquet.read_table(file, columns=columns))


def test_a_copy_of_some_rows_reads_as_the_whole(file, tmp_path):
    copy = tmp_path / "copy.parquet"
    assert sparse_copy(file, copy, rows=(250, 420)) < file.stat().st_size / 3
    found, expected = (
        pl.concat(tables.Table(path, column="Review", quarantine=tmp_path / "q", rows=(250, 420)).batches())
        for path in (copy, file)
    )
    assert found.equals(expected)
    assert len(found) == 170


def test_a_copy_without_columns_says_how_many_rows_there_are(file, tmp_path):
    copy = tmp_path / "copy.parquet"
    assert sparse_copy(file, copy, columns=()) == len(parquet_parts.MAGIC)
    assert tables.row_count(copy) == ROWS


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100)])
def test_what_is_not_parquet_has_no_footer(tmp_path, content):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"parquet file"):
        parquet_parts.footer_bytes(file)
