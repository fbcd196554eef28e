"""What passes between a page and the API, in the words of each: ids that are only ids, refusals for people. Pure."""

from __future__ import annotations

import re
from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.web import text

IDS = frozenset({"id", "parent", "project", "projects", "uri"})
"""Filters whose values pages take from addresses and documents."""

NO_ID = "no document has this id"

UNKNOWN_OBJECT = frozenset({101, 201, 401, 701, 301})
"""Subcodes for an id that nothing has: task, model, project, queue, user."""

PUBLIC = "It is public, so it can only be read. Make it private first (make_private of the API)"

NOT_POSSIBLE = "This is not possible for a task with the status {status}"

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


_STATUS = r"(?P<status>\w+)"
REFUSALS = (
    (r"Invalid task status \(Invalid status change\): current_status=" + _STATUS + ", new_status=.*", NOT_POSSIBLE),
    (rf"Invalid task status: task_id=[^,]*, status={_STATUS}", NOT_POSSIBLE),
    (
        rf"Invalid task status: expected=created, status={_STATUS}",
        "Only a draft can be changed like this; it has the status {status}",
    ),
    (r"Invalid task status \((?P<said>A stop [^)]*)\):.*", "{said}"),
    (
        rf"Task cannot be deleted \(due to status.*, current={_STATUS}",
        "It has the status {status}. Only drafts can be deleted, and archived tasks that do not run and are not "
        "published",
    ),
    (
        r"Task cannot be deleted \(has children.*, children=(?P<count>\d+)",
        "It cannot be deleted: published tasks were made from it ({count})",
    ),
    (
        r"Task cannot be deleted \(has output models.*, models=(?P<count>\d+)",
        "It can be neither deleted nor reset: its models were published ({count})",
    ),
    (r"Model is ready: (?:company=[^,]*, )?model=.*", "It is published already"),
    (r"Value combination already exists .*: email=(?P<said>.*)", "There is already a person with the address {said}"),
    (r"Value combination already exists .*: name=(?P<said>[^,]*).*", "There is already one with the name {said}"),
    (r"Data validation error: email=Invalid email address: (?P<said>.*)", "“{said}” is not an e-mail address"),
    (
        r"Project with the same name already exists: name=(?P<said>[^,]*).*",
        "There is already a project called “{said}”",
    ),
    (r"Validation error \(Project name cannot be blank\)", "Each part of a project's path has at least 3 characters"),
)
"""Refusals of the API, and what people read in their place."""

FORCE = re.compile(r",? ?use force=true(?: to delete)?| \(use force=true(?: to delete)?\)", re.IGNORECASE)


def in_words(message: str) -> str:
    """Return a refusal of the API as people read it."""
    if "cannot modify public" in message:
        return PUBLIC
    for pattern, words in REFUSALS:
        if found := re.fullmatch(pattern, message, re.DOTALL):
            parts = found.groupdict()
            if "status" in parts:
                parts["status"] = text.status(parts["status"]).name
            return words.format(**parts)
    message = FORCE.sub("", message)
    return COMPANY.sub("", UNKNOWN.sub(r"There is no \1 with the id \2", message))


def readable(error: ApiError) -> ApiError:
    """Return the same refusal with words for people."""
    return ApiError(error.code, error.subcode, in_words(error.msg), error.headers)
