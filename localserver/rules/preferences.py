"""Preferences of a user: what the web page keeps for them.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Preferences = dict[str, Any]


def merged(current: Mapping[str, Any], new: Mapping[str, Any]) -> Preferences:
    """Return `current` with `new` in it: a key replaces what stood there, one with dots leads into it."""
    result = dict(current)
    for path, value in new.items():
        *way, last = path.split(".")
        place = result
        for part in way:
            below = place.get(part)
            place[part] = dict(below) if isinstance(below, Mapping) else {}
            place = place[part]
        place[last] = value
    return result
