"""A database that is damaged, locked, full, lost, old or new: one clear message each, and never a half-made schema."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from clearml_localserver import database
from clearml_localserver.bootstrap import refuse_lost_database
from clearml_localserver.errors import ApiError, StartError
from clearml_localserver.lock_holders import holders
from clearml_localserver.store import Store, Tx

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = Store(path)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the write lock in another process; its pid."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        yield process.pid
        process.kill()


def fill(path: Path, count: int = 400) -> None:
    with opened(path) as store:
        asyncio.run(store.write(lambda tx: [put(tx, f"task-{number:04d}") for number in range(count)]))


def put(tx: Tx, id: str) -> None:
    tx.put("task", {"id": id, "name": id, "comment": "x" * 200})


def flip(path: Path, needle: bytes, replacement: bytes) -> None:
    content = path.read_bytes()
    assert needle in content
    path.write_bytes(content.replace(needle, replacement))


def break_pages(path: Path) -> None:
    """Overwrite the second half of a database, as a failing disk does."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * (size // 4))


def test_damaged_pages_are_one_message_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    fill(path)
    break_pages(path)
    with pytest.raises(StartError, match=r"(?s)server.sqlite is damaged.*localserver check"):
        Store(path)


def test_damage_met_at_run_time_is_named_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "server.sqlite"
    fill(path)
    with opened(path) as store:
        break_pages(path)  # under the running server, before it has read these pages
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                with pytest.raises(ApiError, match=r"server.sqlite is damaged .*localserver check") as refused:
                    asyncio.run(store.read(lambda tx: tx.docs("SELECT doc FROM task")))
                assert refused.value.code == 500
        assert [record.message for record in caplog.records if "damaged" in record.message] == [caplog.messages[0]]


@pytest.mark.parametrize(
    ("needle", "flipped"), [(b'{"id":"task-0007"', b'{"id:"task-0007""'), (b"task-0007", b"task-\xff007")]
)
def test_a_document_that_is_not_what_was_written_is_named(needle: bytes, flipped: bytes, tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    fill(path)
    flip(path, needle, flipped)
    with opened(path) as store, pytest.raises(ApiError, match="is damaged"):
        asyncio.run(store.read(lambda tx: tx.docs("SELECT doc FROM task")))


def test_a_full_disk_is_named_and_the_next_write_that_fits_works(tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    with opened(path) as store:
        pages = asyncio.run(store.read(lambda tx: tx.rows("PRAGMA page_count")))[0][0]
        asyncio.run(store.write(lambda tx: put(tx, "kept")))
        store._writing.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(ApiError, match=r"Insufficient storage: the disk that holds database .* is full") as refused:
            asyncio.run(store.write(lambda tx: tx.put("task", {"id": "big", "comment": "x" * 100_000})))
        assert refused.value.code == 500, "above 500 the SDK repeats for ever"
        asyncio.run(store.write(lambda tx: tx.put("task", {"id": "small"})))
        found = asyncio.run(store.read(lambda tx: [tx.get("task", id) is not None for id in ("kept", "big", "small")]))
        assert found == [True, False, True]


def test_the_writer_outlives_a_disk_on_which_even_the_rollback_fails(tmp_path: Path) -> None:
    path = tmp_path / "server.sqlite"
    with opened(path) as store:
        execute, failing = store._writing.execute, {"COMMIT", "ROLLBACK"}

        def on_a_failing_disk(sql: str, *arguments: object) -> sqlite3.Cursor:
            if sql in failing:
                failing.discard(sql)
                raise sqlite3.OperationalError("disk I/O error")
            return execute(sql, *arguments)

        store._writing.execute = on_a_failing_disk  # type: ignore[method-assign, assignment]
        with pytest.raises(ApiError, match="disk I/O error"):
            asyncio.run(asyncio.wait_for(store.write(lambda tx: put(tx, "lost")), 5))
        asyncio.run(asyncio.wait_for(store.write(lambda tx: put(tx, "kept")), 5))
        found = asyncio.run(store.read(lambda tx: [tx.get("task", id) is not None for id in ("lost", "kept")]))
        assert found == [False, True]


def test_a_lock_of_another_process_is_named_with_its_pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "server.sqlite"
    with opened(path) as store, locked(path) as pid:
        assert [holder for holder, _ in holders(path)] == [pid]
        with pytest.raises(ApiError, match=rf"is locked by another process \(pid {pid} python"):
            asyncio.run(store.write(lambda tx: put(tx, "late")))


def test_holders_are_unknown_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert holders(tmp_path / "absent", proc_locks=tmp_path / "none") == []


@pytest.mark.parametrize("trace", ["credentials.json", "files/project/task.1/artifacts/a.bin"])
@pytest.mark.parametrize("left", [None, b""])
def test_a_folder_in_use_that_lost_its_database_is_refused(trace: str, left: bytes | None, tmp_path: Path) -> None:
    (tmp_path / trace).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / trace).write_text("{}")
    if left is not None:
        (tmp_path / "server.sqlite").write_bytes(left)
    word = "missing" if left is None else "empty"
    with pytest.raises(StartError, match=rf"(?s)server.sqlite is {word}, but the folder was in use.*restore BACKUP"):
        refuse_lost_database(tmp_path)


def test_a_new_folder_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "files" / ".partial").mkdir(parents=True)
    refuse_lost_database(tmp_path)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_a_migration_that_fails_leaves_the_old_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.sqlite"
    fill(path, 3)
    before = tables(path)
    steps = database.scripts()
    good, bad = (
        ("9001_good.sql", "CREATE TABLE good (id);"),
        ("9002_bad.sql", "CREATE TABLE bad (id); INSERT INTO no VALUES (1);"),
    )
    with monkeypatch.context() as newer:
        newer.setattr(database, "scripts", lambda: steps | {9001: good, 9002: bad})
        with pytest.raises(StartError, match=r"(?s)migration 9002_bad.sql failed \(no such table: no\).*is unchanged"):
            Store(path)
        copy = path.with_name("server.sqlite.before-step-9002")
        assert tables(copy) == before
    assert tables(path) == before
    with opened(path) as store:
        assert asyncio.run(store.read(lambda tx: tx.rows("SELECT count(*) FROM task"))) == [(3,)]
    monkeypatch.setattr(database, "scripts", lambda: steps | {9001: good})
    with opened(path):
        assert "good" in tables(path)
    assert not list(tmp_path.glob("*before-step-9001")), "the copy goes when the migration has succeeded"


def test_a_snapshot_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    path, copy = tmp_path / "server.sqlite", tmp_path / "copy.sqlite"
    fill(path, 4000)
    seen: list[int] = []
    with opened(path) as store:

        def write_on(done: int, of: int) -> None:
            seen.append(done)
            asyncio.run(store.write(lambda tx: put(tx, f"during-{done}")))

        database.snapshot(path, copy, write_on)
        count = asyncio.run(store.read(lambda tx: tx.rows("SELECT count(*) FROM task")))[0][0]
    assert count == 4000 + len(seen)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM task").fetchone() == (4000,)
    assert copy.stat().st_mode & 0o777 == 0o600
