"""Keeps the writing direction of what people have named from the words around it. Pure.

A name with right-to-left letters, or with a character that overrides the direction, changes the order of the text that
follows it on a line. Templates put names into hundreds of places, so it is done for all of them at once: `mark` sets a
sign around each value that a template puts in, and `isolate` makes `<bdi>` of the signs in the finished page; where no
element may stand, they are only taken out.
"""

from __future__ import annotations

import re
from typing import Any

BEGIN, END = "\U0010fff0", "\U0010fff1"
"""Characters for private use, which `mark` takes out of every value."""

DIRECTED = re.compile(
    "[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff"
    f"\U0001e800-\U0001efff{BEGIN}{END}]"
)
"""Right-to-left letters, and what overrides a direction."""

SIGNS = re.compile(f"[{BEGIN}{END}]")
PLACED = re.compile(
    r"<(script|style|textarea|title|option|text)\b.*?</\1>|<[^>]*>" f"|{BEGIN}([^{BEGIN}{END}]*){END}", re.DOTALL
)
"""What holds no element: those that hold text only, and tags with their attributes; and a marked value elsewhere."""


def mark(value: Any) -> Any:
    """Return what a template puts in, with signs around a text whose direction may leak; all else as it is."""
    if type(value) is not str or value.isascii() or not DIRECTED.search(value):
        return value
    return f"{BEGIN}{SIGNS.sub('', value)}{END}"


def isolate(page: str) -> str:
    """Return a page whose marked values are isolated from the text around them."""
    return PLACED.sub(_placed, page) if BEGIN in page else page


def _placed(match: re.Match[str]) -> str:
    return SIGNS.sub("", match[0]) if match[2] is None else f"<bdi>{match[2]}</bdi>"
