"""Rewrite references in documents, events and texts from one server's ids and URLs to another's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")

Value = TypeVar("Value")


class Rewriter:
    """Replaces ids and addresses wherever they stand: fields, parameters, configurations, tags, addresses, texts.

    Args:
        ids: New ids by old ones; it may grow later.
        addresses: New addresses of servers by old ones.
    """

    def __init__(self, ids: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        self._ids = ids
        self._addresses = {old.encode(): new.encode() for old, new in addresses.items()}
        longest_first = sorted(self._addresses, key=len, reverse=True)
        # A port is not the beginning of another one.
        self._address = re.compile(b"(?:" + b"|".join(map(re.escape, longest_first)) + rb")(?!\d)")

    def text(self, content: bytes) -> bytes:
        """Return a text with this server's ids and addresses."""
        if self._addresses:
            content = self._address.sub(lambda match: self._addresses[match[0]], content)
        return ID.sub(lambda match: self._ids.get(match[0].decode(), match[0].decode()).encode(), content)

    def value(self, value: Value) -> Value:
        """Return JSON with this server's ids and addresses, keys included."""
        found: Value = orjson.loads(self.text(orjson.dumps(value)))
        return found


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a document without some fields, and without those that hold nothing."""
    return {name: value for name, value in document.items() if name not in names and value is not None}
