"""Codes of SQLite's errors, also where Python does not give them (3.10): from the text of the error."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from clearml_localserver import sqlite_codes
from clearml_localserver.sqlite_codes import MESSAGES, primary_code, result_code

NAMES = ("PERM", "BUSY", "LOCKED", "READONLY", "IOERR", "CORRUPT", "FULL", "CANTOPEN", "AUTH", "NOTADB")


def locked(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "db")) as one, closing(sqlite3.connect(folder / "db", timeout=0)) as other:
        one.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE t (c)")


def read_only(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "db")) as one:
        one.execute("CREATE TABLE t (c)")
    with closing(sqlite3.connect(f"file:{folder / 'db'}?mode=ro", uri=True)) as one:
        one.execute("CREATE TABLE u (c)")


def not_a_database(folder: Path) -> None:
    (folder / "db").write_bytes(b"no database at all" * 100)
    with closing(sqlite3.connect(folder / "db")) as one:
        one.execute("SELECT * FROM sqlite_schema")


def cannot_open(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "absent" / "db")):
        pass


def full(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "db")) as one:
        one.execute("PRAGMA max_page_count = 1")
        one.execute("CREATE TABLE t (c)")


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (locked, sqlite_codes.BUSY),
        (read_only, sqlite_codes.READONLY),
        (not_a_database, sqlite_codes.NOTADB),
        (cannot_open, sqlite_codes.CANTOPEN),
        (full, sqlite_codes.FULL),
    ],
)
def test_an_error_has_the_same_code_with_and_without_pythons_help(
    cause: Callable[[Path], None], code: int, tmp_path: Path
) -> None:
    with pytest.raises(sqlite3.Error) as raised:
        cause(tmp_path)
    assert primary_code(raised.value) == code
    assert result_code(type(raised.value)(str(raised.value))) == code


def test_the_codes_are_those_of_python_where_it_names_them() -> None:
    for name in (*NAMES, "IOERR_WRITE", "IOERR_FSYNC"):
        code = getattr(sqlite_codes, name)
        assert getattr(sqlite3, f"SQLITE_{name}", code) == code
    assert set(MESSAGES.values()) == {getattr(sqlite_codes, name) for name in NAMES}


def test_an_error_of_a_statement_has_no_code() -> None:
    assert result_code(sqlite3.ProgrammingError("Cannot operate on a closed database.")) == 0
