"""Metadata of models and queues: items of key, type and value, kept by key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clearml_localserver.errors import validation_error

Metadata = dict[str, Any]

PARTS = ("key", "type", "value")


def checked(metadata: Any) -> Metadata:
    """Return metadata that was given as an object, each item with its key.

    Raises:
        ApiError: 400/12, it is not an object of items, or a part of an item is not a string.
    """
    if not isinstance(metadata, dict) or not all(isinstance(item, dict) for item in metadata.values()):
        raise validation_error("metadata must be an object of items by key")
    for key, item in metadata.items():
        if not all(isinstance(item.get(part), str | None) for part in PARTS):
            raise validation_error(f"key, type and value of metadata item {key} must be strings")
    return {key: {"key": key} | item for key, item in metadata.items()}


def merged(before: Metadata, items: Iterable[dict[str, Any]], *, replace: bool) -> Metadata:
    """Return metadata after items have been set: beside those before, or instead of all of them."""
    kept = {} if replace else before
    return kept | {item["key"]: {part: item.get(part) for part in PARTS} for item in items}


def without(metadata: Metadata, keys: Iterable[str]) -> Metadata:
    """Return metadata less some keys; unknown ones are fine."""
    gone = set(keys)
    return {key: item for key, item in metadata.items() if key not in gone}
