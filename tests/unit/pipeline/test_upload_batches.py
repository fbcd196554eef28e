"""Batches of an upload that are made ready ahead: their order, how many there are at once, and what is left of them."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from pipeline.amazon_reviews import upload_batches
from pipeline.amazon_reviews.reviews.review_files import ReviewFile
from pipeline.amazon_reviews.upload_batches import prepared
from pipeline.errors import BadRowsError, OutputFileError
from pipeline.step_runtime import scratch


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Where the scratch files are."""
    own = tmp_path / "scratch"
    own.mkdir()
    monkeypatch.setattr(scratch, "own_folder", lambda: own)
    return own


def reviews(tmp_path: Path, *rows: str, **options: float) -> ReviewFile:
    file = tmp_path / "train.csv"
    file.write_text("\n".join(["Polarity,Title,Review", *rows]) + "\n")
    return ReviewFile(file, quarantine=tmp_path / "bad.jsonl", **options)


def test_each_batch_is_ready_to_be_published(tmp_path, folder):
    source = reviews(tmp_path, *(f"1,title,text {number}" for number in range(5)))
    with prepared(source, 2, existing={"1.2"}) as batches:
        found = []
        for batch in batches:
            content = batch.csv.read_bytes()
            assert batch.content == hashlib.sha256(content).hexdigest()
            if batch.archive:
                with zipfile.ZipFile(batch.archive) as archive:
                    assert {name: archive.read(name) for name in archive.namelist()} == {batch.csv.name: content}
            found.append((batch.number, batch.version, len(batch.rows), batch.csv.name, batch.archive is not None))
    assert found == [
        (1, "1.1", 2, "reviews_00001.csv", True),
        (2, "1.2", 2, "reviews_00002.csv", False),
        (3, "1.3", 1, "reviews_00003.csv", True),
    ]
    assert list(folder.iterdir()) == []


def test_only_a_few_batches_are_made_ahead(tmp_path, folder, monkeypatch):
    source = reviews(tmp_path, *("1,title,text" for _ in range(20)))
    most = 0
    plain = upload_batches.zipped

    def zipped(file: Path) -> Path:
        nonlocal most
        most = max(most, len(list(folder.iterdir())))
        return plain(file)

    monkeypatch.setattr(upload_batches, "zipped", zipped)
    with prepared(source, 1, existing=()) as batches:
        assert [batch.number for batch in batches] == list(range(1, 21))
    assert most <= upload_batches.AHEAD + 2


def test_what_is_not_published_is_removed_and_the_thread_ends(tmp_path, folder):
    source = reviews(tmp_path, *("1,title,text" for _ in range(20)))
    with pytest.raises(KeyboardInterrupt), prepared(source, 1, existing=()) as batches:
        next(batches)
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []
    assert "batches" not in {thread.name for thread in threading.enumerate()}


def test_bad_rows_are_an_error_of_who_takes_the_batches(tmp_path):
    source = reviews(tmp_path, "1,title,text", "7,title,text", max_bad=0.0)
    with pytest.raises(BadRowsError), prepared(source, 1, existing=()) as batches:
        list(batches)


def test_a_full_disk_is_an_error_that_names_the_batch(tmp_path, folder, monkeypatch):
    source = reviews(tmp_path, *("1,title,text" for _ in range(4)))

    def zipped(file: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(upload_batches, "zipped", zipped)
    with (
        pytest.raises(OutputFileError, match="batch 1 cannot be written") as found,
        prepared(source, 2, existing=()) as batches,
    ):
        list(batches)
    assert "TMPDIR" in str(found.value.hint)
    assert list(folder.iterdir()) == []
