from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from plotly.graph_objects import Figure
from sklearn.model_selection import train_test_split

from pipeline.amazon_reviews.reviews.frames import class_counts, preview, read_reviews, split, split_rows
from pipeline.amazon_reviews.reviews.plots import class_distribution
from pipeline.amazon_reviews.reviews.review_files import SCHEMA
from pipeline.errors import DataError, InputFileError


def reviews(negative: int, positive: int) -> pl.DataFrame:
    polarities = [1] * negative + [2] * positive
    rows = [(polarity, f"t{number}", f"review {number}") for number, polarity in enumerate(polarities)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_files_are_read_in_sorted_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name, title in (("b/1.csv", "third"), ("a.csv", "first"), ("a2.csv", "second"), ("notes.txt", "no")):
        (tmp_path / name).write_text(f"Polarity,Title,Review\n1,{title},x\n")

    assert read_reviews(tmp_path)["Title"].to_list() == ["first", "second", "third"]


def test_types_are_fixed_and_nulls_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('Review,Polarity,Title,Extra\n12,1,"",x\n,2,,y\n')

    frame = read_reviews(tmp_path)

    assert dict(frame.schema) == SCHEMA
    assert frame.rows() == [(1, "", "12"), (2, None, None)]


def test_kaggle_file_without_header(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('"2","t","x"\n"1","u","y"\n')

    assert read_reviews(tmp_path).rows() == [(2, "t", "x"), (1, "u", "y")]


def test_what_the_split_writes_is_read_unchanged(tmp_path: Path) -> None:
    frame = pl.DataFrame({"Polarity": [1, 2, 1], "Title": ["", None, 'a"b'], "Review": ["x\ny", None, ","]})
    frame.write_csv(tmp_path / "raw_train.csv")

    assert read_reviews(tmp_path).equals(frame)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no CSV file in"),
        ({"a.txt": "1,2,3"}, "there is no CSV file in"),
        ({"a.csv": ""}, "is not a review file"),
        ({"a.csv": "x,y\n1,2\n"}, "has no columns Polarity, Title, Review: its first row reads x, y"),
        ({"a.csv": "Polarity,Title,Review\none,t,x\n"}, "is not a review file"),
        ({"a.csv": "Polarity,Title,Review\n3,t,x\n,t,x\n1,t,x\n"}, "2 of 3 reviews in"),
    ],
)
def test_unfit_folders(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    with pytest.raises(InputFileError) as caught:
        read_reviews(tmp_path)
    assert message in caught.value.message


def test_split_is_stratified_and_reproducible() -> None:
    frame = reviews(30, 70)

    train, test = split(frame, test_size=0.2, random_state=42)
    again = split(frame, test_size=0.2, random_state=42)

    assert class_counts(train)["reviews"].to_list() == [24, 56]
    assert class_counts(test)["reviews"].to_list() == [6, 14]
    assert pl.concat([train, test]).sort("Title").equals(frame.sort("Title"))
    assert train.equals(again[0])
    assert test.equals(again[1])
    assert not test.equals(split(frame, test_size=0.2, random_state=43)[1])


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("rows", [(2, 2), (7, 3), (10, 10), (501, 499), (1, 9), (333, 1_000)])
def test_the_rows_are_those_that_scikit_learn_chooses(rows: tuple[int, int], stratify: bool) -> None:
    polarity = np.random.default_rng(0).permutation([1] * rows[0] + [2] * rows[1])
    numbers = np.arange(len(polarity))
    classes = polarity if stratify else None
    for seed in (0, 1, 42, 2**32 - 1):
        for share in (0.1, 0.2, 0.25, 1 / 3, 0.5, 0.75, 0.99):
            try:
                expected = train_test_split(numbers, test_size=share, random_state=seed, stratify=classes)
            except ValueError:
                with pytest.raises(DataError):
                    split_rows(pl.Series(polarity), test_size=share, random_state=seed, stratify=stratify)
                continue
            found = split_rows(pl.Series(polarity), test_size=share, random_state=seed, stratify=stratify)
            assert [part.tolist() for part in found] == [part.tolist() for part in expected]


def test_splitting_does_not_import_scikit_learn() -> None:
    code = "import sys, pipeline.amazon_reviews.step_work; print('sklearn' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_split_without_strata() -> None:
    train, test = split(reviews(1, 9), test_size=0.5, random_state=0, stratify=False)

    assert (len(train), len(test)) == (5, 5)


@pytest.mark.parametrize(
    ("frame", "stratify", "message"),
    [
        (reviews(1, 9), True, "of 10 reviews fewer than 2 are negative"),
        (reviews(0, 0), True, "of 0 reviews fewer than 2 are negative and positive"),
        (reviews(2, 2), True, "cannot split 4 reviews with test_size 0.2"),
        (reviews(1, 0), False, "cannot split 1 reviews with test_size 0.2"),
    ],
)
def test_too_few_reviews(frame: pl.DataFrame, stratify: bool, message: str) -> None:
    with pytest.raises(DataError) as caught:
        split(frame, test_size=0.2, random_state=0, stratify=stratify)
    assert message in caught.value.message
    assert caught.value.hint


def test_class_counts() -> None:
    assert class_counts(reviews(0, 3)).rows() == [(1, "negative", 0, 0.0), (2, "positive", 3, 1.0)]
    assert class_counts(reviews(0, 0))["share"].to_list() == [0.0, 0.0]


def test_preview() -> None:
    frame = pl.DataFrame({"n": [1, None, 3], "corpus": [["a", "b"], None, ["x" * 50]]})

    assert preview(frame, rows=2) == [["n", "corpus"], ["1", "a b"], ["", ""]]
    assert preview(frame.tail(1), width=10)[1] == ["3", "x" * 9 + "…"]


def test_class_distribution_figure() -> None:
    figure = class_distribution({"train": reviews(3, 1), "test": reviews(1, 1)}, "Classes")
    checked = Figure(figure).to_dict()  # plotly's classes refuse a key or a value that they do not know
    assert checked["layout"].pop("template")
    assert checked == figure

    bars = {bar["name"]: (list(bar["x"]), list(bar["y"]), list(bar["text"])) for bar in figure["data"]}
    assert bars == {
        "negative": (["train", "test"], [3, 1], ["3<br>75.0%", "1<br>50.0%"]),
        "positive": (["train", "test"], [1, 1], ["1<br>25.0%", "1<br>50.0%"]),
    }
    assert figure["layout"]["title"]["text"] == "Classes"
    assert figure["layout"]["title"]["subtitle"]["text"] == "6 reviews"
