"""Credentials before the host in addresses of repositories and packages: pages hide them. Pure.

A text may be megabytes long, and a call of a pattern on all of it would stop every other thread for that time. So
patterns are only asked about what is near an `@`, and about a slice at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

HIDDEN = "***"
"""Stands for credentials on a page."""

SLICE = 2**16
_SEPARATOR = re.compile(r"""[\s/?#"'<>]""")
"""Ends the part of an address that has user and host."""

_WEB = re.compile(r"https?\Z", re.IGNORECASE)


class _Address(NamedTuple):
    """An address with a user: its places in the text, and its parts."""

    start: int
    end: int
    web: str
    """`http` or `https` as it is written; empty for all else."""

    user: str
    host: str

    def with_user(self, user: str) -> str:
        return f"{self.web}://{user}@{self.host}"


def hide(text: str) -> str:
    """Return a text with the credentials in its addresses hidden. A user without a password is none but on the web."""

    def hidden(found: _Address) -> str:
        return found.with_user(HIDDEN if found.web or ":" in found.user else found.user)

    return _replaced(text, hidden) if "://" in text and "@" in text else text


def restore(text: str, source: str) -> str:
    """Return a text with what is hidden in it shown again, where `source` has credentials of one user for that host."""
    if not is_hidden_in(text):
        return text
    users: dict[str, set[str]] = {}
    for found in _addresses(source):
        users.setdefault(found.host, set()).add(found.user)

    def shown(found: _Address) -> str:
        known = users.get(found.host, set()) if found.user == HIDDEN else set()
        return found.with_user(*known) if len(known) == 1 else found.with_user(found.user)

    return _replaced(text, shown)


def is_hidden_in(text: str) -> bool:
    """Return whether a text stands for credentials that it does not have."""
    return f"://{HIDDEN}@" in text


def _replaced(text: str, written: Callable[[_Address], str]) -> str:
    pieces, at = [], 0
    for found in _addresses(text):
        pieces += [text[at : found.start], written(found)]
        at = found.end
    return "".join([*pieces, text[at:]])


def _addresses(text: str) -> Iterator[_Address]:
    """Yield the addresses that have a user: all up to the last `@` before the next separator."""
    at = 0
    while (sign := text.find("@", at)) >= 0:
        colon = text.rfind("://", at, sign)
        begin = colon + 3
        if colon >= 0 and _separator(text, begin, sign) == sign:
            end = _separator(text, sign, len(text))
            last = text.rfind("@", begin, end)
            if last > begin:
                web = _WEB.search(text, max(at, colon - 5), colon)
                start = web.start() if web else colon
                yield _Address(start, end, web[0] if web else "", text[begin:last], text[last + 1 : end])
                at = end
                continue
        at = sign + 1


def _separator(text: str, start: int, end: int) -> int:
    """Return where the first separator is; `end` if there is none before it."""
    for at in range(start, end, SLICE):
        if found := _SEPARATOR.search(text, at, min(at + SLICE, end)):
            return found.start()
    return end
