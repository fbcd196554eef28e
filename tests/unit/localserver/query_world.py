"""A small world of documents in an in-memory database, for the tests of the query package."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from clearml_localserver.store import Connection, Tx

COMPANY = "c" * 32


@dataclass(frozen=True)
class Query:
    """The part of a call that the query package reads."""

    raw: dict[str, Any] = field(default_factory=dict)
    version: tuple[int, int] = (2, 23)
    company: str = COMPANY
    company_name: str = "clearml"

    @property
    def data(self) -> dict[str, Any]:
        return {key: value for key, value in self.raw.items() if value is not None}


def open_tx() -> Tx:
    """Return a transaction on a new database with the server's own schema."""
    return Tx(open_connection())


def open_connection() -> Connection:
    """Return a connection to a new database with the server's own schema."""
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    for text in migrations().values():
        connection.executescript(text)
    return connection


def migrations() -> dict[str, str]:
    """Return the server's migrations by name, in their order."""
    scripts = list(resources.files("clearml_localserver").joinpath("migrations").iterdir())
    return {script.name: script.read_text(encoding="utf-8") for script in sorted(scripts, key=lambda it: it.name)}


def document(id: str, **fields: Any) -> dict[str, Any]:
    """Return a document with what every kind has."""
    basics = {"id": id, "company": COMPANY, "user": "u1", "name": id, "tags": [], "system_tags": []}
    return basics | fields
