"""Preferences of a user: what the web page keeps for them.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from clearml_localserver.errors import validation_error

Preferences = dict[str, Any]

MAX_BYTES = 2**20
"""Most of one user's preferences. Every reader may set them: they must not fill the disk, nor be slow to read."""

MAX_PARTS = 50
"""Most parts of a key with dots: each is a level of the document."""


def merged(current: Mapping[str, Any], new: Mapping[str, Any]) -> Preferences:
    """Return `current` with `new` in it: a key replaces what stood there, one with dots leads into it.

    Raises:
        ApiError: 400/12, a key leads too deep, or together they are too large.
    """
    result = dict(current)
    for path, value in new.items():
        *way, last = path.split(".", MAX_PARTS)
        if "." in last:
            raise validation_error(f"field=preferences: the key {path[:50]}... has more than {MAX_PARTS} parts")
        place = result
        for part in way:
            below = place.get(part)
            place[part] = dict(below) if isinstance(below, Mapping) else {}
            place = place[part]
        place[last] = value
    if len(orjson.dumps(result)) > MAX_BYTES:
        raise validation_error(f"field=preferences: one user's are at most {MAX_BYTES} bytes together")
    return result
