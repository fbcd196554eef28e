"""Shards: their names, their rows, their place in the graph; and joining refuses what is not one whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.amazon_reviews.reviews import processing, tables
from pipeline.amazon_reviews.reviews.text import CORPUS
from pipeline.controllers.function_steps import add_function_steps
from pipeline.controllers.shard_scheduling import ShardScheduling, refuses_its_data
from pipeline.errors import DataError
from pipeline.graph import sharding
from pipeline.graph.sharding import Shard, require_whole
from pipeline.run_options import IN_PROCESS, RunOptions


@given(rows=st.integers(1, 10_000), shards=st.integers(1, 64))
def test_the_shards_of_a_set_are_all_its_rows_in_order(rows, shards):
    pieces = [sharding.rows_of(number, shards, rows) for number in range(1, shards + 1)]
    assert pieces[0][0] == 0
    assert pieces[-1][1] == rows
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    sizes = [stop - start for start, stop in pieces]
    assert max(sizes) - min(sizes) <= 1


def test_a_run_with_one_shard_has_todays_graph():
    assert DATA_PREPARE.with_shards(1).graph == DATA_PREPARE.graph


def test_shards_stand_before_the_step_that_they_are_of():
    assert DATA_PREPARE.with_shards(2).graph == {
        "train_test_split": (),
        "train_processing_1": ("train_test_split",),
        "train_processing_2": ("train_test_split",),
        "train_processing": ("train_processing_1", "train_processing_2"),
        "test_processing_1": ("train_test_split",),
        "test_processing_2": ("train_test_split",),
        "test_processing": ("test_processing_1", "test_processing_2"),
    }


@pytest.mark.parametrize(
    ("step", "value"),
    [
        ("train_processing", "big"),
        ("train_processing_1", "big"),
        ("train_processing_12", "huge"),
        ("train_processing_x", ""),
        ("test_processing_1", ""),
    ],
)
def test_what_is_set_for_a_step_counts_for_its_shards(step, value):
    assert sharding.value_of({"train_processing": "big", "train_processing_12": "huge"}, step) == value


# Joining

SHARDS = [
    Shard(
        part="train",
        split="s",
        number=number,
        shards=3,
        rows=10,
        start=start,
        stop=stop,
        words=5,
        uri=f"http://files/{number}",
        sha256="0" * 64,
        size=100,
    )
    for number, (start, stop) in enumerate([(0, 3), (3, 6), (6, 10)], 1)
]
ROWS = [3, 3, 4]


def test_a_shard_survives_the_way_to_the_step_that_joins():
    assert [Shard.from_json(shard.to_json()) for shard in SHARDS] == SHARDS
    for text in ("", "[]", "{}", '{"part": "train"}', "None"):
        with pytest.raises(DataError, match="does not say which rows"):
            Shard.from_json(text)


def test_the_files_of_many_shards_are_in_the_order_of_their_rows():
    names = [sharding.file_of("train", number, sharding.MOST_SHARDS) for number in range(1, sharding.MOST_SHARDS + 1)]
    assert names == sorted(set(names))


def test_a_whole_is_accepted():
    require_whole("train", SHARDS, ROWS)


@pytest.mark.parametrize(
    ("shards", "rows", "problem"),
    [
        ([], [], "there are none"),
        (SHARDS[:2], ROWS[:2], "there should be 1 to 3, and there are 1, 2"),
        ([SHARDS[1], SHARDS[0], SHARDS[2]], ROWS, "there are 2, 1, 3"),
        ([SHARDS[0], SHARDS[0], SHARDS[2]], ROWS, "there are 1, 1, 3"),
        (SHARDS, [3, 3, 3], "number of rows of shard 3 is 3 and not 4"),
        ([replace(SHARDS[0], part="test"), *SHARDS[1:]], ROWS, "part of shard 1 is test and not train"),
        ([*SHARDS[:2], replace(SHARDS[2], split="t")], ROWS, "split of shard 3 is t and not s"),
        ([*SHARDS[:2], replace(SHARDS[2], rows=11)], ROWS, "of the whole of shard 3 is 11 and not 10"),
        ([SHARDS[0], replace(SHARDS[1], start=4, stop=7), SHARDS[2]], ROWS, "first row of shard 2 is 4 and not 3"),
        ([replace(shard, rows=11) for shard in SHARDS], ROWS, "they end at row 10 of 11"),
    ],
)
def test_what_is_no_whole_is_refused(shards, rows, problem):
    with pytest.raises(DataError, match=problem):
        require_whole("train", shards, rows)


@pytest.mark.parametrize("shards", [2, 3, 7])
@pytest.mark.parametrize("letters", [1, 40], ids=["a page a row group", "many pages a row group"])
def test_joined_shards_are_the_same_bytes_as_one(tmp_path, monkeypatch, shards, letters):
    monkeypatch.setattr(tables, "BATCH_ROWS", 100)  # row groups that no shard's end falls on
    rows = 1_003
    texts = [
        None if number % 17 == 0 else f"The dogs ate {number} apples, twice {'x' * number * letters}"
        for number in range(rows)
    ]
    raw = tmp_path / "raw.parquet"
    tables.write_parquet(raw, tables.slices(pl.DataFrame({"Polarity": [1] * rows, "Review": texts})))
    whole = tmp_path / "whole.parquet"
    processing.preprocess_file(raw, whole)
    pieces = [tmp_path / f"{number}.parquet" for number in range(1, shards + 1)]
    for number, piece in enumerate(pieces, 1):
        span = sharding.rows_of(number, shards, tables.row_count(raw))
        processing.preprocess_file(raw, piece, rows=span, require_texts=False)
    joined = tmp_path / "joined.parquet"
    tables.join_parquet(pieces, joined)
    assert CORPUS in pl.read_parquet_schema(joined)
    assert hashlib.sha256(joined.read_bytes()).digest() == hashlib.sha256(whole.read_bytes()).digest()


# The controller's side


class Steps:
    """What is added to a controller: step → what it takes, and the names of what it returns."""

    def __init__(self):
        self.added = {}

    def add_function(self, name, function, *, inputs, outputs):
        self.added[name] = (dict(inputs), tuple(outputs))


@pytest.mark.parametrize("taken", [False, True])
def test_one_file_of_all_shards_is_made_only_where_a_step_takes_it(taken):
    steps = dict(DATA_PREPARE.functions)
    if taken:
        frame = "${train_processing.processed_train_dataframe}"
        steps["reader"] = replace(steps["test_processing"], inputs={"raw_test_dataframe": frame}, sharded=None)
    controller = Steps()
    add_function_steps(controller, steps, 2)
    inputs, outputs = controller.added["train_processing"]
    assert inputs["one_file"] == int(taken)
    assert outputs == (("processed_train_dataframe", "dataset_id") if taken else ("dataset_id",))
    assert {name for name in inputs if name.startswith("facts_")} == {"facts_1", "facts_2"}
    assert controller.added["test_processing"][0]["one_file"] == 0
    assert controller.added["test_processing_2"][0]["shard"] == 2


A_JOB = object()


class Node:
    def __init__(self, name, job=A_JOB, executed=None):
        self.name, self.job, self.executed = name, job, executed


@pytest.mark.parametrize(
    ("step", "nodes", "waits"),
    [
        ("train_processing_3", [Node("train_processing_1"), Node("test_processing_1")], True),
        ("train_processing_3", [Node("train_processing_1"), Node("test_processing_1", executed="id")], False),
        ("train_processing_3", [Node("train_processing_1"), Node("test_processing_1", executed=False)], False),
        ("train_processing_3", [Node("train_processing_1"), Node("test_processing_1", job=None)], False),
        ("train_processing_3", [Node("train_processing_1"), Node("train_test_split")], False),
        ("test_processing", [Node("train_processing_1"), Node("train_processing_2")], False),
    ],
)
def test_a_shard_waits_while_as_many_as_may_be_are_under_way(step, nodes, waits):
    shard_scheduling = ShardScheduling(shardable=DATA_PREPARE.shardable, shards=3, at_once=2)
    assert shard_scheduling.must_wait(step, nodes) == waits
    assert not replace(shard_scheduling, at_once=sharding.NO_LIMIT).must_wait(step, nodes)


def test_shards_follow_the_options_of_the_run():
    options = RunOptions(shards=4, retries=2)
    assert ShardScheduling.of_options(options, ()) == ShardScheduling((), 4, sharding.NO_LIMIT, 2)
    assert ShardScheduling.of_options(replace(options, mode=IN_PROCESS), ()).at_once >= 1
    assert ShardScheduling.of_options(replace(options, mode=IN_PROCESS, max_parallel=3), ()).at_once == 3


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("pipeline.errors.DataError: 64 shards are too many: the test set has 50 reviews", False),
        ("pipeline.errors.InputFileError: x cannot be read as parquet: y", False),
        ("pipeline.datasets.datasets.DatasetNotFoundError: dataset version 1 cannot be opened", False),
        ("pipeline.errors.OutputFileError: cannot write x: No space left on device", True),
        ("clearml_access.errors.ServerUnreachableError: no answer", True),
        ("MemoryError: out of memory", True),
        ("Killed", True),
    ],
)
def test_a_shard_that_refuses_its_data_is_not_tried_again(line, again):
    class Server:
        def console(self, task_id, lines):
            return ["Traceback (most recent call last):", line]

    shard_scheduling = ShardScheduling(shardable=DATA_PREPARE.shardable, shards=2, retries=1)
    assert shard_scheduling.is_tried_again(Server(), "train_processing_1", "id", 0) == again
    assert refuses_its_data([line]) != again
    assert not shard_scheduling.is_tried_again(Server(), "train_processing_1", "id", 1)
    assert not shard_scheduling.is_tried_again(Server(), "train_processing", "id", 0)
