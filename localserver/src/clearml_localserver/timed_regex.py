"""Regular expressions that clients send: checked before they are used, and stopped when they take too long.

`re` cannot be interrupted and holds the interpreter's lock, so that one `(a|aa)+$` would hold everybody; `regex` takes
the same expressions, lets go of the lock and has a time limit.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, Protocol

from clearml_localserver.errors import ApiError, validation_error

MAX_PATTERN = 1_000
"""Longest pattern that is searched for: `regex` prepares its search for `aaa…` in the cube of its length, which no time
limit stops; this many characters take 0.3 s."""

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
DIGITS = re.compile("[0-9]+")
LARGEST = 2**62
"""Beyond it a number is sorted as a float: SQLite's integers end a little above."""

LIMIT_S = 5.0
"""Searching time of one request; a plain pattern takes some 0.2 s for 100,000 names."""


def check_pattern(pattern: Any) -> None:
    """Check a regular expression that a client sends.

    Raises:
        ApiError: 400/21 if it is malformed, 400/12 if it is not a text, or is longer than any client needs.
    """
    if not isinstance(pattern, str):
        raise validation_error(f"a pattern must be a string: {pattern!r}")
    if len(pattern) > MAX_PATTERN:
        raise validation_error(f"pattern of {len(pattern)} characters, at most {MAX_PATTERN} are allowed")
    try:
        re.compile(pattern)  # its messages are the genuine server's, and it refuses what only `regex` knows
    except (re.error, OverflowError, RecursionError) as error:
        raise ApiError(400, 21, f"Malformed regular expression: err={error}, extra_info=None") from error


def sort_key(value: Any) -> Any:
    """Return what `value` is sorted by so that `2` comes before `11`, and `step 2` before `step 11`.

    A text that is a number is that number, and numbers come before texts. In other texts every run of digits is
    preceded by its length.
    """
    if not isinstance(value, str):
        return value
    if NUMBER.fullmatch(value):
        number = float(value)
        return int(value) if value.lstrip("+-").isdigit() and abs(number) < LARGEST else number
    return DIGITS.sub(lambda run: f"{len(run[0].lstrip('0')):06}{run[0].lstrip('0')}", value)


class TimedSearch:
    """Searches on behalf of one request after the other, each with a limit for all its searches together.

    Attributes:
        refusal: Set when the limit was reached: SQLite passes no exception of a function on to who runs the statement.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self, limit_s: float = LIMIT_S) -> None:
        """Begin another request, which may search for `limit_s`."""
        self._left_s = limit_s
        self.refusal: ApiError | None = None

    def __call__(self, pattern: str, value: Any) -> bool:
        """Return whether `value`, as text, holds a match.

        Raises:
            ApiError: 400/21, the request's time is over.
        """
        if value is None:
            return False
        began = time.perf_counter()
        try:
            return _compiled(pattern).search(str(value), timeout=self._left_s) is not None
        except TimeoutError:
            text = f"Regular expression takes too long: pattern={pattern}, limit={LIMIT_S:g} s"
            self.refusal = ApiError(400, 21, text)
            raise self.refusal from None
        finally:
            self._left_s = max(0.001, self._left_s - (time.perf_counter() - began))


class _Pattern(Protocol):
    def search(self, text: str, *, timeout: float) -> object | None: ...


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> _Pattern:
    import regex  # with the first pattern: 4 MiB that a server at rest does without

    compiled: _Pattern = regex.compile(pattern)
    return compiled
