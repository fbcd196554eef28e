"""The columns of tasks hold what the documents do, and large queries are answered without reading documents."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from clearml_localserver.query.clauses import Clause, beginning, contained
from clearml_localserver.query.compiler import compile_query
from clearml_localserver.query.finder import count, find_all
from clearml_localserver.query.kinds import TASK
from clearml_localserver.query.select import READS_DOCUMENT
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import task_figures
from clearml_localserver.tables.tasks import types_in_use

from tests.unit.localserver.query_world import COMPANY, Query, open_tx

ODD_TAGS: list[Any] = [
    [],
    None,
    ["archived"],
    ["hidden", "archived"],
    ['x"archived'],
    ['["archived"'],
    [',"archived"'],
    ["archived\\"],
    ["Archived"],
    ["xarchived"],
    ["ärchived", "archived "],
    ["dataset", "a'b", "über", 'quoted "tag"', "back\\slash"],
]


@pytest.fixture(scope="module")
def tx() -> Tx:
    tx = open_tx()
    for number, tags in enumerate(ODD_TAGS):
        task = {"id": f"t{number}", "company": COMPANY, "name": f"run {number}", "type": "training", "project": "p"}
        moments = {"started": "2026-01-01T00:00:00.000Z", "completed": f"2026-01-01T00:00:{number:02d}.000Z"}
        tx.put("task", task | moments | {"status": "completed"} | ({} if tags is None else {"system_tags": tags}))
    return tx


def found(tx: Tx, body: dict[str, Any]) -> set[str]:
    query = {"search_hidden": True} | body
    ids = {task["id"] for task in find_all(tx, "task", Query(query))}
    assert count(tx, "task", query, COMPANY) == len(ids)
    return ids


@pytest.mark.parametrize("tag", sorted({tag for tags in ODD_TAGS for tag in tags or []} | {"chived", "x"}))
def test_a_tag_is_found_exactly(tx: Tx, tag: str) -> None:
    having = {f"t{number}" for number, tags in enumerate(ODD_TAGS) if tag in (tags or [])}
    assert found(tx, {"system_tags": [tag]}) == having
    assert found(tx, {"system_tags": [f"-{tag}"]}) == {f"t{number}" for number in range(len(ODD_TAGS))} - having
    assert found(tx, {"system_tags": [f"-{tag}"], "project": ["p"], "page_size": 50, "order_by": ["-last_update"]}) == (
        {f"t{number}" for number in range(len(ODD_TAGS))} - having
    )


def test_figures_of_a_project_leave_the_archived_out(tx: Tx) -> None:
    ((project, status, number, seconds, later, _),) = task_figures(tx, ["p"], [], "2026-01-01T00:00:05.000Z")
    active = [number for number, tags in enumerate(ODD_TAGS) if "archived" not in (tags or [])]
    assert (project, status, number) == ("p", "completed", len(active))
    assert (seconds, later) == (sum(active), sum(number > 5 for number in active))


def test_types_in_use_are_those_of_the_projects_tasks(tx: Tx) -> None:
    other = open_tx()
    for number, (kind, project) in enumerate([("b", "p"), ("a", "p"), ("b", "q"), ("c", "q"), ("d", "elsewhere")]):
        company = "another" if kind == "d" else COMPANY
        other.put("task", {"id": str(number), "type": kind, "project": project, "company": company})
    assert types_in_use(other, COMPANY, []) == ["a", "b", "c"]
    assert types_in_use(other, COMPANY, ["p"]) == ["a", "b"]
    assert types_in_use(open_tx(), COMPANY, []) == []


def test_columns_are_what_the_documents_hold(tx: Tx) -> None:
    names = sorted(TASK.columns - {"tags", "system_tags"})
    for row in tx.rows(f"SELECT doc, {', '.join('field_' + name for name in names)} FROM task"):
        document = json.loads(row[0])
        assert list(row[1:]) == [document.get(name) for name in names]


@pytest.mark.parametrize(
    "body",
    [
        {"project": ["p"], "order_by": ["-last_update"], "system_tags": ["-archived"]},
        {"project": ["p"], "order_by": ["name"], "status": ["failed"], "tags": ["seeded"]},
        {"project": ["p"], "include_subprojects": True, "type": ["training"], "user": ["u"]},
        {"project": ["p"], "name": "^task\\ 0( #[0-9]+)?$", "order_by": ["-created"]},
        {"order_by": ["-created"], "system_tags": ["__$all", "dataset", "__$not", "archived"]},
        {"type": ["controller"], "order_by": ["-created"], "system_tags": ["__$all", "pipeline", "__$not", "archived"]},
        {"status": ["completed"], "order_by": ["last_iteration"]},
    ],
)
def test_much_is_counted_and_sorted_without_reading_documents(body: dict[str, Any]) -> None:
    select = compile_query(TASK, body | {"search_hidden": True, "page": 40, "page_size": 50}, COMPANY)
    assert select.index
    assert not READS_DOCUMENT.search(select.count().sql)
    assert f"INDEXED BY {select.index}" in select.count().sql or "FROM task_tally" in select.count().sql
    assert "SELECT rowid" in select.statement().sql


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"project": ["p"]},
        {"project": ["p", "q"], "system_tags": ["-archived"], "status": ["completed"]},
        {"project": ["-p"], "type": ["training"], "system_tags": ["archived"]},
        {"status": ["__$not", "failed"]},
    ],
)
def test_what_is_tallied_is_not_counted(body: dict[str, Any]) -> None:
    select = compile_query(TASK, body | {"search_hidden": True, "page": 0, "page_size": 50}, COMPANY)
    assert "FROM task_tally" in select.count().sql
    assert "FROM task_tally" not in select.narrowed(Clause("field_name = ?", ("x",))).count().sql


@pytest.mark.parametrize(
    "body", [{"name": "^a"}, {"tags": ["x"]}, {"search_hidden": None}, {"id": ["a"]}, {"created": ["2026-01-01", None]}]
)
def test_what_is_not_tallied_is_counted(body: dict[str, Any]) -> None:
    select = compile_query(TASK, {"search_hidden": True} | body, COMPANY)
    assert "FROM task_tally" not in select.count().sql


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        (r"^task\ 0( #[0-9]+)?$", "task 0"),
        ("^abc?", "ab"),
        ("^abc*", "ab"),
        ("^abc{0,2}", "ab"),
        ("^abc+", "abc"),
        ("^abc.d", "abc"),
        ("^abc|d", ""),
        ("^(?i)abc", ""),
        ("^a(?i:b)", ""),
        ("abc", ""),
        (r"^\d", ""),
    ],
)
def test_the_beginning_of_a_pattern(pattern: str, start: str) -> None:
    assert beginning(pattern) == start


def test_a_pattern_with_a_beginning_finds_the_same(tx: Tx) -> None:
    assert found(tx, {"name": "^run 1[01]?$"}) == {"t1", "t10", "t11"}
    assert found(tx, {"name": "^run 1[01]?$", "project": ["p"]}) == {"t1", "t10", "t11"}
    assert found(tx, {"name": "^runs? 3"}) == {"t3"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"a\ b\.c", "a b.c"),
        ("%_^", ""),
        (re.escape("%_^"), "%_^"),
        ("a.c", ""),
        ("ab$", ""),
        ("^ab", ""),
        ("über", ""),
    ],
)
def test_a_pattern_that_is_plain_text(pattern: str, text: str) -> None:
    assert contained(pattern) == text


SEARCHED = {
    "a": {"name": "Learning_Rate 10%", "tags": ["über", 'quoted "tag"'], "comment": "back\\slash"},
    "b": {
        "name": "learningXrate 10 percent",
        "tags": ["ab", "cd"],
        "hyperparams": {"Args": {"lr": {"value": "0.5^2"}}},
    },
    "c": {"name": "other", "hyperparams": {"Args": {"lr": {"value": 'say "Yes"'}, "a b": {"value": "learning_rate"}}}},
}


@pytest.mark.parametrize("fields", [["name", "id", "comment", "tags"], ["name", "tags", "hyperparams.Args.lr.value"]])
@pytest.mark.parametrize(
    "text",
    [
        "learning_rate",
        "LEARNING",
        "10%",
        "_",
        "^",
        'quoted "tag"',
        '"',
        "\\",
        '"yes"',
        "ab",
        "abcd",
        'b","c',
        "über",
        "ÜBER",
        "a",
    ],
)
def test_a_text_is_found_as_by_the_regular_expression(fields: list[str], text: str) -> None:
    world = open_tx()
    for id_, task in SEARCHED.items():
        world.put("task", {"id": id_, "company": COMPANY} | task)

    def values(task: dict[str, Any], id_: str) -> list[str]:
        named = {
            "id": id_,
            "hyperparams.Args.lr.value": task.get("hyperparams", {}).get("Args", {}).get("lr", {}).get("value", ""),
        }
        return [item for name in fields for item in _texts(named.get(name, task.get(name, "")))]

    expected = {
        id_
        for id_, task in SEARCHED.items()
        if any(re.search(re.escape(text), value, re.IGNORECASE) for value in values(task, id_))
    }
    assert found(world, {"_any_": {"fields": fields, "pattern": re.escape(text)}}) == expected


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
