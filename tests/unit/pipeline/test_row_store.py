"""Reviews that are written in another order than they came in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipeline.amazon_reviews.reviews import row_store, tables
from pipeline.amazon_reviews.reviews.row_store import RowStore

ROWS = 1_000


@pytest.fixture
def reviews(monkeypatch):
    """Reviews of all lengths, some without a title, and small row groups."""
    monkeypatch.setattr(tables, "BATCH_ROWS", 50)
    return pl.DataFrame(
        {
            "Polarity": [1, 2] * (ROWS // 2),
            "Title": [None if number % 7 == 0 else f"title {number}" for number in range(ROWS)],
            "Review": [f"review {number} {'x' * (number % 90)}" for number in range(ROWS)],
        }
    )


@pytest.mark.parametrize("gathered", [50, 120, 5_000])
@pytest.mark.parametrize("wanted", [1, 49, 640, ROWS])
def test_the_rows_are_written_as_if_they_had_been_in_memory(tmp_path, monkeypatch, reviews, gathered, wanted):
    monkeypatch.setattr(row_store, "GATHERED_ROWS", gathered)
    rows = np.random.default_rng(wanted).permutation(ROWS)[:wanted]
    (tmp_path / "store").mkdir()
    store = RowStore(tmp_path / "store")
    for start, stop in ((0, 1), (1, 400), (400, 400), (400, 999), (999, ROWS)):
        store.add(reviews[start:stop])
    told = []
    store.write(rows, tmp_path / "found.parquet", told.append)
    tables.write_parquet(tmp_path / "expected.parquet", tables.slices(reviews[rows]))
    assert (tmp_path / "found.parquet").read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    assert (store.rows, store.pieces, told[-1]) == (ROWS, 5, wanted)
    assert store.polarity().equals(reviews["Polarity"])
