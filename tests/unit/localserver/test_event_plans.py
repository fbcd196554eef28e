"""Reading events stays fast with a million of them: every statement goes through an index, pages are not sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from clearml_localserver.endpoints import events_scalars
from clearml_localserver.events import log_search, pages, samples, scalars, store
from clearml_localserver.events.store import Series
from clearml_localserver.rules.events import IMAGE, LOG, PLOT, SCALAR, SINGLE, Event, parse_event
from clearml_localserver.store import Tx
from clearml_localserver.tables import workers

from tests.unit.localserver.query_world import open_tx

EVENTS = 40


class Recorder(Tx):
    """A transaction that remembers its statements."""

    def __init__(self, tx: Tx) -> None:
        super().__init__(tx._connection)
        self.asked: list[tuple[str, Sequence[Any]]] = []

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.asked.append((sql, args))
        return super().rows(sql, args)

    def each(self, sql: str, args: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        self.asked.append((sql, args))
        return super().each(sql, args)


def event(type_: str, at: int, **fields: Any) -> Event:
    return parse_event({"type": type_, "task": "t", "metric": "m", "variant": "v", "iter": at} | fields, "", at)


@pytest.fixture
def tx() -> Recorder:
    """A task with a curve, images in ten files, plots and a console."""
    tx = open_tx()
    for at in range(EVENTS):
        reported = [
            event(SCALAR, at, value=float(at)),
            event(IMAGE, at, url=f"http://files/{at % 10}.png"),
            event(IMAGE, at, url=f"http://files/w{at}.png", variant="w"),
            event(PLOT, at, plot_str="{}"),
            event(LOG, at, msg="line"),
        ]
        store.write(tx, reported, at)
    store.write(tx, [event(SCALAR, SINGLE, value=1.0)], 0)
    return Recorder(tx)


def of(tx: Tx, type_: str) -> list[Series]:
    return store.find_series(tx, "t", [type_])


def walk(tx: Tx) -> samples.Walk:
    return samples.Walk(tx, of(tx, IMAGE), by_variant=True)


PLACE = samples.Place(35, "m", "v")

# One pass over a series, or over a page of several, is sorted, and so are the names of an owner's series and the few
# iterations that are shown; all else comes out of an index in order.
SORTED = {
    "curve by time", "crowded curve", "thin curve by time", "thin curve", "raw by time", "page of events",
    "page of raw points",
}  # fmt: skip

READS: dict[str, Callable[[Tx], Any]] = {
    "series": lambda tx: of(tx, SCALAR),
    "curve": lambda tx: scalars.read_curve(tx, of(tx, SCALAR)[0], "iter", 100),
    "curve by time": lambda tx: scalars.read_curve(tx, of(tx, SCALAR)[0], "timestamp", 100),
    "thin curve": lambda tx: scalars.read_curve(tx, of(tx, SCALAR)[0], "iter", 20),
    "crowded curve": lambda tx: scalars.read_curve(tx, of(tx, SCALAR)[0], "iter", 3),
    "thin curve by time": lambda tx: scalars.read_curve(tx, of(tx, SCALAR)[0], "timestamp", 20),
    "page of raw points": lambda tx: scalars.page_of_points(tx, of(tx, SCALAR), "iter", 5, 7),
    "raw by time": lambda tx: scalars.page_of_points(tx, of(tx, SCALAR), "timestamp", 5, 7),
    "number of points": lambda tx: scalars.count_points(tx, of(tx, SCALAR)),
    "latest": lambda tx: scalars.read_latest(tx, of(tx, SCALAR)[0]),
    "single": lambda tx: scalars.read_single(tx, of(tx, SCALAR)[0]),
    "page of events": lambda tx: pages.page_by_iteration(tx, of(tx, PLOT), 5, 9, False),
    "page of console": lambda tx: pages.page_of_log(tx, of(tx, LOG), 5, True, (20.0, 20)),
    "whole moment": lambda tx: pages.page_of_log(tx, of(tx, LOG), 5, False, None, whole_last_moment=True),
    "number of events": lambda tx: store.count(tx, of(tx, LOG)),
    "last plots": lambda tx: samples.last_iterations(tx, of(tx, PLOT), 2),
    "window of images": lambda tx: samples.window(tx, of(tx, IMAGE), 3, True, 38),
    "nearest image": lambda tx: walk(tx).nearest(36),
    "image before": lambda tx: walk(tx).neighbour(PLACE, True, False),
    "image after": lambda tx: walk(tx).neighbour(PLACE, False, True),
    "image": lambda tx: walk(tx).at(PLACE),
    "extent": lambda tx: walk(tx).extent("m", "v"),
}


@pytest.mark.parametrize("name", READS)
def test_events_are_found_by_index(tx: Recorder, name: str) -> None:
    assert READS[name](tx)
    for sql, args in tx.asked:
        plan = [row[3] for row in Tx.rows(tx, f"EXPLAIN QUERY PLAN {sql}", args)]
        assert not [step for step in plan if step.startswith(("SCAN e", "SCAN later"))], (sql, plan)
        small = name in SORTED or "FROM event_series" in sql or "BETWEEN" in sql
        assert small or not [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step], (sql, plan)


def test_images_whose_file_was_written_again_are_passed_over(tx: Recorder) -> None:
    assert walk(tx).extent("m", "v") == (30, 39)
    assert walk(tx).nearest(29) == samples.Place(29, "m", "w")
    assert [at for at, _ in samples.window(tx, of(tx, IMAGE), 100, True, 32)] == [*range(31, -1, -1)]
    assert samples.last_iterations(tx, of(tx, IMAGE)[:1], 100)[-1]["iter"] == 30


def test_statistics_of_workers_are_found_by_index(tx: Recorder) -> None:
    plan = [row[3] for row in tx.rows(f"EXPLAIN QUERY PLAN SELECT 1 {workers.REPORTS}", ("[]", "cpu_usage", 0, 1))]
    assert any("worker_statistic_time (worker=? AND metric=? AND time>? AND time<?)" in step for step in plan), plan


def test_the_curves_of_a_reply_share_its_points(tx: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_scalars, "MAX_REPLY_POINTS", 40)
    for variant in "abc":
        store.write(tx, [event(SCALAR, at, value=1.0, variant=variant) for at in range(EVENTS)], 0)
    call = SimpleNamespace(data={"samples": 1000})
    found = [curve.x for curve in events_scalars._curves(call, tx, of(tx, SCALAR))]
    assert found == [[*range(0, EVENTS, 4)]] * 4


def lines_of_lengths(lengths: Sequence[int], per_moment: int) -> Tx:
    tx = open_tx()
    for at, length in enumerate(lengths):
        store.write(tx, [event(LOG, at // per_moment, metric=f"m{at % 5 // 2}", msg="x" * length)], at)
    return tx


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("room", [1, 25, 70, 10_000])
def test_a_page_of_console_ends_where_its_room_does_and_none_is_lost(room: int, descending: bool) -> None:
    lengths = [(at * 7) % 23 for at in range(60)]
    tx = lines_of_lengths(lengths, 3)
    series, sizes, after = of(tx, LOG), list[int](), None
    assert len(series) == 3
    while True:
        page = pages.page_of_log(tx, series, 50, descending, after, room=room)
        after = page.last
        if not page.events:
            break
        sizes += [len(line["msg"]) for line in page.events]
        assert sum(len(line["msg"]) for line in page.events) <= room + max(lengths)
        assert page.is_cut or len(page.events) == min(50, 60 + len(page.events) - len(sizes))
    assert sizes == (lengths[::-1] if descending else lengths)


@pytest.mark.parametrize("descending", [False, True])
def test_a_full_page_of_console_still_counts_every_line_of_its_last_moment(descending: bool) -> None:
    """Clients go on by timestamp alone: a line that is left out there is lost for them."""
    tx = lines_of_lengths([10] * 20, 5)
    page = pages.page_of_log(tx, of(tx, LOG), 12, descending, whole_last_moment=True, room=65)
    said = [line["msg"] for line in page.events]
    assert said == ["x" * 10] * 7 + [pages.NO_ROOM] * 3
    assert page.is_cut
    moments = [line["timestamp"] for line in page.events]
    assert moments == ([3] * 5 + [2] * 5 if descending else [0] * 5 + [1] * 5)


def test_a_search_of_the_console_ends_where_its_room_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "CHARACTERS_OF_PAGE", 65)
    tx = lines_of_lengths([10] * 20, 5)
    end, moments = None, list[float]()
    while True:
        found, end = log_search.search_log(tx, of(tx, LOG), "xx", end, 1000)
        assert len(found) == 10
        moments[:0] = [line["timestamp"] for line in found]
        if end is None:
            break
    assert moments == [at // 5 for at in range(20)]
