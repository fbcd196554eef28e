"""SQL over the settings of the server that are kept in the database: JSON values by name."""

from __future__ import annotations

from typing import Any

import orjson

from clearml_localserver.store import Tx


def read_setting(tx: Tx, name: str) -> Any:
    """Return a setting, or None where it was never set."""
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (name,))
    return orjson.loads(rows[0][0]) if rows else None


def write_setting(tx: Tx, name: str, value: Any) -> None:
    """Set a setting."""
    tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, orjson.dumps(value).decode()))


def remove_settings(tx: Tx, names: list[str]) -> None:
    """Remove settings; those that were never set are not an error."""
    tx.executemany("DELETE FROM setting WHERE name = ?", [(name,) for name in names])
