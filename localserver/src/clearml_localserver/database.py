"""One SQLite file: opening it, updating its schema, copying it, and messages for its errors.

Only this module, `clearml_localserver.store` and `clearml_localserver.recovery` import `sqlite3`. Knows neither
requests nor documents.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shutil import disk_usage
from typing import Any
from urllib.parse import quote

from clearml_localserver import sqlite_codes
from clearml_localserver.errors import StartError
from clearml_localserver.lock_holders import describe_holders
from clearml_localserver.sqlite_codes import primary_code, result_code
from clearml_localserver.timed_regex import LIMIT_S as SEARCH_LIMIT_S
from clearml_localserver.timed_regex import TimedSearch, sort_key

log = logging.getLogger(__name__)

FILE_NAME = "server.sqlite"
"""The database's name in a data folder."""

BUSY_TIMEOUT_MS = 10_000
SNAPSHOT_PAGES = 2_048
"""Pages between two reports of a copy's progress: 8 MiB."""

FULL_BELOW_BYTES = 2**20
"""Free space under which an I/O error is told as a full disk: some file systems do not say so themselves."""

WRITE_ERRORS = (sqlite_codes.FULL, sqlite_codes.IOERR_WRITE, sqlite_codes.IOERR_FSYNC, sqlite_codes.IOERR)
"""Errors of a copy that concern the file that is written. The last is all that Python 3.10 says of an I/O error."""

START_CHECK_LIMIT_BYTES = 64 * 2**20
"""Largest database that is read through at each start (a third of a second); `check` reads any."""

STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: a few thousand documents, some 20 ms."""

Progress = Callable[[int, int], None]
"""Called with how many parts are done, and of how many."""


LOCKED = (sqlite_codes.BUSY, sqlite_codes.LOCKED)


class LockedError(StartError):
    """Another process locks the database, which says nothing about its state."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a database, and what a person can do about it."""

    text: str
    hint: str

    def __str__(self) -> str:
        return f"{self.text}. {self.hint}"


class Connection(sqlite3.Connection):
    """SQLite with the operator REGEXP, whose searches have a time limit, and `sort_key`, which texts are sorted by.

    Attributes:
        search: The searches of the operator.
        overdue: Whether a statement was interrupted because the time given by `limit` was over.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.search = TimedSearch()
        self.create_function("REGEXP", 2, self.search, deterministic=True)
        self.create_function("sort_key", 1, sort_key, deterministic=True)
        self.overdue = False
        self._deadline = math.inf

    def limit(self, limit_s: float) -> None:
        """Interrupt the statements of the next transaction once it has taken `limit_s`."""
        self.overdue = False
        self._deadline = time.monotonic() + limit_s
        self.search.restart(min(limit_s, SEARCH_LIMIT_S))
        self.set_progress_handler(self._is_overdue, STEPS)

    def _is_overdue(self) -> bool:
        self.overdue = time.monotonic() > self._deadline
        return self.overdue


def connect(path: Path) -> Connection:
    """Open a database for reading and writing; made if it is absent."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=512, factory=Connection
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def connect_read_only(path: Path, *, immutable: bool = False) -> Connection:
    """Open a database for reading; `immutable`: no process changes it, and no file is made beside it."""
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{options}", uri=True, isolation_level=None, factory=Connection
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return connection


def trouble_of(path: Path, error: sqlite3.Error) -> Trouble | None:
    """Return what an error says of the database as a whole; None where it is about the statement."""
    code = primary_code(error)
    if code == sqlite_codes.FULL or (code == sqlite_codes.IOERR and _free_bytes(path) < FULL_BELOW_BYTES):
        text = f"Insufficient storage: the disk that holds database {path} is full ({_free_bytes(path)} bytes free)"
        return Trouble(text, "Free some space and repeat; nothing was changed")
    if code == sqlite_codes.IOERR:
        text = f"Database {path} cannot be read or written ({error})"
        return Trouble(text, "A quota or a file size limit is reached, or the disk fails: see the kernel's log (dmesg)")
    if code in LOCKED:
        text = f"Database {path} is locked by another process ({describe_holders(path)})"
        return Trouble(text, "End that process or its transaction and repeat; nothing was changed")
    if code in (sqlite_codes.CORRUPT, sqlite_codes.NOTADB) or _is_unreadable_content(error):
        hint = f"Stop the server; clearml-localserver check {path.parent} reports what is damaged and how to continue"
        return Trouble(f"Database {path} is damaged ({error})", hint)
    if code in (sqlite_codes.READONLY, sqlite_codes.CANTOPEN, sqlite_codes.PERM, sqlite_codes.AUTH):
        return Trouble(f"Database {path} cannot be opened or written ({error})", f"See {path.parent}: owner and modes")
    return None


def _is_unreadable_content(error: sqlite3.Error) -> bool:
    """Return whether a value in a sound page is not what was written: not UTF-8, or not JSON."""
    return str(error).startswith(("Could not decode to UTF-8", "malformed JSON"))


def _free_bytes(path: Path) -> int:
    return disk_usage(path.parent).free


def start_error(path: Path, error: sqlite3.Error) -> StartError:
    """Return the message of a server that cannot start on a database."""
    trouble = trouble_of(path, error) or Trouble(f"Database {path} cannot be used ({error})", "Restore a backup")
    kind = LockedError if primary_code(error) in LOCKED else StartError
    return kind(f"{trouble.text}\nHint: {trouble.hint}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn SQLite's errors of the block into one message.

    Raises:
        StartError: In their place.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise start_error(path, error) from error


def open_database(path: Path) -> None:
    """Update the schema of a database, made if it is absent, and check it once.

    Raises:
        StartError: It is damaged, locked or of a newer version, the disk is full, or a migration failed, which leaves
            it as it was.
    """
    with reading(path), closing(connect(path)) as connection:
        if path.stat().st_size <= START_CHECK_LIMIT_BYTES:
            require_sound(path, connection)
        _migrate(path, connection)


def require_sound(path: Path, connection: Connection) -> None:
    """Check a whole database.

    Raises:
        StartError: It is damaged.
    """
    if problems := integrity_problems(connection, full=False):
        hint = f"clearml-localserver check {path.parent} reports what is damaged and how to continue"
        raise StartError(f"Database {path} is damaged ({problems[0]})\nHint: {hint}")


def integrity_problems(connection: Connection, *, full: bool) -> list[str]:
    """Return what SQLite finds wrong with a database's pages and, in `full`, with its indexes; at most 100 lines."""
    pragma = "integrity_check" if full else "quick_check"
    lines = [line for (text,) in connection.execute(f"PRAGMA {pragma}") for line in str(text).splitlines()]
    return [] if lines == ["ok"] else [line for line in lines if not line.startswith("***")]


def scripts() -> dict[int, tuple[str, str]]:
    """Return the migrations by number: name and SQL text."""
    folder = resources.files("clearml_localserver").joinpath("migrations")
    return {
        int(entry.name.split("_")[0]): (entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }


def applied_steps(connection: Connection) -> set[int]:
    """Return the numbers of the migrations that a database has seen; none where it is new."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone():
        return set()
    return {number for (number,) in connection.execute("SELECT number FROM migration")}


def _migrate(path: Path, connection: Connection) -> None:
    """Run the scripts that this database has not seen: all of them or, where one fails, none."""
    known, applied = scripts(), applied_steps(connection)
    if unknown := applied - known.keys():
        raise StartError(
            f"database {path} was written by a newer version (schema step {max(unknown)} is unknown here)\n"
            "Hint: update the project or start with another --data folder"
        )
    todo = {number: known[number] for number in sorted(known.keys() - applied)}
    if not todo:
        return
    copy = path.with_name(f"{path.name}.before-step-{max(todo)}")
    if applied:
        # `./task server-up` waits longer for a server that says this.
        log.warning("updating the database to schema step %d: some seconds for 100,000 tasks", max(todo))
        snapshot(path, copy)
    steps = [f"{text}\nINSERT INTO migration VALUES ({number}, '{name}');" for number, (name, text) in todo.items()]
    table = "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    try:
        connection.executescript("\n".join(["BEGIN IMMEDIATE;", table, *steps, "COMMIT;"]))
    except sqlite3.Error as error:
        reached = applied_steps(connection)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if trouble_of(path, error):
            raise
        failed = next((name for number, (name, _) in todo.items() if number not in reached), "the last one")
        raise StartError(
            f"database {path} could not be updated: migration {failed} failed ({error})\n"
            f"Hint: the database is unchanged, and the version that wrote it can use it; a copy is {copy}"
        ) from error
    copy.unlink(missing_ok=True)


def snapshot(path: Path, target: Path, progress: Progress = lambda done, of: None) -> None:
    """Copy a database as of one moment, while others may write to it.

    Raises:
        sqlite3.Error: It cannot be read.
        StartError: The copy cannot be written.
    """
    target.unlink(missing_ok=True)
    with closing(connect_read_only(path)) as source, closing(sqlite3.connect(target)) as copy:
        # An open transaction keeps what is read as of now: without it, each write of others restarts the copy.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        try:
            source.backup(copy, pages=SNAPSHOT_PAGES, progress=lambda _, left, total: progress(total - left, total))
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
        except sqlite3.Error as error:
            if result_code(error) in WRITE_ERRORS:
                raise start_error(target, error) from error
            raise
    target.chmod(0o600)
