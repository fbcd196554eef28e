"""Changes of users and access keys, in the store and in the memory that requests are checked against."""

from __future__ import annotations

from clearml_localserver import auth
from clearml_localserver.auth import Key
from clearml_localserver.errors import ApiError
from clearml_localserver.registry import Call
from clearml_localserver.rules import roles
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables import credentials

NAMES = ("name", "given_name", "family_name", "avatar")
"""What a user may change about themselves."""


def find_user(call: Call, tx: Tx, id: str) -> Document:
    """Return a user of the caller's company.

    Raises:
        ApiError: 400/301.
    """
    user = tx.get("user", id)
    if user is None or user["company"] != call.company:
        raise ApiError(400, 301, f"Invalid user id: id={id}")
    return user


def store_user(call: Call, tx: Tx, user: Document) -> None:
    """Store a new or changed user; what their tokens may do changes with it."""
    tx.put("user", user)
    call.context.auth.people[user["id"]] = auth.identity(user)


def remove_user(call: Call, tx: Tx, user: Document) -> None:
    """Delete a user with their access keys and tokens; what they made stays.

    Raises:
        ApiError: 400/301 for the server's own user.
    """
    require_unprotected(call, user=user["id"])
    tx.delete("user", user["id"])
    credentials.remove_keys_of(tx, user["id"])
    call.context.auth.forget_user(user["id"])


def require_unprotected(call: Call, *, user: str = "", access_key: str = "") -> None:
    """Refuse to weaken or remove the server's own user or access key: on a loopback address the pages act for it.

    Raises:
        ApiError: 400/301.
    """
    own = call.context.auth.own
    if user == own.user or access_key == own.access_key:
        raise ApiError(
            400,
            301,
            "Invalid user id (protected identity): this is the server's own; "
            "for another key of its own delete credentials.json in its data folder and start it again",
        )


def store_key(call: Call, tx: Tx, access_key: str, key: Key, label: str | None) -> None:
    """Store a new access key."""
    credentials.add_key(tx, access_key, key.secret_hash, key.user, label, key.role)
    call.context.auth.keys[access_key] = key


def limit_key(call: Call, tx: Tx, access_key: str, key: Key, role: str | None) -> None:
    """Set the most that an access key may do; what its tokens may do changes with it."""
    credentials.set_role(tx, access_key, role)
    call.context.auth.keys[access_key] = Key(key.secret_hash, key.user, role)


def remove_key(call: Call, tx: Tx, access_key: str) -> None:
    """Delete an access key; tokens made from it end with it."""
    credentials.remove_key(tx, access_key)
    del call.context.auth.keys[access_key]


def find_key(call: Call, access_key: str) -> Key | None:
    """Return an access key that the caller may change: their own ones, an admin also others'.

    A caller cannot change a key that has more rights than the calling one: a key with few rights that was stolen must
    not remove the others.
    """
    key = call.context.auth.keys.get(access_key)
    if key is None or (key.user != call.user and not roles.reaches(call.role, roles.ADMIN)):
        return None
    return key if roles.reaches(call.role, role_of(call, key)) else None


def role_of(call: Call, key: Key) -> str:
    """Return what a key may do: what its user may, and no more than its own role."""
    owner = call.context.auth.people[key.user].role
    return roles.weakest([owner, key.role]) if key.role else owner


def granted_role(call: Call, user: str, wanted: str | None) -> str | None:
    """Return the role to store with a key for `user`: None where it may do what its user may.

    Raises:
        ApiError: 403/20, `wanted` is more than the caller or the user may do.
    """
    owner = call.context.auth.people[user].role
    most = roles.weakest([owner, call.role])
    if wanted and not roles.reaches(most, wanted):
        text = "an access key cannot have more rights than its user or than who makes it"
        raise ApiError(403, 20, f"Forbidden ({text}): role={wanted}, most={most}")
    return wanted or (None if roles.reaches(most, owner) else most)
