"""A search over tasks finds through the texts in memory what it finds in the database, also after changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from clearml_localserver.changes import MOST_KEYS, Changes
from clearml_localserver.query import count, find_all_ex, in_company, task_texts
from clearml_localserver.query.clauses import TRUE
from clearml_localserver.store import DamagedError, Reading, SlowReadError, Tx
from clearml_localserver.tables import contents

from tests.unit.localserver.query_world import COMPANY, Query, document, open_connection

FIELDS = ["name", "id", "comment", "tags"]
WORDS = ["Alpha", "beta", "100%", "a_b", "äöü", "tab\there", "x\x1fy", 'quo"te', "^", "", "lr", "0.1"]
SOUGHT = [
    "alpha",
    "ALPHA",
    "%",
    "_",
    "b",
    "a_b",
    "ö",
    "öü beta",
    "t\th",
    "x\x1fy",
    '"',
    "^",
    "0.",
    "1",
    "1.5",
    "zzz",
    "k",
]


class World:
    """Tasks, and transactions over them as the server's store makes them."""

    def __init__(self) -> None:
        self.connection = open_connection()
        self.changes = Changes()
        self.known: dict[type, Any] = {}

    def write(self, *tasks: dict[str, Any], delete: tuple[str, ...] = ()) -> None:
        """Write and delete tasks, and commit."""
        tx = Tx(self.connection)
        for task in tasks:
            tx.put("task", task)
        for id_ in delete:
            tx.delete("task", id_)
        self.changes.note(tx.changed)

    def read(self, *, is_quick: bool = False) -> Tx:
        """Return a transaction that uses what is kept."""
        return Tx(self.connection, Reading(self.changes, self.known, is_quick=is_quick))


def task(number: int, dice: random.Random) -> dict[str, Any]:
    """Return a task with some words here and there."""
    word = lambda: dice.choice(WORDS)  # noqa: E731
    parameters = {
        section: {
            name: {"value": value}
            for name in dice.sample(["lr", "a.b", 'quo"te', "100%"], dice.randint(0, 3))
            for value in [dice.choice([word(), word(), 1, 1.5, True, None, {"k": word()}])]
        }
        for section in dice.sample(["Args", "General"], dice.randint(0, 2))
    }
    return document(
        f"{number:032x}",
        name=f"{word()} {word()}",
        comment=dice.choice([None, word()]),
        tags=[word(), word()][: dice.randint(0, 2)],
        system_tags=dice.choice([[], [], ["archived"], ["hidden"]]),
        hyperparams=parameters,
        last_update=f"2026-01-{dice.randint(1, 28):02d}T00:00:00+00:00",
        company=dice.choice([COMPANY] * 9 + [""]),
    )


def queries(tx: Tx, sought: list[str]) -> Iterator[dict[str, Any]]:
    """Yield searches, of all fields and of some, paged and filtered."""
    pairs = contents.hyperparameters(tx, in_company(COMPANY), COMPANY)
    paths = [
        f"hyperparams.{section}.{name.replace('%', '%25').replace('.', '%2E')}.value"
        for section, name in pairs
        if '"' not in name
    ]
    for text in sought:
        escaped = "".join(f"\\{letter}" if letter in "^.%_\\" and letter in "^." else letter for letter in text)
        for fields in ([*FIELDS, *paths], FIELDS, ["name"], [*FIELDS, "status", *paths[:1]]):
            condition = {"fields": fields, "pattern": escaped}
            yield {"_any_": condition, "search_hidden": True, "order_by": ["-last_update"]}
            yield {"_any_": condition, "order_by": ["name"], "page": 1, "page_size": 3}
            yield {"_any_": condition, "system_tags": ["__$all", "archived"], "tags": ["-beta"]}


def found(tx: Tx, query: dict[str, Any]) -> tuple[list[str], int]:
    """Return the ids that a query finds, in their order, and how many it counts."""
    ids = [item["id"] for item in find_all_ex(tx, "task", Query(query | {"only_fields": ["name"]}))]
    return ids, count(tx, "task", query, COMPANY)


def assert_alike(world: World, sought: list[str]) -> None:
    """Check all queries, and the lists to choose from, with and without the texts in memory."""
    plain, kept = Tx(world.connection), world.read()
    assert task_texts.task_texts(kept) is not None
    for query in queries(plain, sought):
        assert found(kept, query) == found(plain, query), query
    parameters = contents.hyperparameters(kept, in_company(COMPANY), COMPANY)
    assert parameters == contents.hyperparameters(plain, in_company(COMPANY), COMPANY)
    assert contents.tags(kept, "task", "tags", TRUE) == contents.tags(plain, "task", "tags", TRUE)


@pytest.mark.parametrize(("looked_up", "sought"), [(1_000, SOUGHT[::2]), (3, SOUGHT[1::2])])
def test_a_search_finds_the_same_tasks_in_the_same_order_as_in_the_database(
    looked_up: int, sought: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_localserver.query.select.MOST_LOOKED_UP", looked_up)
    monkeypatch.setattr("clearml_localserver.query.finder.MOST_LOOKED_UP", looked_up)
    monkeypatch.setattr(task_texts, "CHUNK", 7)
    dice, world = random.Random(18), World()
    world.write(*(task(number, dice) for number in range(40)))
    assert_alike(world, sought)
    world.write(*(task(number, dice) for number in range(30, 50)), delete=tuple(f"{n:032x}" for n in range(5, 15)))
    assert_alike(world, sought)
    # The rows of the last tasks are used again.
    world.write(delete=tuple(f"{number:032x}" for number in range(45, 50)))
    world.write(*(task(number, dice) for number in range(100, 104)))
    assert_alike(world, sought)


@contextmanager
def documents_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give a list that gets a number for each task whose texts are read."""
    read: list[int] = []
    original = task_texts._read
    with monkeypatch.context() as patch:
        patch.setattr(task_texts, "_read", lambda task: read.append(1) or original(task))
        yield read


def test_a_search_reads_only_what_has_changed_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    dice, world = random.Random(1), World()
    world.write(*(task(number, dice) for number in range(30)))
    query = {"_any_": {"fields": FIELDS, "pattern": "alpha"}}
    with documents_read(monkeypatch) as read:
        found(world.read(), query)
        assert len(read) == 30
        found(world.read(), query)
        assert len(read) == 30
        world.write(task(3, dice), task(40, dice))
        found(world.read(), query)
        assert len(read) == 32


def test_tasks_are_not_read_all_in_a_transaction_that_is_to_be_quick() -> None:
    dice, world = random.Random(1), World()
    world.write(task(1, dice))
    query = {"_any_": {"fields": FIELDS, "pattern": "alpha"}}
    with pytest.raises(SlowReadError):
        found(world.read(is_quick=True), query)
    found(world.read(), query)
    world.write(document("9" * 32, name="alpha"))
    assert "9" * 32 in found(world.read(is_quick=True), query)[0]


def test_a_change_while_the_texts_are_read_is_not_lost() -> None:
    world = World()
    world.write(document("1" * 32, name="before"))
    query = {"_any_": {"fields": FIELDS, "pattern": "after"}}
    early = world.read()  # its commits are counted now, as the store does before a transaction begins
    world.write(document("1" * 32, name="after"))
    found(early, query)
    assert found(world.read(), query)[0] == ["1" * 32]


def test_what_another_process_has_changed_is_found() -> None:
    world = World()
    world.write(document("1" * 32, name="before"))
    query = {"_any_": {"fields": FIELDS, "pattern": "after"}}
    assert found(world.read(), query)[0] == []
    other = Tx(world.connection)
    other.note_outside_change()
    other.put("task", document("1" * 32, name="after"))
    assert found(world.read(), query)[0] == ["1" * 32]


def test_more_changes_than_are_remembered_have_all_tasks_read_again() -> None:
    world = World()
    world.write(document("1" * 32, name="before"))
    query = {"_any_": {"fields": FIELDS, "pattern": "after"}}
    assert found(world.read(), query)[0] == []
    world.write(document("1" * 32, name="after"))
    world.changes.note([("task", ((number, 0) for number in range(MOST_KEYS + 1)))])
    assert found(world.read(), query)[0] == ["1" * 32]


def test_a_damaged_task_is_told_as_damage() -> None:
    world = World()
    world.write(document("1" * 32, name="here"))
    for (trigger,) in world.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        world.connection.execute(f"DROP TRIGGER {trigger}")
    world.connection.execute("UPDATE task SET doc = '{'")
    with pytest.raises(DamagedError, match="not JSON"):
        task_texts.task_texts(world.read())


def test_of_too_many_texts_the_database_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_texts, "MOST_BYTES", 10)
    world = World()
    world.write(document("1" * 32, name="here"))
    assert task_texts.task_texts(world.read()) is None
    assert found(world.read(), {"_any_": {"fields": FIELDS, "pattern": "her"}})[0] == ["1" * 32]
