"""SQL over access keys and ended sessions."""

from __future__ import annotations

from clearml_localserver.store import Tx

COLUMNS = ("access_key", "label", "last_used", "last_used_from", "user")


def stored_keys(tx: Tx, user: str | None) -> list[dict[str, str | None]]:
    """Return the access keys of a user, or of all users (None), the oldest first; never their secrets."""
    where = "" if user is None else "WHERE user = ?"
    sql = f"SELECT {', '.join(COLUMNS)} FROM credential {where} ORDER BY rowid"
    return [dict(zip(COLUMNS, row, strict=True)) for row in tx.rows(sql, () if user is None else (user,))]


def add_key(tx: Tx, access_key: str, secret_hash: str, user: str, label: str | None, role: str | None) -> None:
    """Store a new access key."""
    tx.execute(
        "INSERT INTO credential (access_key, secret_hash, user, label, role) VALUES (?, ?, ?, ?, ?)",
        (access_key, secret_hash, user, label, role),
    )


def record_use(tx: Tx, access_key: str, moment: str, address: str) -> None:
    """Record when an access key was last used, and from which address."""
    sql = "UPDATE credential SET last_used = ?, last_used_from = ? WHERE access_key = ?"
    tx.execute(sql, (moment, address, access_key))


def set_label(tx: Tx, access_key: str, label: str | None) -> None:
    """Rename an access key."""
    tx.execute("UPDATE credential SET label = ? WHERE access_key = ?", (label, access_key))


def set_role(tx: Tx, access_key: str, role: str | None) -> None:
    """Set the role of an access key; None gives it the role of its user."""
    tx.execute("UPDATE credential SET role = ? WHERE access_key = ?", (role, access_key))


def remove_key(tx: Tx, access_key: str) -> None:
    """Delete an access key."""
    tx.execute("DELETE FROM credential WHERE access_key = ?", (access_key,))


def remove_keys_of(tx: Tx, user: str) -> None:
    """Delete all access keys of a user."""
    tx.execute("DELETE FROM credential WHERE user = ?", (user,))


def end_session(tx: Tx, session: str, expires: int, now: int) -> None:
    """Record that a session has ended, and delete the records of sessions whose tokens have expired."""
    tx.execute("DELETE FROM revoked_session WHERE expires < ?", (now,))
    tx.execute("INSERT OR REPLACE INTO revoked_session VALUES (?, ?)", (session, expires))
