"""A text that was edited on a page, as it is to be stored. Pure.

Browsers send every line with the same end, and a page shows signs for what it cannot or must not show: control
characters, credentials. So lines that a person has not touched are taken from the stored text, byte by byte.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from clearml_localserver.web import url_credentials
from clearml_localserver.web.text import UNSHOWABLE, visible

LINE_END = re.compile(r"\r\n|\r|\n")
SLICE = 2**16
MAX_COMPARED = 2_000
"""Lines between the first and the last changed one that are compared: the time grows with their square."""


def as_sent(value: str) -> str:
    """Return a value as an unchanged form sends it back, with uniform line ends."""
    return visible("".join(map(_with_uniform_ends, _slices(value))))


def _with_uniform_ends(piece: str) -> str:
    return piece.replace("\r\n", "\n").replace("\r", "\n")


def _slices(value: str) -> Iterator[str]:
    """Yield a text in pieces, none of which ends within a line end: a call on all of it keeps other threads waiting."""
    at = 0
    while at < len(value):
        end = at + SLICE
        if value.startswith("\n", end) and value[end - 1] == "\r":
            end += 1
        yield value[at:end]
        at = end


def edited(stored: str, sent: str, *, hides: bool = False) -> str:
    """Return the stored text with the changes of the sent one.

    A changed line ends as the line that it replaces, a new one as the line before it.

    Args:
        stored: The text before.
        sent: The whole text as the form sent it.
        hides: Whether the form hides credentials in addresses.
    """
    pieces, ends = _split(stored)
    before = as_sent(url_credentials.hide(stored) if hides else stored).split("\n")
    after = as_sent(sent).split("\n")
    signs = _signs(stored)
    usual = ends[0] or "\n"
    lines: list[tuple[str, str]] = []
    for line, number, is_same in _pairs(before, after):
        end = ends[number] if number is not None else ""
        if is_same and number is not None:
            text = pieces[number]
        else:
            text = line.translate(signs)
            if hides:
                replaced = pieces[number] if number is not None else ""
                text = url_credentials.restore(url_credentials.restore(text, replaced), stored)
        lines.append((text, end or (lines[-1][1] if lines else usual)))
    return "".join(text + end for text, end in lines[:-1]) + lines[-1][0]


def _split(stored: str) -> tuple[list[str], list[str]]:
    """Return the lines of a text and their ends, the last of which is empty."""
    pieces, ends, at = [], [], 0
    for found in LINE_END.finditer(stored):
        pieces.append(stored[at : found.start()])
        ends.append(found[0])
        at = found.end()
    return [*pieces, stored[at:]], [*ends, ""]


def _pairs(before: list[str], after: list[str]) -> Iterator[tuple[str, int | None, bool]]:
    """Yield each line of `after` with the number of the line of `before` in its place, and whether it is the same."""
    shortest = min(len(before), len(after))
    head = next((at for at in range(shortest) if before[at] != after[at]), shortest)
    room = shortest - head
    tail = next((at for at in range(room) if before[-1 - at] != after[-1 - at]), room)
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    yield from ((after[at], at, True) for at in range(head))
    for kind, start, stop, first, last in _blocks(old, new):
        for at in range(first, last):
            partner = start + at - first
            yield new[at], head + partner if partner < stop else None, kind == "equal"
    yield from ((after[-at], len(before) - at, True) for at in range(tail, 0, -1))


def _blocks(old: list[str], new: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    if max(len(old), len(new)) > MAX_COMPARED:
        return [("replace", 0, len(old), 0, len(new))]
    return difflib.SequenceMatcher(None, old, new).get_opcodes()


def _signs(stored: str) -> dict[int, str]:
    """Return which signs on the page stand for a control character of the stored text, by the sign's code."""
    found = {ord(sign): character for character in _unshowable(stored) if (sign := visible(character))}
    return {code: character for code, character in found.items() if code != 0xFFFD and chr(code) not in stored}


def _unshowable(stored: str) -> set[str]:
    return {sign for at in range(0, len(stored), SLICE) for sign in UNSHOWABLE.findall(stored, at, at + SLICE)}
