"""Copy the readable rows of a damaged database into a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from clearml_localserver.database import connect, connect_read_only

TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"

RECOVERY_STEPS = 1_000
"""Rows that are tried one by one behind an unreadable one; then the steps double."""


def recover(path: Path, target: Path) -> list[str]:
    """Copy every readable row into a new database with the current schema; return a line for each loss.

    Raises:
        sqlite3.Error: Not even the list of tables can be read.
    """
    lost: list[str] = []
    with closing(connect_read_only(path)) as source, closing(connect(target)) as copy:
        source.text_factory = bytes  # text that is not UTF-8 is checked row by row
        # Lets SQLite read a truncated file, or one whose schema is damaged in part; nothing is written to it.
        source.execute("PRAGMA writable_schema = ON")
        tables = [name for (name,) in copy.execute(TABLES) if name != "migration"]
        present = {name.decode() for (name,) in source.execute(TABLES)}
        copy.execute("BEGIN")
        for table in (name for name in tables if name in present):
            lost += _recover_table(source, copy, table)
        copy.execute("COMMIT")
    return lost


def _recover_table(source: sqlite3.Connection, copy: sqlite3.Connection, table: str) -> list[str]:
    # Without its revision, a document's columns are taken from it, which refuses one that is no longer JSON.
    columns = [name for _, name, *_ in copy.execute(f"PRAGMA table_info({table})") if name != "revision"]
    known = {name.decode() for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
    names = ", ".join(name for name in columns if name in known)
    marks = ", ".join("?" for name in columns if name in known)
    insert = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})"
    without_rowid = (
        "WITHOUT ROWID" in copy.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    )
    rows = _both_ends(source, table, names) if without_rowid else _row_by_row(source, table, names)
    unreadable = refused = 0
    for row in rows:
        if row is None:
            unreadable += 1
            continue
        try:
            copy.execute(insert, [value.decode() if isinstance(value, bytes) else value for value in row])
        except (sqlite3.Error, UnicodeDecodeError):  # not the JSON or the text that was written
            refused += 1
    lines = [f"{refused} rows of {table} that are not what was written"] if refused else []
    if unreadable:
        lines.append(f"{table}: {_missing(source, copy, table)}")
    return lines


def _row_by_row(source: sqlite3.Connection, table: str, names: str) -> Iterator[tuple[Any, ...] | None]:
    """Yield the rows of a table in order, and None once for each stretch that cannot be read."""
    position, step = -(2**63), 1
    try:
        end = source.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
    except sqlite3.DatabaseError:  # the last page is unreadable
        end = 2**62
    while position < end:
        try:
            for row in source.execute(
                f"SELECT rowid, {names} FROM {table} WHERE rowid > ? ORDER BY rowid", (position,)
            ):
                position, step = row[0], 1
                yield row[1:]
            return
        except sqlite3.DatabaseError:
            if step == 1:
                yield None
            position = max(position, 0) + max(1, step // RECOVERY_STEPS)
            step = step + 1 if step < RECOVERY_STEPS else step * 2


def _both_ends(source: sqlite3.Connection, table: str, names: str) -> Iterator[tuple[Any, ...] | None]:
    """Yield the rows before the first unreadable place and those behind the last one."""
    key = [name.decode() for _, name, _, _, _, part in source.execute(f"PRAGMA table_info({table})") if part]
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(
                f"SELECT {names} FROM {table} ORDER BY {', '.join(f'{name} {order}' for name in key)}"
            )
            return
        except sqlite3.DatabaseError:
            yield None


def _missing(source: sqlite3.Connection, copy: sqlite3.Connection, table: str) -> str:
    """Return which rows were not copied, by an index of the old database if that can be read."""
    if "id" not in {name for _, name, kind, *_ in copy.execute(f"PRAGMA table_info({table})") if kind == "TEXT"}:
        return "some rows could not be read"
    try:
        ids = {id.decode(errors="replace") for (id,) in source.execute(f"SELECT id FROM {table} ORDER BY id")}
    except sqlite3.DatabaseError:
        return "some rows could not be read, nor their ids"
    missing = sorted(ids - {id for (id,) in copy.execute(f"SELECT id FROM {table}")})
    return f"{len(missing)} rows could not be read: {', '.join(missing[:100])}"
