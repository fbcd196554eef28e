"""Documents as the pages expect them, whatever a client stored. Pure.

A client may store any JSON in most places of a document, and JSON in texts of documents. A shape turns any value into
one of its kind: what fits is kept, what can be told as text is, and everything else becomes the empty value. So views
and templates never meet a type that they did not ask for, and one odd task cannot take a whole page with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

Shape = Callable[[Any], Any]

MAX_JSON = 4 * 2**20
"""Longest JSON text that is read for a page: reading keeps the interpreter from everybody else meanwhile."""


def text(value: Any) -> str:
    """Return text: a string as it is, nothing as an empty one, anything else as Python or JSON writes it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def number(value: Any) -> int | float | None:
    """Return a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    return value if math.isfinite(value) else None


def scalar(value: Any) -> str | int | float | bool | None:
    """Return a number, a truth value or a string as it is, anything else as text."""
    return value if isinstance(value, str | bool) or value is None or number(value) is not None else text(value)


def flag(value: Any) -> bool:
    """Return whether a value is true."""
    return value is True


def as_it_is(value: Any) -> Any:
    """Return the value: for what only `text.moment` or a page's script reads, which take anything."""
    return value


def list_of(shape: Shape) -> Shape:
    """Return the shape of a list; anything else is an empty one."""
    return lambda value: [shape(item) for item in value] if isinstance(value, list) else []


def map_of(shape: Shape) -> Shape:
    """Return the shape of an object with any names; anything else is an empty one."""
    return lambda value: {name: shape(item) for name, item in value.items()} if isinstance(value, dict) else {}


def record(**fields: Shape) -> Shape:
    """Return the shape of an object with these fields and no others; a missing field is of its empty value."""

    def shaped(value: Any) -> dict[str, Any]:
        given = value if isinstance(value, dict) else {}
        return {name: shape(given.get(name)) for name, shape in fields.items()}

    return shaped


texts = list_of(text)
_named = record(id=text, name=text)


def reference(value: Any) -> dict[str, str]:
    """Return a referenced document as `{"id", "name"}`: `get_all_ex` answers objects, `get_by_id` plain ids."""
    found: dict[str, str] = _named(value if isinstance(value, dict) else {"id": value})
    return found


def values(shape: Shape) -> Shape:
    """Return the shape of a list that some clients store as an object of its items."""
    return lambda value: list_of(shape)(list(value.values()) if isinstance(value, dict) else value)


def read_json(stored: str) -> Any:
    """Return what a text holds as JSON; None where it is none, or too long or too deeply nested to be read."""
    if len(stored) > MAX_JSON:
        return None
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None
