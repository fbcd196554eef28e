from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.nltk_reference import REFERENCE
from pipeline.amazon_reviews.reviews import tables
from pipeline.amazon_reviews.reviews.generate import generate
from pipeline.amazon_reviews.reviews.pace import Pace
from pipeline.amazon_reviews.reviews.processing import preprocess_file
from pipeline.amazon_reviews.reviews.review_files import SCHEMA
from pipeline.amazon_reviews.reviews.text import preprocess
from pipeline.errors import BadRowsError, DataError, InputFileError, OutputFileError
from tests.unit.pipeline.test_text import hostile_texts

ROWS = 1_000


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 100)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"".join(generate(ROWS, 3)))
    return path


@pytest.fixture
def frame(csv: Path) -> pl.DataFrame:
    return pl.read_csv(csv, has_header=False, schema=SCHEMA)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_csv_to_parquet(csv: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    expected = preprocess(frame)

    counts = preprocess_file(csv, tmp_path / "out.parquet")

    assert pl.read_parquet(tmp_path / "out.parquet").equals(expected)
    assert (counts.rows, counts.texts, counts.reading.bad) == (ROWS, ROWS, 0)
    assert counts.words == len(expected["corpus"].explode().filter(expected["corpus"].explode() != ""))
    assert {path.name for path in tmp_path.iterdir()} == {"reviews.csv", "out.parquet"}


@pytest.mark.slow
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(reviews=st.lists(st.none() | hostile_texts, max_size=40), size=st.integers(1, 10))
def test_files_equal_the_reference(
    nltk_corpus: REFERENCE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reviews: list[str | None], size: int
) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", size)
    pl.DataFrame({"Review": reviews}, schema={"Review": pl.String}).write_parquet(tmp_path / "in.parquet")

    preprocess_file(tmp_path / "in.parquet", tmp_path / "out.parquet", require_texts=False)

    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out["Review"].to_list() == reviews
    assert out["corpus"].to_list() == [nltk_corpus(review) for review in reviews]


@pytest.mark.parametrize("row_group", [7, 100, 333, 5_000])
def test_the_same_rows_are_the_same_bytes(csv: Path, frame: pl.DataFrame, tmp_path: Path, row_group: int) -> None:
    frame.write_parquet(tmp_path / "in.parquet", row_group_size=row_group, compression="snappy")

    preprocess_file(csv, tmp_path / "from_csv.parquet")
    preprocess_file(tmp_path / "in.parquet", tmp_path / "from_parquet.parquet")

    assert digest(tmp_path / "from_csv.parquet") == digest(tmp_path / "from_parquet.parquet")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("bounds", [(0, ROWS), (0, 0), (0, 1), (99, 101), (250, 700), (ROWS - 1, ROWS), (ROWS, ROWS)])
def test_a_range_of_rows(csv: Path, frame: pl.DataFrame, tmp_path: Path, kind: str, bounds: tuple[int, int]) -> None:
    source = csv
    if kind == "parquet":
        source = tmp_path / "in.parquet"
        tables.write_parquet(source, tables.slices(frame))

    counts = preprocess_file(source, tmp_path / "part.parquet", rows=bounds, require_texts=False)

    assert pl.read_parquet(tmp_path / "part.parquet").equals(preprocess(frame[slice(*bounds)]))
    assert counts.rows == bounds[1] - bounds[0]


def test_a_range_reads_only_its_row_groups(frame: pl.DataFrame, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    tables.write_parquet(source, tables.slices(frame))
    content = bytearray(source.read_bytes())
    content[4 : len(content) // 3] = bytes(len(content) // 3 - 4)  # the first row groups are unreadable
    source.write_bytes(content)

    preprocess_file(source, tmp_path / "part.parquet", rows=(ROWS // 2, ROWS))

    assert pl.read_parquet(tmp_path / "part.parquet").equals(preprocess(frame[ROWS // 2 :]))
    with pytest.raises(InputFileError, match="cannot be read as parquet"):
        preprocess_file(source, tmp_path / "other.parquet", rows=(0, 10))


def test_parts_joined_are_the_whole_byte_for_byte(frame: pl.DataFrame, tmp_path: Path) -> None:
    source, whole = tmp_path / "in.parquet", tmp_path / "whole.parquet"
    tables.write_parquet(source, tables.slices(frame))
    preprocess_file(source, whole)

    parts = [tmp_path / f"part{number}.parquet" for number in range(3)]
    for part, bounds in zip(parts, [(0, 310), (310, 311), (311, ROWS)], strict=True):
        preprocess_file(source, part, rows=bounds)
    tables.join_parquet(parts, tmp_path / "joined.parquet")

    assert digest(tmp_path / "joined.parquet") == digest(whole)


def test_only_parquet_of_one_schema_is_joined(csv: Path, frame: pl.DataFrame, tmp_path: Path) -> None:
    frame.write_parquet(tmp_path / "a.parquet")
    frame.drop("Title").write_parquet(tmp_path / "b.parquet")

    for other in (csv, tmp_path / "b.parquet"):
        with pytest.raises(InputFileError, match="is not a parquet file with the columns of"):
            tables.join_parquet([tmp_path / "a.parquet", other], tmp_path / "out.parquet")


def test_progress_is_told_after_each_batch(csv: Path, tmp_path: Path) -> None:
    seen: list[Pace] = []

    preprocess_file(csv, tmp_path / "out.parquet", progress=seen.append)

    assert [pace.rows for pace in seen] == list(range(100, ROWS + 1, 100))
    assert seen[-1].share == 1.0
    assert all(a.share <= b.share and a.seconds <= b.seconds for a, b in itertools.pairwise(seen))


def write(path: Path, **columns: pl.Series) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"Review": pl.Series([], dtype=pl.String)}, "holds no text in any of its 0 rows"),
        ({"Review": pl.Series([None] * 3, dtype=pl.String)}, "holds no text in any of its 3 rows"),
        ({"Text": pl.Series(["x"])}, "column 'Review' is not in the data, which has 'Text'"),
        ({"Review": pl.Series([1])}, "column 'Review' holds Int64, not text"),
    ],
)
def test_unfit_data_leaves_nothing(tmp_path: Path, columns: dict[str, pl.Series], message: str) -> None:
    source = write(tmp_path / "in.parquet", **columns)

    with pytest.raises(DataError, match=message):
        preprocess_file(source, tmp_path / "out.parquet")

    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_texts_without_words_are_counted(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", Review=pl.Series(["", "the", None, "feet the geese"]))

    counts = preprocess_file(source, tmp_path / "out.parquet")

    assert (counts.rows, counts.texts, counts.words) == (4, 3, 2)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_that_are_not_there(csv: Path, frame: pl.DataFrame, tmp_path: Path, kind: str) -> None:
    frame.write_parquet(tmp_path / "in.parquet")
    source = csv if kind == "csv" else tmp_path / "in.parquet"

    with pytest.raises(DataError, match=r"has no rows 900 to 1,001: it ends before"):
        preprocess_file(source, tmp_path / "out.parquet", rows=(900, ROWS + 1))

    assert not (tmp_path / "out.parquet").exists()


def test_bad_rows(csv: Path, tmp_path: Path) -> None:
    csv.write_bytes(csv.read_bytes() + b'3,"no","polarity"\n')

    counts = preprocess_file(csv, tmp_path / "out.parquet")
    assert (counts.rows, counts.reading.bad) == (ROWS, 1)
    assert (tmp_path / "out.parquet.quarantine.jsonl").exists()

    with pytest.raises(BadRowsError):
        preprocess_file(csv, tmp_path / "none.parquet", max_bad=0)
    assert not (tmp_path / "none.parquet").exists()


def test_disk_that_fills_in_the_middle(csv: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    target.write_text("old")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from pipeline.amazon_reviews.reviews import tables, processing\n"
        "tables.BATCH_ROWS = 100\n"
        "source, target = map(Path, sys.argv[1:])\n"
        "size = 40_000  # some batches are written, then no more\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "processing.preprocess_file(source, target)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(csv), str(target)], capture_output=True, text=True, timeout=60
    )

    assert f"OutputFileError: cannot write {target}: " in done.stderr
    assert {path.name: path.read_bytes()[:3] for path in tmp_path.iterdir() if path != csv} == {"out.parquet": b"old"}


def test_output_that_cannot_be(csv: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputFileError):
        preprocess_file(csv, csv / "below a file")
