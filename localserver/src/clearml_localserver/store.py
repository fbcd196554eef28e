"""SQLite behind one interface: JSON documents by kind, event tables, one writer, durable answers.

Every request is one transaction on a store thread: reads on a small pool, writes on the single writer, which commits as
many waiting requests together as it finds (group commit) and answers each only after its commit: an answered write
survives `kill -9` and, with `synchronous=FULL`, a power cut. It knows nothing of ClearML's rules.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from clearml_localserver import document_columns
from clearml_localserver.changes import EVERYTHING, Change, Changes
from clearml_localserver.database import Connection, Trouble, connect, open_database, trouble_of
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.lanes import Answer, Lane

log = logging.getLogger(__name__)

KINDS = ("task", "model", "project", "queue", "user", "worker")
GROUP = 64
"""Most writes in one commit: bounds how long the first of them waits for the last."""

Document = dict[str, Any]
Result = TypeVar("Result")
Kept = TypeVar("Kept")


QUICK_S = 0.1
"""Time that a reading request may take beside all others; a longer one is repeated in the slow lane."""

SLOW_S = 60.0
"""Time that a reading request may take at most."""

SLOW_READERS = 2

TURN_S = 0.02
"""How long one transaction holds the writer where its work can go on in another one."""


MAX_DOCUMENT_BYTES = 16 * 2**20
"""Largest document that is stored, as in a genuine server's database. Its JSON is read in one call, with the lock."""

MAX_GROWTH_BYTES = 2**16
"""A document that is larger all the same, of an older version, may change by so much: its task must be able to end."""

OUTSIDE = "outside_changes"
"""Setting: how often other processes have changed tasks or scalars."""


class SlowReadError(Exception):
    """A reading request has taken longer than its lane allows."""


class DamagedError(Exception):
    """A stored document is not what was written."""


class Reading:
    """What a reading transaction shares with those before and after it: what is kept in memory, what has changed."""

    def __init__(self, changes: Changes, known: dict[type, Any], *, is_quick: bool) -> None:
        self.changes = changes
        self.commit = changes.commits
        """Of this commit and those before it the transaction sees everything; of later ones it may."""
        self.is_quick = is_quick
        """Whether the transaction is begun again, among slow ones, if it takes long."""
        self._known = known

    def kept(self, what: type[Kept]) -> Kept:
        """Return the one object of a class that the server keeps, made when it is first asked for."""
        found: Kept = self._known.get(what) or self._known.setdefault(what, what())
        return found


class Tx:
    """One transaction. Handed to the functions given to `Store.read` and `Store.write`, never kept by them."""

    def __init__(self, connection: sqlite3.Connection, reading: Reading | None = None) -> None:
        self._connection = connection
        self._began = time.monotonic()
        self.topics: set[str] = set()
        self.changed: list[Change] = []
        self.reading = reading

    @property
    def turn_is_over(self) -> bool:
        """Whether this transaction has held the writer for its turn; the rest belongs in another (`Unfinished`)."""
        return time.monotonic() - self._began > TURN_S

    def get(self, kind: str, id: str) -> Document | None:
        """Return a document, or None where there is none."""
        row = self._connection.execute(f"SELECT doc FROM {_table(kind)} WHERE id = ?", (id,)).fetchone()
        try:
            return orjson.loads(row[0]) if row else None
        except orjson.JSONDecodeError as error:
            raise DamagedError(f"{kind} {id} is not JSON: {error}") from error

    def put(self, kind: str, doc: Document) -> None:
        """Insert or replace a document by its `id`; a replaced one keeps its place in the order of creation."""
        body = orjson.dumps(doc)
        if len(body) > MAX_DOCUMENT_BYTES:
            self._require_room(kind, doc["id"], len(body))
        text = body.decode()
        self.changed.append((kind, ((doc["id"], EVERYTHING),)))
        if kind == "task":
            self._put_task(doc, text)
            return
        self._connection.execute(
            f"INSERT INTO {_table(kind)} (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
            (doc["id"], text),
        )

    def _require_room(self, kind: str, id: str, size: int) -> None:
        stored = self.rows(f"SELECT length(CAST(doc AS BLOB)) FROM {_table(kind)} WHERE id = ?", (id,))
        if size - (stored[0][0] if stored else 0) > MAX_GROWTH_BYTES:
            raise validation_error(f"the {kind} would take {size} bytes; at most {MAX_DOCUMENT_BYTES} are stored")

    def _put_task(self, task: Document, text: str) -> None:
        """Write a task and those of its columns that differ from what is stored."""
        values = document_columns.task_columns(task)
        found = self._connection.execute(document_columns.READ, (task["id"],)).fetchone()
        if found is None:
            self._connection.execute(document_columns.INSERT, (task["id"], *values, text))
            return
        row, revision, *before = found
        numbers = document_columns.changed(before, values)
        changed = [values[number] for number in numbers]
        self._connection.execute(document_columns.update(numbers), (text, revision + 1, *changed, row))

    def delete(self, kind: str, id: str) -> None:
        """Delete a document; none is fine."""
        self._connection.execute(f"DELETE FROM {_table(kind)} WHERE id = ?", (id,))
        self.changed.append((kind, ((id, EVERYTHING),)))

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a SELECT."""
        return self._connection.execute(sql, args).fetchall()

    def each(self, sql: str, args: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a SELECT and read its rows as they are taken."""
        yield from self._connection.execute(sql, args)

    def docs(self, sql: str, args: Sequence[Any] = ()) -> list[Document]:
        """Run a SELECT whose first column is a document."""
        return list(self.each_doc(sql, args))

    def each_doc(self, sql: str, args: Sequence[Any] = ()) -> Iterator[Document]:
        """Run a SELECT whose first column is a document, and read them as they are taken."""
        try:
            for row in self._connection.execute(sql, args):
                yield orjson.loads(row[0])
        except orjson.JSONDecodeError as error:
            raise DamagedError(f"a document is not JSON: {error}") from error

    def execute(self, sql: str, args: Sequence[Any] = ()) -> int:
        """Run an INSERT, UPDATE or DELETE; return how many rows it touched."""
        return self._connection.execute(sql, args).rowcount

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once per row."""
        self._connection.executemany(sql, rows)

    def note_outside_change(self) -> None:
        """Tell a server that runs on this database that another process changes what the server may keep in memory."""
        self._connection.execute(
            "INSERT INTO setting (name, value) VALUES (?, '1') ON CONFLICT (name) DO UPDATE SET value = value + 1",
            (OUTSIDE,),
        )

    def outside_changes(self) -> str:
        """Return a mark that is another one after each change of another process."""
        row = self._connection.execute("SELECT value FROM setting WHERE name = ?", (OUTSIDE,)).fetchone()
        return str(row[0]) if row else ""

    def notify(self, topic: str) -> None:
        """Wake what waits for `topic`, after this transaction has been committed."""
        self.topics.add(topic)


@dataclass
class _Write:
    function: Callable[[Tx], Any]
    done: Callable[[Any, BaseException | None], None]
    result: Any = None
    error: BaseException | None = None
    topics: set[str] = field(default_factory=set)
    changed: list[Change] = field(default_factory=list)


class Store:
    """The database of one server.

    Args:
        path: Database file; its folder exists.
        readers: Connections for reading. Two serve a two-core machine; SQLite gives the GIL back while it works.

    Raises:
        StartError: The database cannot be used.
    """

    def __init__(self, path: Path, readers: int = 2) -> None:
        self.path = path
        self._local = threading.local()
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._on_commit: Callable[[set[str]], None] = lambda topics: None
        self._told: set[str] = set()
        self._changes = Changes()
        self._known: dict[type, Any] = {}
        open_database(path)
        self._writing = connect(path)
        self._writer = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._writer.start()
        self._readers = Lane(readers, "store-reader")
        self._slow_readers = Lane(SLOW_READERS, "store-slow-reader")

    def on_commit(self, listener: Callable[[set[str]], None]) -> None:
        """Set who hears (on the writer's thread) which topics a commit has touched."""
        self._on_commit = listener

    async def read(self, function: Callable[[Tx], Result]) -> Result:
        """Run `function` in a read transaction off the event loop.

        One that takes long is begun again among its like: short requests never wait for it.

        Raises:
            ApiError: 400/12, it takes longer than any may.
        """
        try:
            return await self._readers.run(partial(self._read, function, QUICK_S))
        except SlowReadError:
            pass
        try:
            return await self._slow_readers.run(partial(self._read, function, SLOW_S))
        except SlowReadError as error:
            raise validation_error(
                f"the query takes longer than {SLOW_S:g} s: ask for a page (page, page_size) or filter by more"
            ) from error

    async def write(self, function: Callable[[Tx], Result]) -> Result:
        """Run `function` in a write transaction; return after it is on disk. An exception rolls it back alone."""
        answer = Answer[Result]()
        self._writes.put(_Write(function, answer.give))
        return await answer.future  # where the caller is cancelled, what it wrote stays written

    def close(self) -> None:
        """Finish the waiting writes, fold the log into the database and stop the threads."""
        self._writes.put(None)
        self._writer.join(timeout=30)
        for readers in (self._readers, self._slow_readers):
            readers.close()

    def _read(self, function: Callable[[Tx], Result], limit_s: float) -> Result:
        connection = self._reader()
        connection.limit(limit_s)
        reading = Reading(self._changes, self._known, is_quick=limit_s < SLOW_S)
        try:
            connection.execute("BEGIN")
            return function(Tx(connection, reading))
        except (sqlite3.DatabaseError, DamagedError) as error:
            if connection.overdue or (connection.search.refusal and limit_s < SLOW_S):
                raise SlowReadError from error
            raise connection.search.refusal or self._refusal(error) or error from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _reader(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = connect(self.path)
                connection.execute("PRAGMA query_only = ON")
            except sqlite3.DatabaseError as error:
                raise self._refusal(error) or error from error
            self._local.connection = connection
        return connection

    def _refusal(self, error: sqlite3.Error | DamagedError) -> ApiError | None:
        """Return the answer to an error of the database as a whole, which the log names once."""
        if isinstance(error, DamagedError):
            hint = f"Stop the server; clearml-localserver check {self.path.parent} reports what is damaged"
            trouble: Trouble | None = Trouble(f"Database {self.path} is damaged ({error})", hint)
        else:
            trouble = trouble_of(self.path, error)
        if trouble is None:
            return None
        if trouble.text not in self._told:
            self._told.add(trouble.text)
            log.error("%s", trouble)
        # Not 507 or 503: above 500 the SDK repeats a call forever, and the user never learns the cause.
        return ApiError(500, 0, str(trouble))

    def _write_loop(self) -> None:
        connection = self._writing
        stop = False
        while not stop:
            first = self._writes.get()
            group = [first]
            while len(group) < GROUP and group[-1] is not None:
                try:
                    group.append(self._writes.get_nowait())
                except queue.Empty:
                    break
            stop = group[-1] is None
            self._commit(connection, [write for write in group if write is not None])
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # nothing is lost: the next start reads the log
            log.warning("the log of database %s was not merged into it: %s", self.path, error)
        connection.close()

    def _commit(self, connection: Connection, group: list[_Write]) -> None:
        if not group:
            return
        try:
            if connection.in_transaction:  # on a failing disk the last rollback failed, too
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                self._run(connection, write)
            connection.execute("COMMIT")
        except sqlite3.Error as error:  # the commit itself failed (disk full, I/O): no write has happened
            # The writer must keep running, whatever the disk does: without it every write would wait forever.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            refusal = self._refusal(error) or ApiError(500, 0, f"Database {self.path}: {error}")
            for write in group:
                write.result, write.error, write.topics = None, write.error or refusal, set()
                write.changed = []
        # Before the answers: who has one finds what was written.
        self._changes.note(change for write in group for change in write.changed)
        touched = set().union(*(write.topics for write in group))
        for write in group:
            write.done(write.result, write.error)
        if touched:
            self._on_commit(touched)

    def _run(self, connection: Connection, write: _Write) -> None:
        tx = Tx(connection)
        connection.search.restart()
        connection.execute("SAVEPOINT request")
        try:
            write.result = write.function(tx)
            write.topics, write.changed = tx.topics, tx.changed
        except (sqlite3.DatabaseError, DamagedError) as error:
            if not connection.in_transaction:  # SQLite gave up the whole transaction (disk full)
                raise
            connection.execute("ROLLBACK TO request")
            write.error = connection.search.refusal or self._refusal(error) or error
        except BaseException as error:
            connection.execute("ROLLBACK TO request")
            write.error = error
        connection.execute("RELEASE request")


def _table(kind: str) -> str:
    if kind not in KINDS:
        raise KeyError(kind)
    return kind
