"""A search through a console: the last lines at once, the rest in turns, and all of it in the end."""

from __future__ import annotations

import itertools
import sqlite3

import pytest
from clearml_localserver.events import log_search
from clearml_localserver.events.log_search import FIRST_STRETCH, STRETCH, search_log
from clearml_localserver.events.store import Series, find_series
from clearml_localserver.rules.events import LOG
from clearml_localserver.store import Tx

from tests.unit.localserver.query_world import open_connection

LINES = 3 * STRETCH
RARE = 7_000


@pytest.fixture(scope="module")
def connection() -> sqlite3.Connection:
    """A console of many lines, each a millisecond after the one before; few have a word of their own."""
    connection = open_connection()
    connection.execute("INSERT INTO event_series VALUES (1, 't', 'log', '', '', '{}')")
    rows = ((n, f"{'Rare Ä' if n % RARE == 0 else 'line'} {n}") for n in range(LINES))
    connection.executemany("INSERT INTO event_log VALUES (NULL, 1, ?, 0, 0, ?, NULL)", rows)
    return connection


@pytest.fixture
def series(connection: sqlite3.Connection) -> list[Series]:
    return find_series(Tx(connection), "t", [LOG])


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock find that the turn is over."""
    hours = itertools.count(step=3600)
    monkeypatch.setattr(log_search.time, "monotonic", lambda: float(next(hours)))


@pytest.mark.usefixtures("slow_machine")
def test_one_call_looks_at_a_console_of_usual_length_however_slow_the_machine_is(
    connection: sqlite3.Connection, series: list[Series]
) -> None:
    events, searched_to = search_log(Tx(connection), series, "nowhere", None, 1000)
    assert events == []
    assert searched_to is not None
    assert LINES - searched_to >= STRETCH + FIRST_STRETCH


@pytest.mark.usefixtures("slow_machine")
@pytest.mark.parametrize("text", ["rare", "RARE ä", "rare Ä"])
def test_calls_that_go_on_find_every_line_once(connection: sqlite3.Connection, series: list[Series], text: str) -> None:
    found: list[int] = []
    before: float | None = None
    for _ in range(10):
        events, before = search_log(Tx(connection), series, text, before, 2)
        found[:0] = [event["timestamp"] for event in events]
        if before is None:
            break
    assert found == list(range(0, LINES, RARE))


def test_what_many_lines_have_is_found_in_the_last_ones(connection: sqlite3.Connection, series: list[Series]) -> None:
    read: list[int] = []
    connection.create_function("seen", 1, lambda row: read.append(row) or True)
    plain = Tx.rows

    def rows(self: Tx, sql: str, args: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        return plain(self, sql.replace("WHERE series IN", "WHERE seen(id) AND series IN"), args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tx, "rows", rows)
        events, _ = search_log(Tx(connection), series, "line", None, 100)
    assert [event["timestamp"] for event in events[-2:]] == [LINES - 2, LINES - 1]
    assert 0 < len(read) <= FIRST_STRETCH + 1
