"""Roles: what a user or an access key may do. Pure.

ClearML has seven role names; here they stand for three rights, each including the ones before it: a `guest` reads, a
`user` also changes things, an `admin` also makes and revokes users and keys.
"""

from __future__ import annotations

from collections.abc import Iterable

from clearml_localserver.errors import ApiError

GUEST, USER, ADMIN = "guest", "user", "admin"

RANKS = {GUEST: 0, "annotator": 1, USER: 1, "superuser": 1, ADMIN: 2, "root": 2, "system": 2}
"""Every role name of ClearML, and its rank."""

GIVEN = ("superuser", "annotator", "user", "guest", "admin")
"""Roles that `auth.edit_user` may give."""


def reaches(role: str, needed: str) -> bool:
    """Return whether `role` may do what needs `needed`; an unknown role has no rights."""
    return RANKS.get(role, -1) >= RANKS[needed]


def weakest(roles: Iterable[str]) -> str:
    """Return the lowest role, the first of equals."""
    return min(roles, key=lambda role: RANKS.get(role, -1))


def require(role: str, needed: str) -> None:
    """Refuse a role that is lower than `needed`.

    Raises:
        ApiError: 403/20, naming the roles that are high enough.
    """
    if not reaches(role, needed):
        allowed = ", ".join(name for name, rank in reversed(RANKS.items()) if rank >= RANKS[needed])
        raise ApiError(403, 20, f"Forbidden (not allowed for role): role={role}, allowed=({allowed})")
