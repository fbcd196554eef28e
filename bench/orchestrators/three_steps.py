"""What the steps of DataPrepare work on and make, as plain functions of files: no server, no dataset versions."""

from __future__ import annotations

from pathlib import Path

PARTS = ("train", "test")
TEST_SIZE = 0.2
SEED = 42


def split(reviews: Path, work: Path) -> dict[str, Path]:
    """Split the reviews below a folder; return the part's raw frame (a parquet file) by part."""
    from pipeline.amazon_reviews.reviews import frames, tables

    frame = frames.read_reviews(reviews)
    found = {}
    for part, rows in zip(PARTS, frames.split(frame, test_size=TEST_SIZE, random_state=SEED), strict=True):
        found[part] = work / f"raw_{part}.parquet"
        tables.write_parquet(found[part], tables.slices(rows))
    return found


def process(part: str, raw: Path, work: Path) -> Path:
    """Preprocess the texts of one part; return its processed frame (a parquet file)."""
    from pipeline.amazon_reviews.reviews.processing import preprocess_file

    processed = work / f"processed_{part}.parquet"
    preprocess_file(raw, processed, column="Review")
    return processed
