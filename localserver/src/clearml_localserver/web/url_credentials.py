"""Credentials before the host in addresses of repositories and packages: pages hide them. Pure."""

from __future__ import annotations

import re

HIDDEN = "***"
"""Stands for credentials on a page."""

_PART = r"""[^\s/?#"'<>]"""
_WITH_USER = re.compile(rf"(?P<web>https?)?://(?P<user>{_PART}+)@(?P<host>[^\s/?#\"'<>@]*)", re.IGNORECASE)


def hide(text: str) -> str:
    """Return a text with the credentials in its addresses hidden. A user without a password is none but on the web."""
    return _WITH_USER.sub(_hidden, text) if "://" in text and "@" in text else text


def restore(text: str, source: str) -> str:
    """Return a text with what is hidden in it shown again, where `source` has credentials of one user for that host."""
    if f"://{HIDDEN}@" not in text:
        return text
    users: dict[str, set[str]] = {}
    for found in _WITH_USER.finditer(source):
        users.setdefault(found["host"], set()).add(found["user"])

    def shown(found: re.Match[str]) -> str:
        known = users.get(found["host"], set()) if found["user"] == HIDDEN else set()
        return _with(found, *known) if len(known) == 1 else found[0]

    return _WITH_USER.sub(shown, text)


def is_hidden_in(text: str) -> bool:
    """Return whether a text stands for credentials that it does not have."""
    return f"://{HIDDEN}@" in text


def _hidden(found: re.Match[str]) -> str:
    return _with(found, HIDDEN) if found["web"] or ":" in found["user"] else found[0]


def _with(found: re.Match[str], user: str) -> str:
    return f"{found['web'] or ''}://{user}@{found['host']}"
