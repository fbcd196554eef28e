"""Identifiers of documents: 32 hexadecimal digits, as ClearML clients expect."""

from __future__ import annotations

from uuid import uuid4


def new_id() -> str:
    """Return a new random id."""
    return uuid4().hex
