"""SQL over users."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import Clause, stored
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import tree_of


def members(tx: Tx, company: str) -> list[tuple[Any, ...]]:
    """Return id, name and avatar of a company's users, the oldest first."""
    return tx.rows(
        "SELECT id, json_extract(doc, '$.name'), json_extract(doc, '$.avatar') FROM user "
        "WHERE json_extract(doc, '$.company') = ? ORDER BY rowid",
        (company,),
    )


def count(tx: Tx) -> int:
    """Return how many users there are."""
    return int(tx.rows("SELECT count(*) FROM user")[0][0])


def is_email_taken(tx: Tx, email: str) -> bool:
    """Return whether a user has this e-mail address."""
    return bool(tx.rows("SELECT 1 FROM user WHERE json_extract(doc, '$.email') = ?", (email,)))


def active_in(projects: list[str]) -> Clause:
    """Return "has tasks or models in one of these projects or below"."""
    tree = tree_of(projects)
    makers = " UNION ".join(
        f"SELECT {stored(kind, 'user', of=kind)} FROM tree CROSS JOIN {kind} ON {kind}.field_project = tree.id"
        for kind in ("task", "model")
    )
    return Clause(f"id IN ({tree.sql} {makers})", tree.args)
