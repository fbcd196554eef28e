"""The batches of an upload, made ready while the version before them is published.

A thread reads the rows, writes them as CSV, digests and compresses them; most of that is outside the GIL. It is two
batches ahead at most, so that memory and disk hold three, whatever the size of the file. Outside systems: the review
file, and the folder for scratch files.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.amazon_reviews.reviews.review_files import ReviewFile
from pipeline.datasets.datasets import zipped
from pipeline.errors import OutputFileError
from pipeline.step_runtime import scratch
from pipeline.step_runtime.written import note_of
from pipeline.versions import ROOT, next_batch_version

AHEAD = 1
"""Batches that wait; one more is being made, and one published."""

STOP_POLL_S = 0.2


@dataclass(frozen=True)
class Batch:
    """One batch on its way to its version."""

    source: str
    number: int
    rows: pl.DataFrame
    version: str
    batch_rows: int
    csv: Path
    content: str
    """Digest of the CSV file."""
    archive: Path | None
    """The CSV file compressed, as its version stores it; None where the version is there already."""

    def remove(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.csv.parent, ignore_errors=True)


@contextlib.contextmanager
def prepared(reviews: ReviewFile, batch_rows: int, existing: Collection[str]) -> Iterator[Iterator[Batch]]:
    """Give the batches of a review file in order, each ready to be published; what is left is removed at the end.

    Args:
        reviews: The file.
        batch_rows: Rows of each batch.
        existing: Versions that are there, whose batches are only compared.

    Raises:
        InputFileError: The file cannot be read.
        BadRowsError: Too many of its rows are bad.
        OutputFileError: There is no room for a batch on this machine.
    """
    scratch.own_folder()  # made by the first call, which may not come from two threads at once
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    stop = threading.Event()

    def hand_over(item: Batch | BaseException | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=STOP_POLL_S)
                return
        if isinstance(item, Batch):
            item.remove()

    def make() -> None:
        try:
            for batch in _batches(reviews, batch_rows, existing):
                hand_over(batch)
                if stop.is_set():
                    return
            hand_over(None)
        except BaseException as error:  # whatever it is, it belongs to the thread that waits for the batch
            hand_over(error)

    def taken() -> Generator[Batch, None, None]:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            try:
                yield item
            finally:
                item.remove()

    thread = threading.Thread(target=make, name="batches", daemon=True)
    thread.start()
    given = taken()
    try:
        yield given
    finally:
        given.close()
        stop.set()
        thread.join()
        while not ready.empty():
            left = ready.get_nowait()
            if isinstance(left, Batch):
                left.remove()


def _batches(reviews: ReviewFile, batch_rows: int, existing: Collection[str]) -> Iterator[Batch]:
    version = ROOT
    for number, rows in enumerate(reviews.batches(batch_rows), 1):
        version = next_batch_version([version])
        csv = scratch.scratch_folder() / f"reviews_{number:05d}.csv"
        try:
            rows.write_csv(csv)
            content = note_of(csv)
            archive = None if version in existing else zipped(csv)
        except OSError as error:
            shutil.rmtree(csv.parent, ignore_errors=True)
            raise OutputFileError(
                f"batch {number} cannot be written to {csv.parent}: {error.strerror or error}",
                hint="make room there, or set TMPDIR",
            ) from error
        yield Batch(reviews.path.name, number, rows, version, batch_rows, csv, content, archive)
