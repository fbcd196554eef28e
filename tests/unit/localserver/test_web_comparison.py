"""What differs between tasks, models and dataset versions, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.csv_lines import csv_line, harmless
from clearml_localserver.web import columns, comparison
from clearml_localserver.web.conditions import ConditionError, query_of, read_condition
from clearml_localserver.web.views.tasks import DatasetFile


def test_colours_of_many_tasks_all_differ() -> None:
    assert len(set(comparison.colours(50))) == 50
    assert all(len(colour) == 7 and colour.startswith("#") for colour in comparison.colours(50))


def test_a_difference_of_json_is_told_line_by_line() -> None:
    found = comparison.line_difference('{"a": 1, "b": 2}', '{"b": 3, "a": 1}')
    assert found is not None
    assert [line for line in found.lines if line[0] in ("added", "removed")] == [
        ("removed", '  "a": 1,'),
        ("removed", '  "b": 2'),
        ("added", '  "b": 3,'),
        ("added", '  "a": 1'),
    ]


@pytest.mark.parametrize(("first", "second"), [("x", "x"), ('{"a": 1}', '{"a":1}'), (None, None), (None, "")])
def test_texts_that_say_the_same_do_not_differ(first: str | None, second: str | None) -> None:
    assert comparison.line_difference(first, second) is None


def test_very_long_texts_differ_without_being_compared() -> None:
    found = comparison.line_difference("a\n" * 3000, "b\n" * 3000)
    assert found is not None and found.too_long and found.lines == []


def test_a_difference_is_cut_where_a_page_has_no_more_room() -> None:
    found = comparison.line_difference("", "\n".join("x" * 1000 for _ in range(1000)))
    assert found is not None
    assert sum(len(line) for _, line in found.lines) <= comparison.MAX_DIFFERENCE + 1000


def test_files_of_versions_are_added_changed_and_removed() -> None:
    def files(*items: tuple[str, int | None, str]) -> dict[str, DatasetFile]:
        return {name: DatasetFile(name, size, digest) for name, size, digest in items}

    base = files(("kept", 1, "a"), ("changed", 1, "b"), ("gone", 1, "c"), ("link", 5, ""))
    other = files(("kept", 1, "a"), ("changed", 1, "x"), ("new", 1, "d"), ("link", 6, ""))
    found = comparison.file_changes(base, other)
    assert [file.name for file in found.added] == ["new"]
    assert [before.name for before, _ in found.changed] == ["changed", "link"]
    assert [file.name for file in found.removed] == ["gone"]
    assert found.same == 1


@pytest.mark.parametrize("name", ["a.b", "100 %", "%2E", "a<=b", "x=1", " ", "€", '"', "a&b"])
def test_the_key_of_a_column_leads_back_to_its_name(name: str) -> None:
    for key in (columns.parameter_key("Args", name), columns.metric_key("last", name, "v"), columns.runtime_key(name)):
        column = columns.read_column(key)
        assert column is not None and name in column.parts
    condition = read_condition(f"{columns.parameter_key('Args', name)}=1")
    assert condition.column.parts == ["Args", name]


@pytest.mark.parametrize(
    "key", ["", "last", "last.a", "last.a.b.c", "hyperparams.Args", "runtime", "last..x", "nonsense"]
)
def test_other_keys_name_no_column(key: str) -> None:
    assert columns.read_column(key) is None


@pytest.mark.parametrize("written", ["", "=", "last.a.b", "last.a.b>1", "last.a.b>=nan", "last.a.b>=inf", "name=x"])
def test_conditions_that_cannot_be_looked_for_are_refused(written: str) -> None:
    with pytest.raises(ConditionError):
        read_condition(written)


def test_one_odd_task_displaces_no_column_in_which_most_tasks_differ() -> None:
    def task(**parameters: str) -> dict[str, Any]:
        items = {name: {"value": value} for name, value in parameters.items()}
        return {"hyperparams": {"General": items}, "last_metrics": {}}

    tasks = [task(lr=str(number), seed=str(number % 3), same="x") for number in range(9)]
    odd = task(**dict.fromkeys("abcdef", "1"), lr="7", same="x")
    found = columns.differing([*tasks, odd])
    assert found == [columns.parameter_key("General", name) for name in ("a", "b", "lr", "seed")]


def test_conditions_on_one_column_narrow_each_other() -> None:
    path = columns.read_column("last.a.b").path  # type: ignore[union-attr]
    bounds = [read_condition(f"last.a.b{bound}") for bound in (">=1", ">=2", "<=9", "<=8")]
    assert query_of(bounds, {}) == {path: [2.0, 8.0]}


def test_more_values_than_a_request_may_name_are_refused() -> None:
    condition = read_condition("hyperparams.Args.lr>=0")
    with pytest.raises(ConditionError, match="more than 1,000 values"):
        query_of([condition], {"hyperparams.Args.lr": [str(value) for value in range(1001)]})


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("-0.5", "-0.5"), ("-x", "'-x"), (-1, -1), (["a", "b"], "a, b"), (None, None)],
)
def test_no_cell_of_csv_is_a_formula(cell: object, written: object) -> None:
    assert harmless(cell) == written


def test_a_line_of_csv_has_no_character_that_python_310_or_a_spreadsheet_refuses() -> None:
    assert csv_line(["a\0b", 3, None, 'say "x", y']) == 'ab,3,,"say ""x"", y"\r\n'
