"""What orchestration costs: the plain process does the work, and both ways must have done the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import overhead
from bench.declaration import BenchmarkError
from bench.overhead import BENCHMARK, Cost
from bench.result import Result, Row
from pipeline.amazon_reviews.reviews import generate

FOUND = {"train_rows": 800, "test_rows": 200, "accuracy": 0.8}


def ran(*, accuracy: float = 0.8, cached: bool = False, models: bool = True) -> dict[str, object]:
    inner = {"name": "train_processing", "task_id": "b", "cached": cached}
    return {
        "steps": [{"name": "data_prepare", "task_id": "a", "cached": False, "steps": [inner]}],
        "models": [{"metrics": {"accuracy": accuracy}}] if models else [],
    }


def test_the_plain_process_splits_learns_and_says_what_it_cost(tmp_path):
    csv = tmp_path / "reviews/reviews.csv"
    csv.parent.mkdir()
    with csv.open("wb") as stream:
        stream.writelines(generate.generate(1_000, 42))
    found, cost = overhead.in_one_process(csv)
    assert (found["train_rows"], found["test_rows"]) == (800, 200)
    assert 0.5 < found["accuracy"] <= 1.0
    assert cost.cpu_s > 0 and cost.peak_mib == found["peak_mib"] > 0


def test_a_plain_process_that_fails_is_an_error_with_its_last_lines(tmp_path):
    with pytest.raises(BenchmarkError, match="no CSV file"):
        overhead.in_one_process(tmp_path / "absent.csv")


def test_the_same_work_is_accepted():
    overhead.require_same_work(ran(accuracy=0.805), FOUND)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"accuracy": 0.7}, "disagree"), ({"cached": True}, "reused"), ({"models": False}, "models")],
)
def test_work_that_was_left_out_or_differs_is_refused(wrong, message):
    with pytest.raises(BenchmarkError, match=message):
        overhead.require_same_work(ran(**wrong), FOUND)


def test_processor_time_is_that_of_the_children_and_of_the_set_ups_processes(tmp_path):
    before = overhead.cpu_s(tmp_path)
    assert overhead.cpu_s(Path(os.devnull)) >= before - 1e-9


def test_the_targets_are_for_the_whole_and_its_worst_process():
    group = "200,000 reviews"
    rows = (
        Row("overhead", overhead.PLAIN, {"seconds": (10.0,), "peak": (2_000.0,)}, group),
        Row("overhead", "its full pipeline", {"seconds": (18.0,)}, group),
        Row("overhead", overhead.PIPELINE, {"seconds": (22.0,), "times": (2.2,), "peak": (900.0,)}, group),
    )
    result = Result("overhead", BENCHMARK.title, BENCHMARK.tables, BENCHMARK.targets, rows)
    assert [(figure.row.name, figure.column.key, figure.met) for figure in result.aimed()] == [
        (overhead.PIPELINE, "times", False),
        (overhead.PIPELINE, "peak", True),
    ]
    assert overhead._cells(Cost(1.0, 2.0)) == {"seconds": (1.0,), "cpu": (2.0,)}
