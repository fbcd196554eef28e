"""Documents as the pages expect them, whatever a client stored. Pure.

A client may store any JSON in most places of a document, and JSON in texts of documents. A shape turns any value into
one of its kind: what fits is kept, what can be told as text is, and everything else becomes the empty value. So views
and templates never meet an unexpected type, and one odd task cannot break a whole page.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import orjson

from clearml_localserver.web.url_credentials import hide

Shape = Callable[[Any], Any]

MAX_ITEMS = 5_000
"""Items of a list or an object that a page shows, where its shape says nothing else."""

MAX_JSON = 2 * 2**20
"""Longest JSON text that is read for a page: no other thread runs while it is read."""


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


class Items(list[Any]):
    """A list that tells how many of its items were left out."""

    left_out = 0


class Fields(dict[str, Any]):
    """An object that tells how many of its fields were left out."""

    left_out = 0


def list_of(shape: Shape, most: int = MAX_ITEMS) -> Shape:
    """Return the shape of a list of at most so many items; anything else is an empty one."""

    def shaped(value: Any) -> Items:
        if not isinstance(value, list):
            return Items()
        items = Items([shape(item) for item in value[:most]])
        items.left_out = len(value) - len(items)
        return items

    return shaped


def map_of(shape: Shape, most: int = MAX_ITEMS) -> Shape:
    """Return the shape of an object with any names, at most so many; anything else is an empty one."""

    def shaped(value: Any) -> Fields:
        if not isinstance(value, dict):
            return Fields()
        fields = Fields({name: shape(value[name]) for name in itertools.islice(value, most)})
        fields.left_out = len(value) - len(fields)
        return fields

    return shaped


def record(**fields: Shape) -> Shape:
    """Return the shape of an object with these fields and no others; a missing field is of its empty value."""
    # Most fields of most documents are missing: what stands for them is made once, and nobody changes it.
    empty = {name: shape(None) for name, shape in fields.items()}

    def shaped(value: Any) -> dict[str, Any]:
        found = dict(empty)
        if isinstance(value, dict):
            for name, item in value.items():
                if (shape := fields.get(name)) is not None:
                    found[name] = shape(item)
        return found

    return shaped


def cut_to(most: int) -> Shape:
    """Return the shape of a text of at most so many characters."""

    def shaped(value: Any) -> str:
        if type(value) is str and len(value) <= most:  # nearly all that is shown
            return value
        whole = text(value)
        return whole if len(whole) <= most else f"{whole[:most]}…"

    return shaped


def with_hidden_credentials(shape: Shape) -> Shape:
    """Return the shape of a text in which the credentials of addresses are hidden."""
    return lambda value: shape(hide(text(value)))


line, passage = cut_to(2_000), cut_to(50_000)
texts = list_of(text)
lines = list_of(line, 50)


def reference(value: Any) -> dict[str, str]:
    """Return a referenced document as `{"id", "name"}`: `get_all_ex` answers objects, `get_by_id` plain ids."""
    if not isinstance(value, dict):
        return {"id": text(value), "name": ""}
    return {"id": text(value.get("id")), "name": line(value.get("name"))}


def values(shape: Shape) -> Shape:
    """Return the shape of a list that some clients store as an object of its items."""
    items = list_of(shape)
    return lambda value: items(list(value.values()) if isinstance(value, dict) else value)


def read_json(stored: str) -> Any:
    """Return the JSON value in a text; None where the text is not JSON, or too long or too deeply nested to be read."""
    if not stored or len(stored) > MAX_JSON:
        return None
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:  # or what only Python reads: NaN, half a surrogate pair, very large numbers
        pass
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None
