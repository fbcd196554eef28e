from __future__ import annotations

import json

import pytest

from bench import wording
from bench.result import Column, Result, Row, Table, Target

PACE = Table(
    "pace",
    "Pace",
    (
        Column("seconds", "time", "s"),
        Column("faster", "faster", "x", better="higher", ratio_of="seconds"),
        Column("rate", "rate", "rows/s", better="higher"),
        Column("never", "never measured", "s"),
    ),
    baseline="theirs",
    chart="seconds",
)
ROWS = (
    Row("pace", "theirs", {"seconds": (8.0, 10.0, 12.0), "rate": (100.0,)}, "small"),
    Row("pace", "ours", {"seconds": (1.0, 2.0, 4.0), "rate": (5000.0,)}, "small"),
    Row("pace", "theirs", {"seconds": (30.0,)}, "large", noted=True),
    Row("pace", "ours", {"seconds": (20.0,), "rate": "not asked"}, "large"),
)


def result(*targets: Target, rows: tuple[Row, ...] = ROWS, whole: bool = True) -> Result:
    return Result("pace", "Pace of things", (PACE,), targets, rows, {"command": "task bench-pace"}, whole)


def figures(found: Result, column: str) -> dict[str, object]:
    return {f"{row.group} {row.name}": found.figure(PACE, row, PACE.column(column)) for row in found.rows_of(PACE)}


def test_a_ratio_is_to_the_baseline_of_its_own_group():
    found = {name: figure.values for name, figure in figures(result(), "faster").items()}
    assert found == {"small theirs": (1.0,), "small ours": (5.0,), "large theirs": (1.0,), "large ours": (1.5,)}


def test_a_ratio_of_what_should_be_high_is_the_other_way_round():
    table = Table("pace", "", (Column("rate", "", "", "higher"), Column("x", "", "x", "higher", "rate")), "theirs")
    found = Result("", "", (table,), (), ROWS[:2])
    assert found.figure(table, ROWS[1], table.column("x")).median == 50.0


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("pace", "seconds", 2.0, row="ours", group="small"), [True]),
        (Target("pace", "seconds", 1.9, row="ours", group="small"), [False]),
        (Target("pace", "seconds", 10.0), [True, False]),
        (Target("pace", "rate", 5000.0, group="small"), [True]),
        (Target("pace", "rate", 5001.0, group="small"), [False]),
        (Target("pace", "faster", 1.6), [True, False]),
        (Target("pace", "seconds", 11.0, row="theirs"), [True]),
        (Target("pace", "never", 1.0), []),
        (Target("other", "seconds", 1.0), []),
    ],
)
def test_a_target_is_for_what_was_measured_of_ours_unless_it_names_another(target, met):
    assert [figure.met for figure in result(target).aimed()] == met


def test_a_run_in_part_is_compared_with_no_target():
    assert result(Target("pace", "seconds", 1.0), whole=False).aimed() == []


def test_what_is_written_reads_as_it_was():
    found = result(Target("pace", "seconds", 10.0))
    document = json.loads(json.dumps(found.as_json()))
    assert Result.from_json(document) == found
    assert [(target["what"], target["met"]) for target in document["targets"]] == [
        ("small, ours, time", True),
        ("large, ours, time", False),
    ]
    assert document["rows"][1]["cells"]["seconds"] == {
        "median": 2.0,
        "lowest": 1.0,
        "highest": 4.0,
        "values": [1.0, 2.0, 4.0],
    }


def test_a_table_says_median_spread_target_and_what_is_noted():
    lines = list(wording.lines(result(Target("pace", "seconds", 10.0)), PACE, missed=lambda text: f"!{text}!"))
    assert lines == [
        ["", "", "time", "faster", "rate"],
        ["small", "theirs", "10.0 s (8.00–12.0)", "1.00 ×", "100 rows/s"],
        ["", "ours", "2.00 s (1.00–4.00); target ≤ 10.0 s met", "5.00 ×", "5,000 rows/s"],
        ["large", "theirs (noted)", "30.0 s", "1.00 ×", ""],
        ["", "ours", "20.0 s; !misses its target of ≤ 10.0 s!", "1.50 ×", "not asked"],
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0.00 s"),
        (0.0123, "s", "0.012 s"),
        (0.5, "s", "0.50 s"),
        (12.34, "s", "12.3 s"),
        (1234.5, "s", "1,234 s"),
        (44.4, "MiB", "44 MiB"),
        (121863.4, "rows/s", "121,863 rows/s"),
        (3.14, "x", "3.14 ×"),
        (2126.8, "x", "2,127 ×"),
        (7.0, "", "7.00"),
    ],
)
def test_figures_have_the_digits_that_mean_something(value, unit, text):
    assert wording.shown(value, unit) == text
