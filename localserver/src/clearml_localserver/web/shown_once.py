"""What a page shows only once, on the page after the form that made it: an access key with its secret key.

The answer to a form leads to another page, so that a reload does not send the form again. The secret is in the address
of no page: the address has a mark, which its person can redeem once.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from threading import Lock
from typing import Any

MOST = 100
"""Values that wait for their page; older ones are dropped."""


class ShownOnce:
    """Values between a form and the page that shows them."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self._lock = Lock()

    def keep(self, user: str, value: dict[str, Any]) -> str:
        """Keep a value for a person; return the mark that stands for it."""
        mark = secrets.token_urlsafe(16)
        with self._lock:
            self._waiting[user, mark] = value
            while len(self._waiting) > MOST:
                self._waiting.popitem(last=False)
        return mark

    def take(self, user: str, mark: str) -> dict[str, Any] | None:
        """Return the value of a mark, once and to its person only; else None."""
        with self._lock:
            return self._waiting.pop((user, mark), None)
