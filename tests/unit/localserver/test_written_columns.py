"""The columns of tasks that the store writes: equal to what the documents hold, whoever writes the document."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from clearml_localserver import document_columns
from clearml_localserver.store import Connection, Tx

from tests.unit.localserver.query_world import COMPANY, migrations, open_connection

STEP = "0041_written_columns.sql"
COMPUTED = ("field_archived", "field_run_s")

TASKS: dict[str, dict[str, Any]] = {
    "empty": {},
    "plain": {"company": COMPANY, "name": "a run", "type": "training", "status": "created", "last_iteration": 3},
    "nulls": dict.fromkeys((*document_columns.VALUES, "system_tags", "runtime", "models")),
    "odd values": {"name": ["a", {"b": 1}], "comment": {"c": "ü"}, "parent": True, "project": 1.5, "user": ""},
    "large numbers": {"last_iteration": 2**63, "active_duration": -(2**63)},
    "text": {"name": 'a "quoted" ü 😀 \\ text', "comment": "line\nline"},
    "archived": {"system_tags": ["hidden", "archived"], "tags": ["a", 'b"c']},
    "ended": {"started": "2026-01-01T00:00:00.000000+00:00", "completed": "2026-01-01T00:01:01.600000+00:00"},
    "backwards": {"started": "2026-01-01T00:01:00Z", "completed": "2026-01-01T00:00:00Z", "active_duration": 5},
    "running": {"started": "2026-01-01T00:00:00Z", "active_duration": 90},
    "cached": {"runtime": {"pipeline_job_hash": "AbC1", "other": 1}},
    "odd runtime": {"runtime": ["pipeline_job_hash"]},
    "models": {"models": {"input": [{"model": "m1", "name": "x"}], "output": [{"model": "m2"}, {"model": "m3"}]}},
    "one list": {"models": {"output": [{"name": "without an id"}, {"model": "m2"}]}},
    "no models": {"models": {"input": [], "output": [{"name": "without an id"}]}},
}


def columns(connection: sqlite3.Connection) -> dict[str, tuple[Any, ...]]:
    names = ", ".join((*document_columns.NAMES, *COMPUTED))
    return {id_: tuple(row) for id_, *row in connection.execute(f"SELECT id, {names} FROM task ORDER BY rowid")}


def listed_models(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT task, type, model FROM task_model"))


TALLIED = "field_project, field_company, field_archived, field_status, field_type"


def assert_tallied(connection: sqlite3.Connection) -> None:
    """Assert that the kept numbers of tasks are those that counting finds."""
    counted = set(connection.execute(f"SELECT {TALLIED}, count(*) FROM task GROUP BY 1, 2, 3, 4, 5"))
    assert set(connection.execute(f"SELECT {TALLIED}, count FROM task_tally")) == counted


EXPECTED_MODELS = {
    ("models", "input", "m1"),
    ("models", "output", "m2"),
    ("models", "output", "m3"),
    ("one list", "output", "m2"),
}


def fill(connection: Connection) -> None:
    for id_, task in TASKS.items():
        Tx(connection).put("task", {"id": id_} | task)


def test_the_store_writes_what_the_triggers_take_from_the_document() -> None:
    connection = open_connection()
    fill(connection)
    written = columns(connection)
    assert listed_models(connection) == EXPECTED_MODELS
    connection.execute(f"UPDATE task SET {', '.join(f'{name} = NULL' for name in document_columns.NAMES)}")
    assert listed_models(connection) == set()
    connection.execute("UPDATE task SET doc = doc")
    assert columns(connection) == written
    assert listed_models(connection) == EXPECTED_MODELS
    assert_tallied(connection)


def test_a_document_written_by_hand_has_its_columns() -> None:
    ours, other = open_connection(), open_connection()
    fill(ours)
    for id_, task in TASKS.items():
        other.execute("INSERT INTO task (id, doc) VALUES (?, ?)", (id_, json.dumps({"id": id_} | task)))
    found, expected = columns(other), columns(ours)
    for id_ in TASKS:
        if id_ not in ("odd values", "archived", "text"):  # spaces in their JSON
            assert found[id_] == expected[id_], id_
    assert_tallied(ours)
    assert_tallied(other)
    other.execute("UPDATE task SET doc = json_set(doc, '$.name', 'renamed') WHERE id = 'plain'")
    assert other.execute("SELECT id FROM task WHERE field_name = 'renamed'").fetchall() == [("plain",)]


@pytest.mark.parametrize("before", TASKS)
def test_a_changed_task_has_the_columns_of_a_new_one(before: str) -> None:
    fresh = open_connection()
    fill(fresh)
    expected = columns(fresh)
    changed = open_connection()
    for id_, task in TASKS.items():
        Tx(changed).put("task", {"id": id_} | TASKS[before])
        Tx(changed).put("task", {"id": id_} | task)
    assert columns(changed) == expected
    assert listed_models(changed) == EXPECTED_MODELS
    assert_tallied(changed)
    for id_ in TASKS:
        Tx(changed).delete("task", id_)
        assert_tallied(changed)
    assert changed.execute("SELECT * FROM task_tally").fetchall() == []


def test_only_columns_that_differ_are_written() -> None:
    connection, statements = open_connection(), list[str]()
    tx = Tx(connection)
    task = {"id": "t", "name": "run", "status": "created", "tags": ["a"], "models": {"input": [], "output": []}}
    tx.put("task", task)
    connection.set_trace_callback(statements.append)
    tx.put("task", task | {"last_update": "now", "script": {"diff": "x"}})
    tx.put("task", task | {"last_update": "now", "script": {"diff": "y"}})
    texts = dict.fromkeys(text for text in statements if text.startswith("UPDATE task SET doc"))  # each is traced twice
    updates = [text.partition("SET")[2] for text in texts]
    assert ["field_" in text for text in updates] == [True, False]
    assert "field_last_update" in updates[0] and "field_name" not in updates[0]


def test_a_folder_of_the_step_before_keeps_all_of_its_tasks() -> None:
    expected = open_connection()
    fill(expected)
    old = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    steps = migrations()
    for name, text in steps.items():
        if name < STEP:
            old.executescript(text)
    for id_, task in reversed(TASKS.items()):
        document = json.dumps({"id": id_} | task, separators=(",", ":"), ensure_ascii=False)
        old.execute("INSERT INTO task (id, doc) VALUES (?, ?)", (id_, document))
    old.execute("DELETE FROM task WHERE id = 'plain'")  # leaves a gap
    order = old.execute("SELECT rowid, id FROM task ORDER BY rowid").fetchall()
    assert listed_models(old) == EXPECTED_MODELS
    for name, text in steps.items():
        if name >= STEP:
            old.executescript(text)
    assert old.execute("SELECT rowid, id FROM task ORDER BY rowid").fetchall() == order
    wanted = {id_: row for id_, row in columns(expected).items() if id_ != "plain"}
    assert columns(old) == wanted
    assert listed_models(old) == EXPECTED_MODELS
    assert_tallied(old)
    Tx(old).put("task", {"id": "models", "name": "later"})
    assert listed_models(old) == {("one list", "output", "m2")}
