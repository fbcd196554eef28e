"""Frames of reviews: read from a folder, split in two, counted by class.

The same folder and parameters give the same frames on every machine: files are read in sorted order (a folder lists
them in any), types are fixed and not guessed, and the split works on row numbers.

The module is pure apart from reading the folder it is given. It must not know ClearML.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipeline.amazon_reviews.reviews.review_files import POLARITY, SCHEMA, require_review_file
from pipeline.amazon_reviews.reviews.row_split import choose
from pipeline.errors import DataError, InputFileError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CLASSES = {1: "negative", 2: "positive"}


def read_reviews(folder: Path) -> pl.DataFrame:
    """Read every CSV file below a folder into one frame, in the order of their names.

    Args:
        folder: Local copy of a dataset.

    Returns:
        A frame with the columns `Polarity`, `Title` and `Review`.

    Raises:
        InputFileError: There is no CSV file, or one of them is not a review file.
    """
    paths = sorted(folder.rglob("*.csv"), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise InputFileError(f"there is no CSV file in {folder}")
    frame = pl.concat([read_file(path) for path in paths])
    require_polarities(frame[POLARITY], str(folder))
    return frame


def require_polarities(polarity: pl.Series, where: str) -> None:
    """Check that all polarities are those of a review.

    Raises:
        InputFileError: Some are not; `where` says what they are in.
    """
    wrong = int((~polarity.is_in(list(CLASSES)) | polarity.is_null()).sum())
    if wrong:
        raise InputFileError(f"{wrong:,} of {len(polarity):,} reviews in {where} have a polarity other than 1 and 2")


def read_file(path: Path) -> pl.DataFrame:
    """Read a CSV file of reviews.

    Raises:
        InputFileError: It is not a review file.
    """
    try:
        require_review_file(path)
        columns = pl.read_csv(path, n_rows=0, infer_schema=False).columns
        if set(SCHEMA) <= set(columns):
            return pl.read_csv(path, schema_overrides=SCHEMA, infer_schema=False).select(*SCHEMA)
        if len(columns) == len(SCHEMA) and columns[0] in {"1", "2"}:  # the Kaggle file has no header
            return pl.read_csv(path, has_header=False, schema=SCHEMA)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputFileError(f"{path} is not a review file: {str(error).splitlines()[0]}") from error
    raise InputFileError(f"{path} has no columns {', '.join(SCHEMA)}: its first row reads {', '.join(columns)[:200]}")


def split(
    frame: pl.DataFrame, *, test_size: float, random_state: int, stratify: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split reviews at random into a train and a test frame.

    Args:
        frame: Reviews.
        test_size: Share of the test frame, between 0 and 1.
        random_state: Seed; the same one gives the same split.
        stratify: Keep each class's share equal in both frames.

    Returns:
        The train frame and the test frame.

    Raises:
        DataError: There are too few reviews, in all or of one class.
    """
    train, test = split_rows(frame[POLARITY], test_size=test_size, random_state=random_state, stratify=stratify)
    return frame[train], frame[test]


def split_rows(
    polarity: pl.Series, *, test_size: float, random_state: int, stratify: bool = True
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the row numbers of the train and the test frame of `split`: for who cannot hold the frames, too.

    Raises:
        DataError: As `split`.
    """
    frame = polarity.to_frame(POLARITY)
    counts = class_counts(frame)
    rare = counts.filter(pl.col("reviews") < 2)
    if stratify and len(rare):
        raise DataError(
            f"of {len(frame):,} reviews fewer than 2 are {' and '.join(rare['class'])}, too few to split by class",
            hint="use a larger dataset version, or switch stratification off",
        )
    try:
        return choose(
            len(frame),
            test_size=test_size,
            random_state=random_state,
            classes=polarity.to_numpy() if stratify else None,
        )
    except ValueError as error:
        raise DataError(
            f"cannot split {len(frame):,} reviews with test_size {test_size}: {error}",
            hint="use a larger dataset version, or another test_size",
        ) from error


def class_counts(frame: pl.DataFrame) -> pl.DataFrame:
    """Count the reviews of each class.

    Args:
        frame: Reviews.

    Returns:
        A row for each class, those without reviews included: `Polarity`, `class`, `reviews`, `share`.
    """
    classes = pl.DataFrame(
        {POLARITY: list(CLASSES), "class": list(CLASSES.values())}, schema_overrides={POLARITY: pl.Int64}
    )
    counts = frame.group_by(POLARITY).agg(reviews=pl.len().cast(pl.Int64))
    return (
        classes.join(counts, on=POLARITY, how="left")
        .with_columns(pl.col("reviews").fill_null(0))
        .with_columns(share=(pl.col("reviews") / pl.col("reviews").sum()).fill_nan(0.0))
        .sort(POLARITY)
    )


def preview(frame: pl.DataFrame, rows: int = 10, width: int = 160) -> list[list[str]]:
    """Return the first rows as a table of short texts, header first, as ClearML's `report_table` takes it.

    Args:
        frame: Any frame.
        rows: Rows to show.
        width: Characters after which a text is cut.
    """
    return [frame.columns, *([_cell(value, width) for value in row] for row in frame.head(rows).iter_rows())]


def _cell(value: object, width: int) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"
