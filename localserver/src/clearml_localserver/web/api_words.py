"""What passes between a page and the API, in the words of each: ids that are only ids, refusals for people. Pure."""

from __future__ import annotations

import re
from typing import Any

from clearml_localserver.errors import ApiError

IDS = frozenset({"id", "parent", "project", "projects", "uri"})
"""Filters whose values pages take from addresses and documents."""

NO_ID = "no document has this id"

UNKNOWN_OBJECT = frozenset({101, 201, 401, 701, 301})
"""Subcodes for an id that nothing has: task, model, project, queue, user."""

PUBLIC = "It is public, so it can only be read. Make it private first (make_private of the API)"

UNKNOWN = re.compile(
    r"Invalid (task|model|project|queue|user) id(?: \(no such [^)]*\))?: (?:company=[^,]*, )?id=([^,]*).*"
)
COMPANY = re.compile(r", company=[0-9a-f]{32}|company=[0-9a-f]{32},? ?")


def with_plain_ids(query: dict[str, Any]) -> dict[str, Any]:
    """Return a query whose ids are read as ids.

    In a list of the API, `-x` means all but `x`, and `__$not` is an operator. In an address, each is an id that nothing
    has; else `/tasks/-x` would show, and change, whichever task comes first.
    """
    return {
        name: with_plain_ids(value)
        if isinstance(value, dict)
        else [_plain(item) for item in value]
        if name in IDS and isinstance(value, list)
        else value
        for name, value in query.items()
    }


def _plain(item: Any) -> Any:
    return NO_ID if isinstance(item, str) and item.startswith(("-", "__$")) else item


def in_words(message: str) -> str:
    """Return a refusal of the API as people read it."""
    if "cannot modify public" in message:
        return PUBLIC
    return COMPANY.sub("", UNKNOWN.sub(r"There is no \1 with the id \2", message))


def readable(error: ApiError) -> ApiError:
    """Return the same refusal with words for people."""
    return ApiError(error.code, error.subcode, in_words(error.msg), error.headers)
