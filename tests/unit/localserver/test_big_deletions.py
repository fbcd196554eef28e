"""What deletes much does it in turns: other writes go between, and what is deleted is out of sight at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest
from clearml_localserver import store as store_module
from clearml_localserver.bulk_actions import for_each
from clearml_localserver.errors import ApiError
from clearml_localserver.events import store as events
from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.project_tree import Deletion, delete_project
from clearml_localserver.lifecycle.projects import create_project
from clearml_localserver.registry import Reply, Unfinished
from clearml_localserver.rules.events import LOG, parse_event
from clearml_localserver.store import Tx

from tests.unit.localserver.query_world import COMPANY, document, open_connection

LINES, POINTS = 2500, 1500
ACTOR = Actor("u1", "one", COMPANY, datetime(2026, 1, 1, tzinfo=timezone.utc))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(open_connection()) as connection:
        yield connection


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every turn be over as soon as something was done in it."""
    monkeypatch.setattr(store_module, "TURN_S", -1.0)


@pytest.fixture
def long_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a turn be long enough on any machine."""
    monkeypatch.setattr(store_module, "TURN_S", 3600.0)


def report(connection: sqlite3.Connection, owner: str) -> None:
    now = {"task": owner, "timestamp": 1}
    lines = [{**now, "type": "log", "msg": str(number), "timestamp": number} for number in range(LINES)]
    points = [
        {**now, "type": "training_stats_scalar", "metric": "m", "variant": "v", "iter": number, "value": 1.0}
        for number in range(POINTS)
    ]
    events.write(Tx(connection), [parse_event(event, 1, "") for event in (*lines, *points)], 1)


def rows(connection: sqlite3.Connection) -> dict[str, int]:
    tables = ("event_log", "event_scalar", "event_series")
    return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def turns_of(connection: sqlite3.Connection, reply: Reply) -> tuple[Reply, int]:
    """Go on, each time in a transaction of its own, until all is done; return the reply and how many it took."""
    turns = 1
    while isinstance(reply, Unfinished):
        reply, turns = reply.rest(Tx(connection)), turns + 1
    return reply, turns


def test_deleted_events_are_out_of_sight_at_once_and_go_in_turns(
    connection: sqlite3.Connection, short_turns: None
) -> None:
    report(connection, "one")
    report(connection, "two")
    tx = Tx(connection)
    events.delete_task_events(tx, "one")
    assert tx.topics == {events.LOST}
    assert events.find_series(tx, "one") == []
    assert rows(connection)["event_log"] == 2 * LINES
    turns = 1
    while events.sweep(Tx(connection)):
        turns += 1
    assert turns > 4
    assert rows(connection) == {"event_log": LINES, "event_scalar": POINTS, "event_series": 2}
    assert events.count(tx, events.find_series(tx, "two")) == LINES + POINTS


def test_what_is_reported_after_a_deletion_is_not_swept(connection: sqlite3.Connection, long_turns: None) -> None:
    report(connection, "one")
    events.delete_task_events(Tx(connection), "one")
    report(connection, "one")
    assert events.sweep(Tx(connection)) is False
    assert rows(connection) == {"event_log": LINES, "event_scalar": POINTS, "event_series": 2}


def test_nothing_to_delete_wakes_nobody(connection: sqlite3.Connection) -> None:
    tx = Tx(connection)
    events.delete_task_events(tx, "nobody")
    assert tx.topics == set()
    assert events.sweep(tx) is False


@pytest.mark.parametrize(("before", "deleted"), [(None, LINES), (2000, 2000), (0, 0)])
def test_console_lines_go_in_turns(
    connection: sqlite3.Connection, short_turns: None, before: int | None, deleted: int
) -> None:
    report(connection, "one")
    series = events.find_series(Tx(connection), "one", [LOG])
    total, done = 0, False
    while not done:
        count, done = events.delete_log(Tx(connection), series, before)
        total += count
        assert count <= events.CHUNK
    assert total == deleted
    assert rows(connection)["event_log"] == LINES - deleted


def test_many_are_dealt_with_in_turns_and_in_their_order(connection: sqlite3.Connection, short_turns: None) -> None:
    seen: list[tuple[Tx, str]] = []

    def run(tx: Tx, id: str) -> dict[str, Any]:
        seen.append((tx, id))
        if id == "b":
            raise ApiError(400, 101, "Invalid task id: id=b")
        return {"done": True}

    first = for_each(Tx(connection), "abc", run, lambda tx, done: {"further": done})
    reply, turns = turns_of(connection, first)
    assert turns == len({id(tx) for tx, _ in seen}) == 3
    assert "".join(name for _, name in seen) == "abc"
    refusal = {"codes": [400, 101], "msg": "Invalid task id: id=b", "data": {"id": "b"}}
    assert reply == {
        "succeeded": [{"id": "a", "done": True}, {"id": "c", "done": True}],
        "failed": [{"id": "b", "error": refusal}],
        "further": ["a", "c"],
    }


def test_few_are_dealt_with_in_one_transaction(connection: sqlite3.Connection, long_turns: None) -> None:
    assert isinstance(for_each(Tx(connection), "abc", lambda tx, id: {}), dict)


def test_a_projects_contents_go_in_turns(connection: sqlite3.Connection, short_turns: None) -> None:
    tx = Tx(connection)
    project = create_project(tx, "a project", {}, ACTOR)
    for number in range(3):
        tx.put("task", document(f"t{number}", project=project["id"], status="created", execution={}, models={}))
    tx.put("model", document("m", project=project["id"], ready=False))
    done, turns = Deletion(), 1
    while not delete_project(Tx(connection), project, ACTOR, done, force=True, delete_contents=True):
        turns += 1
    assert turns == 5
    assert (done.projects, done.tasks, done.models) == (1, 3, 1)
    assert tx.rows("SELECT count(*) FROM task") == tx.rows("SELECT count(*) FROM project") == [(0,)]
