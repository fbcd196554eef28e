"""Read JSON texts with very long strings, a piece of a string at a time.

A parser holds the interpreter's lock during a whole call, and one string of 16 MB takes it 90 ms; what many values cost
is bounded elsewhere (`json_bodies.MAX_VALUES`). So long strings are taken out, decoded in pieces, and put back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from secrets import token_hex
from typing import Any

import orjson

SLICE = 2**15
"""Bytes that are looked at in one call: less than a millisecond."""

PIECE = 2**18
"""Bytes of a string that are decoded in one call."""

NOT_BACKSLASH = re.compile(rb"[^\\]")

BEHIND_ESCAPES = re.compile(rb"[^\\]{12}[^\x80-\xbf]")
"""Before its last byte no character is cut in two: an escape has 6 bytes, or 12 for a pair of surrogates."""

SEARCHED_BYTES = 4096

CHARACTERS = re.compile(rb"(?:[^\\]|\\u[dD][89abAB]..\\u....|\\u(?![dD][89abAB])....|\\[^u])*", re.DOTALL)
"""Whole characters, as many as there are."""


class CannotSliceError(ValueError):
    """The text has no place to cut it: too many backslashes in a row."""


def slices(text: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """Yield a JSON text in slices with their places; escaped backslashes and quotes are two other characters.

    A slice ends behind a character that is not a backslash, so that none of these escapes is cut in two.

    Raises:
        CannotSliceError: There is none.
    """
    at = 0
    while at < len(text):
        end = at + SLICE
        if end < len(text):
            behind = NOT_BACKSLASH.search(text, end, end + SLICE)
            if behind is None:
                raise CannotSliceError
            end = behind.end()
        yield at, bytes(text[at:end]).replace(b"\\\\", b"..").replace(b'\\"', b"..")
        at = end


class LongStrings:
    """Finds the strings that fill at least one whole slice, while the slices go by."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        """Where each begins and ends, without its quotes."""

        self._inside = False
        self._opened, self._filled = 0, False

    @property
    def is_unterminated(self) -> bool:
        """Whether the last of them has no end, so that the text is not JSON."""
        return self._inside and self._filled

    def look_at(self, at: int, first: int, last: int, quotes: int) -> None:
        """Take note of a slice.

        Args:
            at: Its place.
            first: Place in it of the first quote.
            last: Place in it of the last quote.
            quotes: How many it has; without any, their places count for nothing.
        """
        if not quotes:
            self._filled = True
            return
        if self._inside and self._filled:
            self.spans.append((self._opened, at + first))
        self._inside ^= quotes % 2 == 1
        self._opened, self._filled = at + last + 1, False


def loads(text: bytes | bytearray, spans: Sequence[tuple[int, int]]) -> Any:
    """Return the value of a JSON text whose strings at these places are decoded in pieces.

    Raises:
        orjson.JSONDecodeError: It is not JSON. The place that it names is that in a part of the text.
    """
    if not spans:
        return orjson.loads(text)
    strings: dict[str, str] = {}
    mark = token_hex(16)  # nobody can have sent it
    parts, at = list[bytes | bytearray](), 0
    for start, end in spans:
        name = f"{mark}{len(strings)}"
        strings[name] = "".join(_decoded(text, start, end))
        parts += text[at:start], name.encode()
        at = end
    return _filled(orjson.loads(b"".join([*parts, text[at:]])), strings)


def _decoded(text: bytes | bytearray, start: int, end: int) -> Iterator[str]:
    while start < end:
        stop = _end_of_piece(text, start, end)
        yield orjson.loads(b'"' + text[start:stop] + b'"')
        start = stop


def _end_of_piece(text: bytes | bytearray, start: int, end: int) -> int:
    wanted = start + PIECE
    if wanted >= end:
        return end
    if behind := BEHIND_ESCAPES.search(text, wanted, min(end, wanted + SEARCHED_BYTES)):
        return behind.end() - 1
    whole = CHARACTERS.match(text, start, start + SLICE)
    stop = whole.end() if whole else start
    while stop > start and text[stop] & 0xC0 == 0x80:
        stop -= 1
    return stop if stop > start else end  # no characters at all: the parser says what is wrong


def _filled(value: Any, strings: Mapping[str, str]) -> Any:
    """Return a value with the strings in their places; keys may be long as well."""
    if isinstance(value, str):
        return strings.get(value, value)
    if isinstance(value, list):
        return [_filled(item, strings) for item in value]
    if isinstance(value, dict):
        return {_filled(name, strings): _filled(item, strings) for name, item in value.items()}
    return value
