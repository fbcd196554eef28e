"""A thinned curve in memory is the one that the database gives, and is read again only where it has changed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from clearml_localserver.changes import MOST_KEYS, Changes
from clearml_localserver.events import scalars, store, thin_curves
from clearml_localserver.events.scalars import Axis, Curve, read_curve
from clearml_localserver.events.thin_curves import ThinCurve, steady_width
from clearml_localserver.rules.events import SINGLE, bucket_width, parse_event
from clearml_localserver.store import Reading, Tx

from tests.unit.localserver.query_world import open_connection

SAMPLES = 20
CROWDED = scalars.CROWDED * SAMPLES


class Task:
    """One curve in a database, and transactions as the server's store makes them."""

    def __init__(self) -> None:
        self.connection = open_connection()
        self.changes = Changes()
        self.known: dict[type, Any] = {}

    def report(self, values: dict[int, float | None], metric: str = "loss") -> None:
        """Write points, which overwrite those of the same iterations, and commit."""
        tx = Tx(self.connection)
        events = [
            {"type": "training_stats_scalar", "task": "t", "metric": metric, "variant": "v", "iter": iteration,
             "value": value, "timestamp": 10_000 + iteration % 700}
            for iteration, value in values.items()
        ]  # fmt: skip
        store.write(tx, [parse_event(event, 1, "") for event in events], 1)
        self.changes.note(tx.changed)

    def read(self) -> Tx:
        """Return a transaction that uses what is kept."""
        return Tx(self.connection, Reading(self.changes, self.known, is_quick=False))

    def curve(self, axis: Axis = "iter", *, steady: bool = True, tx: Tx | None = None) -> Curve:
        """Return the curve as a page asks for it."""
        tx = tx or self.read()
        (series,) = store.find_series(tx, "t", metrics=[{"metric": "loss"}])
        return read_curve(tx, series, axis, SAMPLES, steady=steady)

    def assert_alike(self) -> None:
        """Compare all curves with what the database gives."""
        for axis in ("iter", "timestamp"):
            for steady in (True, False):
                assert self.curve(axis, steady=steady) == self.curve(axis, steady=steady, tx=Tx(self.connection))


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the start of each bucket is added that is read from the database."""
    read: list[int] = []
    original = ThinCurve.extend

    def extend(self: ThinCurve, found: Any) -> None:
        found = list(found)
        read.extend(bucket[0] for bucket in found)
        original(self, found)

    monkeypatch.setattr(ThinCurve, "extend", extend)
    return read


def test_a_kept_curve_is_the_one_that_the_database_gives_after_any_change() -> None:
    dice, task = random.Random(18), Task()
    task.report({n: float(n) for n in range(CROWDED)})
    task.assert_alike()
    end = CROWDED
    for _ in range(40):
        start = dice.choice([end, end, end + dice.randint(0, 50), dice.randint(-300, end), SINGLE])
        count = 1 if start == SINGLE else dice.randint(1, 60)
        task.report({start + n: dice.choice([None, dice.random()]) for n in range(count)})
        end = max(end, start + count)
        if dice.random() < 0.7:
            task.assert_alike()
    task.assert_alike()


def test_of_a_growing_curve_only_the_end_is_read_again(buckets: list[int]) -> None:
    task = Task()
    task.report({n: float(n) for n in range(10 * CROWDED)})
    task.curve()
    assert len(buckets) == SAMPLES
    buckets.clear()
    task.curve()
    assert buckets == []
    for n in range(5):
        task.report({10 * CROWDED + n: 1.0})
        task.curve()
    assert len(buckets) <= 10
    buckets.clear()
    width = steady_width(bucket_width(0, 10 * CROWDED, SAMPLES))
    task.report({3 * width + 1: 1000.0})
    assert 1000.0 in (task.curve().high or [])
    assert min(buckets) == 3 * width


def test_another_curve_that_grows_changes_nothing(buckets: list[int]) -> None:
    task = Task()
    task.report({n: float(n) for n in range(CROWDED)})
    task.report({0: 1.0}, metric="other")
    task.curve()
    buckets.clear()
    task.report({1: 1.0}, metric="other")
    task.curve()
    assert buckets == []


def test_a_change_while_a_curve_is_read_is_not_lost() -> None:
    task = Task()
    task.report(dict.fromkeys(range(CROWDED), 1.0))
    task.curve()
    early = task.read()  # its commits are counted now, as the store does before a transaction begins
    task.report({7: 1000.0})
    task.curve(tx=early)
    task.assert_alike()


def test_what_another_process_deletes_is_not_shown() -> None:
    task = Task()
    task.report(dict.fromkeys(range(CROWDED), 1.0))
    task.curve()
    other = Tx(task.connection)
    other.note_outside_change()
    other.execute("UPDATE event_scalar SET value = 2")
    assert set(task.curve().y) == {2.0}


def test_a_series_that_gets_the_id_of_a_deleted_one_has_its_own_curve() -> None:
    task = Task()
    task.report(dict.fromkeys(range(CROWDED), 1.0))
    task.curve()
    tx = Tx(task.connection)
    store.delete_task_events(tx, "t")
    assert store.sweep(tx) is False
    task.changes.note(tx.changed)
    task.report(dict.fromkeys(range(CROWDED), 3.0))
    assert set(task.curve().y) == {3.0}


def test_more_changes_than_are_remembered_have_a_curve_read_again() -> None:
    task = Task()
    task.report(dict.fromkeys(range(CROWDED), 1.0))
    task.curve()
    task.report({0: 1000.0})
    task.changes.note([(store.POINTS, ((-number, 0) for number in range(MOST_KEYS + 1)))])
    task.assert_alike()


def test_only_so_many_buckets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_curves, "MOST_BUCKETS", 10)
    curves = thin_curves.ThinCurves()
    for number in range(4):
        curve = ThinCurve(1)
        curve.extend((n, 0.0, 0.0, 0.0) for n in range(4))
        curves.keep((number, "iter", 1, True), curve)
    assert [curves.get((number, "iter", 1, True)) is not None for number in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("width", [*range(1, 40), 999, 1000, 1001, 12345, 2**40 + 1])
def test_a_steady_width_is_at_most_an_eighth_greater(width: int) -> None:
    assert width <= steady_width(width) <= width * 9 / 8
    assert steady_width(steady_width(width)) == steady_width(width)
