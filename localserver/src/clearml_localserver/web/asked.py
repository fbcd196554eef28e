"""What the query of an address asks for: numbers, choices, switches and texts, one reader for each. Pure.

A value that cannot be understood is refused with the reason, never altered: an address that shows something else than
it says misleads the person to whom it was sent. A name without a value counts as left out, as forms send it.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from clearml_localserver.errors import ApiError

WHOLE = re.compile(r"[0-9]{1,18}")
MAX_TEXT = 200
"""Characters of a text that is searched for."""

MAX_PAGE = 10**6
MANY = 200
"""Values that most names may have."""


@dataclass(frozen=True)
class Asked:
    """The query of an address; the readers raise an `ApiError` (400) for a value that is not understood."""

    query: QueryParams

    def whole(self, name: str, default: int, most: int, *, least: int = 0) -> int:
        """Return a whole number between `least` and `most`."""
        given = self.query.get(name, "")
        if not given:
            return default
        if not WHOLE.fullmatch(given) or not least <= int(given) <= most:
            raise _refused(name, given, f"a whole number from {least:,} to {most:,}")
        return int(given)

    def count(self, name: str) -> int:
        """Return a number that a page only repeats; 0 for anything else."""
        given = self.query.get(name, "")
        return int(given) if WHOLE.fullmatch(given) else 0

    def page(self) -> int:
        """Return which page of a list is asked for; the first is 1."""
        return self.whole("page", 1, MAX_PAGE, least=1)

    def choice(self, name: str, default: str, allowed: Container[str], words: str) -> str:
        """Return one of the values that are `allowed`; `words` name them for the message."""
        given = self.query.get(name, "")
        if not given:
            return default
        if given not in allowed:
            raise _refused(name, given, words)
        return given

    def switch(self, name: str) -> bool:
        """Return whether something is switched on, by 1."""
        return self.choice(name, "0", ("0", "1"), "1, or is left out") == "1"

    def text(self, name: str, most: int = MAX_TEXT) -> str:
        """Return a text to look for, without spaces around it."""
        given = self.query.get(name, "").strip()
        if len(given) > most:
            raise ApiError(400, 0, f"“{name}” in the address has at most {most:,} characters, not {len(given):,}")
        return given

    def several(self, name: str, most: int = MANY) -> list[str]:
        """Return the values of a name, each once and none of them empty."""
        given = list(dict.fromkeys(value for value in self.query.getlist(name) if value))
        if len(given) > most:
            raise ApiError(400, 0, f"“{name}” is {len(given):,} times in the address; at most {most:,} are possible")
        return given


def _refused(name: str, given: str, words: str) -> ApiError:
    return ApiError(400, 0, f"“{name}” in the address is {words}, not “{given[:100]}”")
