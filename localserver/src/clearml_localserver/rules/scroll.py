"""Scroll ids that hold their own position, so that the server keeps no state between pages.

A scroll id names the listing that made it and the place where that stopped. It is not a secret and grants nothing: what
it points at is looked up under the request's own task, with the request's own rights.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson

from clearml_localserver.errors import ApiError

LARGEST = 2**62
"""Beyond any position; SQLite's integers end a little above it."""


def encode_scroll(listing: str, *position: Any) -> str:
    """Return the scroll id for a place in a listing."""
    return urlsafe_b64encode(orjson.dumps([listing, *position])).decode().rstrip("=")


def decode_scroll(text: str, listing: str, *types: Any) -> list[Any]:
    """Return the place that a scroll id of `listing` points at.

    Args:
        text: The scroll id.
        listing: The listing that is asked for.
        types: What each part of the place must be an instance of.

    Raises:
        ApiError: 400/1104, it is not a scroll id of this listing.
    """
    position: list[Any]
    try:
        name, *position = orjson.loads(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (ValueError, TypeError):  # not base64, not JSON, not a list
        name, position = None, []
    well_formed = len(position) == len(types) and all(map(isinstance, position, types))
    well_formed = well_formed and all(abs(part) <= LARGEST for part in position if isinstance(part, int | float))
    if name != listing or not well_formed:
        raise ApiError(400, 1104, f"Invalid scroll id: scroll_id={text}")
    return position
