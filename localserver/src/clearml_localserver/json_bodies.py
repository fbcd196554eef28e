"""Parse request bodies and serialize replies as JSON, in bounded time and memory.

Parser and serializer hold the interpreter's lock during a whole call, so threads do not help against a text with
millions of values: its size is checked first, and a large text is processed in pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

import orjson

from clearml_localserver import long_strings
from clearml_localserver.errors import MAX_REPLY_BYTES, ApiError, too_large_reply, validation_error

Data = dict[str, Any]

MAX_VALUES = 100_000
"""Most values (of any kind, keys not counted) in one JSON text. That many take about 30 ms to read."""

MAX_LINES = 250_000
"""Most objects in a batch of JSON lines; SDKs send at most 15 MB at once, which is a hundred thousand events."""

MAX_BATCH_VALUES = 2_000_000
"""Most values in a batch of JSON lines: they take about 200 MB."""

MAX_DEPTH = 100
"""Deepest nesting of a request; a genuine server's database stores no deeper documents either."""

SHORT = 2 * MAX_DEPTH
"""Bytes of a text that can be neither too deep nor too much, as most events of a batch: a level takes two brackets."""

MAX_TEXT_BYTES = 16 * 2**20
"""Longest JSON text: of one request, or of one line of a batch. Parser and serializer take 40 ms for so much.

A genuine server's database stores no larger documents either."""

MAX_ODD_BYTES = 4 * 2**20
"""Longest JSON text of those that only Python reads, which takes it five times as long."""

RETRY = {"Retry-After": "2"}

LEVELS = 2
"""How many levels of a reply are written item by item."""

DOCUMENT_FIELDS = 64
"""An object with so many fields or fewer is written whole: a document has some forty."""

SLICE = 2**18
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
PYTHON_ONLY = re.compile(SURROGATE.pattern + rb"|NaN|Infinity|(?<![0-9])[0-9]{300}")
"""What Python's `json` writes and reads, and orjson refuses: as JSON has it not, or as too large a number."""

ODD_SLICE = 2**15
"""Bytes that are searched in one call: 3 ms. A loop of longer ones delays an event loop, at each of its steps."""

LONGEST_ODD = 300
"""Bytes of the longest match of `PYTHON_ONLY`."""

QUERY_INTEGER = re.compile(r"-?[0-9]{1,18}")
QUERY_FLOAT = re.compile(r"-?[0-9]{1,30}\.[0-9]{1,30}")


class Room:
    """How much memory the large bodies of all requests may take together.

    Args:
        limit: That many bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes bytes (`ApiError` 429 when none are left) until the end of the block."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self.taken + count > self.limit:
                raise ApiError(
                    429, 0, f"Requests of more than {self.limit} bytes at once: try again in a moment", RETRY
                )
            self.taken += count
            mine += count

        try:
            yield take
        finally:
            self.taken -= mine


def parse_object(body: bytes | bytearray) -> Data:
    """Return the object that a body is; nothing, `null` and `[]` are an empty one.

    Raises:
        ApiError: 400/0, it is not JSON, not an object, or too large or too deep.
    """
    data = _json(body) if body and not body.isspace() else {}
    if data is None or data == []:
        return {}
    if not isinstance(data, dict):
        raise ApiError(400, 0, "Data should be a dict")
    return data


class TooMuchError(ApiError):
    """A JSON text that may be valid, but costs more than is allowed."""


class Unread(Data):
    """Stands for a line that is too large or too deep: empty, so that whatever is required of a line is missing."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def parse_lines(body: bytes | bytearray) -> list[Data]:
    """Return the objects of a body of JSON lines.

    A line that is too large or too deep must not cost its neighbours: `Unread` stands for it.

    Raises:
        ApiError: 400/17 there is none; 400/0, there are too many, or one is not JSON or not an object.
    """
    if not body or body.isspace():
        raise ApiError(400, 17, "Batch request contains no items")
    if _count(body, b"\n") > MAX_LINES:
        raise ApiError(400, 0, f"A batch of more than {MAX_LINES} lines: send it in parts")
    _require_values(body, MAX_BATCH_VALUES)
    parsed = [_line(line) for line in _split(body)]
    for item in parsed:
        if not isinstance(item, dict):
            raise ApiError(400, 0, f"json lines must contain objects, found: {type(item).__name__}")
    return parsed


def _split(body: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """Yield the lines one at a time: `split` keeps the interpreter's lock until it has copied all of them."""
    at, end = 0, len(body)
    while body[end - 1] == ord("\n"):
        end -= 1
    while at <= end:
        line_end = body.find(b"\n", at, end)
        if line_end < 0:
            line_end = end
        yield body[at:line_end]
        at = line_end + 1


def _line(text: bytes | bytearray) -> Any:
    try:
        return _json(text)
    except TooMuchError as error:
        return Unread(error.msg)


def parse_form(body: bytes | bytearray) -> Data:
    """Return the fields of a form.

    Raises:
        ApiError: 400/0, it has too many.
    """
    try:
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_VALUES))
    except ValueError as error:
        raise ApiError(400, 0, f"A form with more than {MAX_VALUES} fields") from error


def query_value(text: str) -> Any:
    """Return a value of an address's query: a number where it looks like one that JSON can carry."""
    if QUERY_INTEGER.fullmatch(text):
        return int(text)
    return float(text) if QUERY_FLOAT.fullmatch(text) else text


def render(data: Any, levels: int = LEVELS) -> list[bytes]:
    """Return a value as pieces of JSON.

    Its items down to `levels` are written one at a time, so that other threads come in between.

    An iterator is a list whose items are made as they are written.

    Raises:
        ApiError: 400/12, JSON cannot carry it; 400/0, the reply would be too large.
    """
    try:
        return _packed(_pieces(data, levels))
    except TypeError as problem:  # orjson's own error, for whatever it cannot write
        raise validation_error(f"the reply cannot be written as JSON: {problem}") from problem


def _packed(pieces: Iterable[bytes]) -> list[bytes]:
    """Return pieces that are worth being sent one by one: small ones together, and never a copy of the whole."""
    packed, small, size = [], list[bytes](), 0
    for piece in pieces:
        small.append(piece)
        size += len(piece)
        if size >= SLICE:
            packed.append(b"".join(small))
            small, size = [], 0
    return [*packed, b"".join(small)] if small or not packed else packed


def _pieces(value: Any, levels: int) -> Iterator[bytes]:
    if isinstance(value, Iterator):
        yield from _items(value)
    elif not levels or not isinstance(value, dict | list) or (levels < LEVELS and _is_document(value)):
        yield orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    elif isinstance(value, list):
        yield from _items(value)
    elif not all(type(name) is str for name in value):
        yield from _pieces(value, 0)
    else:
        for number, (name, item) in enumerate(value.items()):
            yield b"," if number else b"{"
            yield orjson.dumps(name)
            yield b":"
            yield from _pieces(item, levels - 1)
        yield b"}" if value else b"{}"


def _is_document(value: Data | list[Any]) -> bool:
    return isinstance(value, dict) and len(value) <= DOCUMENT_FIELDS


def _items(values: Iterable[Any]) -> Iterator[bytes]:
    yield b"["
    size = 0
    for number, item in enumerate(values):
        piece = orjson.dumps(item, option=orjson.OPT_NON_STR_KEYS)
        size += len(piece)
        if size > MAX_REPLY_BYTES:
            raise too_large_reply("a page (page, page_size) or for less (only_fields)")
        if number:
            yield b","
        yield piece
    yield b"]"


def _json(text: bytes | bytearray) -> Any:
    if len(text) <= SHORT:
        with suppress(orjson.JSONDecodeError):  # below it is seen what it is
            return orjson.loads(text)
    if len(text) > MAX_TEXT_BYTES:
        raise TooMuchError(400, 0, f"JSON of more than {MAX_TEXT_BYTES} bytes for one object")
    spans = _require_values(text, MAX_VALUES)
    try:
        data = long_strings.loads(text, spans)
    except RecursionError as error:
        raise _too_deep() from error
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("depth limit"):
            raise _too_deep() from error
        if not _holds(text, PYTHON_ONLY):
            raise _not_json(error) from error
        if len(text) > MAX_ODD_BYTES:
            problem = f"JSON of more than {MAX_ODD_BYTES} bytes with NaN, infinities or lone surrogates"
            raise TooMuchError(400, 0, problem) from error
        data = _python_json(text)
    # Text has a bracket for each level at least, so that most bodies need not be walked through.
    if len(text) > SHORT and _count(text, b"[") + _count(text, b"{") > MAX_DEPTH:
        _require_depth(data)
    return data


def _python_json(text: bytes | bytearray) -> Any:
    """Return the value of a JSON text as only Python writes it.

    A lone surrogate, which is half a character (`os.fsdecode` makes them of file names that are not UTF-8), becomes
    U+FFFD; NaN and infinities stay what they are, for the endpoint to judge.
    """
    try:
        data = json.loads(text, parse_int=_number)
        if _holds(text, SURROGATE):
            whole = json.dumps(data, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
            data = json.loads(whole.decode("utf-16-le", "replace"), parse_int=_number)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise _not_json(error) from error
    return data


def _count(text: bytes | bytearray, byte: bytes) -> int:
    """Return how often a byte is there, counted in slices, so that other threads come in."""
    if len(text) <= SLICE:
        return text.count(byte)
    return sum(text.count(byte, at, at + SLICE) for at in range(0, len(text), SLICE))


def _holds(text: bytes | bytearray, pattern: re.Pattern[bytes]) -> bool:
    """Return whether a pattern matches somewhere; it is searched for in slices, so that other threads come in."""
    return any(pattern.search(text, at, at + ODD_SLICE + LONGEST_ODD) for at in range(0, len(text), ODD_SLICE))


def _number(text: str) -> int | float:
    """Return a whole number as orjson does: one beyond 64 bits becomes a float."""
    number = int(text) if len(text) < 21 else None
    return number if number is not None and -(2**63) <= number < 2**64 else float(text)


def _not_json(error: Exception) -> ApiError:
    return ApiError(400, 0, f"The browser (or proxy) sent a request that this server could not understand. ({error})")


def _too_deep() -> TooMuchError:
    return TooMuchError(400, 0, f"The request is nested more than {MAX_DEPTH} levels deep")


def _require_depth(data: Any) -> None:
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        containers = (value.values() if isinstance(value, dict) else value for value in level)
        level = [item for items in containers for item in items if isinstance(item, dict | list)]


def _require_values(text: bytes | bytearray, limit: int) -> list[tuple[int, int]]:
    """Return where a JSON text has very long strings.

    Raises:
        TooMuchError: It has more than `limit` values: outside strings, each begins with a comma or bracket.
        ApiError: It is not JSON, seen from a string without an end.
    """
    if len(text) <= 2 * limit:  # a value takes two characters at least
        return []
    found, inside, long = 0, False, long_strings.LongStrings()
    try:
        for at, piece in long_strings.slices(text):
            parts = piece.split(b'"')
            bare = b"".join(parts[inside::2])
            found += bare.count(b",") + bare.count(b"[") + bare.count(b"{")
            if found > limit:
                raise TooMuchError(400, 0, f"The request holds more than {limit} values: send it in parts")
            inside ^= len(parts) % 2 == 0
            long.look_at(at, len(parts[0]), len(piece) - len(parts[-1]) - 1, len(parts) - 1)
    except long_strings.CannotSliceError as error:
        raise TooMuchError(400, 0, "The request has too many backslashes in a row") from error
    if long.is_unterminated:
        raise _not_json(ValueError("a string without an end"))
    return long.spans
