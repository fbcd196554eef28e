"""Reading requests of two kinds: those that take long never keep the others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver import store as store_module
from clearml_localserver.database import FILE_NAME
from clearml_localserver.errors import ApiError
from clearml_localserver.store import Store, Tx

COUNT = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT count(*) FROM n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / FILE_NAME)
    yield opened
    opened.close()


def counting(steps: int) -> Any:
    return lambda tx: tx.rows(COUNT.format(steps))[0][0]


def test_who_asks_for_little_does_not_wait_for_who_asks_for_much(store: Store) -> None:
    async def ask() -> tuple[list[bool], list[int]]:
        slow = [asyncio.create_task(store.read(counting(2_000_000))) for _ in range(4)]
        await asyncio.sleep(0)
        still_at_it = []
        for _ in range(3):
            assert await store.read(counting(10)) == 10
            still_at_it.append(not any(task.done() for task in slow))
        return still_at_it, list(await asyncio.gather(*slow))

    still_at_it, counts = asyncio.run(ask())
    assert still_at_it == [True] * 3
    assert counts == [2_000_000] * 4


def test_what_a_reply_reads_bit_by_bit_counts_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "QUICK_S", 0.0)
    attempts = []

    def function(tx: Tx) -> int:
        attempts.append(1)
        return sum(1 for _ in tx.each(COUNT.replace("count(*)", "i").format(100_000)))

    assert asyncio.run(store.read(function)) == 100_000
    assert len(attempts) == 2


def test_a_regular_expression_leaves_the_quick_lane(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "QUICK_S", 0.01)
    attempts = []

    def function(tx: Tx) -> Any:
        attempts.append(1)
        return tx.rows("SELECT ? REGEXP ?", ("a" * (24 if len(attempts) > 1 else 40) + "b", "(a|aa)+$"))

    assert asyncio.run(store.read(function)) == [(0,)]
    assert len(attempts) == 2


def test_no_read_goes_on_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SLOW_S", 0.15)
    with pytest.raises(ApiError) as refused:
        asyncio.run(store.read(counting(10**9)))
    assert (refused.value.code, refused.value.subcode) == (400, 12)
    assert "ask for a page" in refused.value.msg
    assert asyncio.run(store.read(counting(10))) == 10


def test_a_document_has_a_largest_size_and_an_older_larger_one_can_still_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(id: str, size: int) -> None:
        asyncio.run(store.write(lambda tx: tx.put("queue", {"id": id, "name": "x" * size})))

    put("old", 5_000)
    monkeypatch.setattr(store_module, "MAX_DOCUMENT_BYTES", 1_000)
    monkeypatch.setattr(store_module, "MAX_GROWTH_BYTES", 100)
    put("old", 5_100)
    for id, size in (("old", 5_300), ("new", 1_000)):
        with pytest.raises(ApiError, match="at most 1000 are stored"):
            put(id, size)
    put("new", 900)
    kept = asyncio.run(store.read(lambda tx: tx.get("queue", "old")))
    assert kept is not None and len(kept["name"]) == 5_100
