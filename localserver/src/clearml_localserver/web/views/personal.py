"""What the pages keep for a person, in the person's own preferences on the server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from clearml_localserver.times import iso
from clearml_localserver.web import text
from clearml_localserver.web.site import Json, Visit

ENDED = ("completed", "failed", "stopped", "published", "closed")
FIRST_LOOK = timedelta(days=1)
"""What is new for somebody who has never marked anything as seen."""


def preferences(visit: Visit) -> Json:
    """Return what the pages keep for the person: `density`, `theme`, `views`, `seen` and `followed`."""
    found: Json = visit.call("users.get_preferences", {})["preferences"]["localserver"]
    return found


def last_look(visit: Visit, kept: Json) -> datetime:
    """Return since when what ended is new for the person."""
    return text.moment(kept["seen"]) or visit.now - FIRST_LOOK


def is_new(task: Json, since: datetime) -> bool:
    """Return whether a task that has ended did so after a moment."""
    ended = text.moment(task["status_changed"])
    return ended is not None and ended > since


def newest(tasks: Sequence[Json]) -> str:
    """Return when the last of some tasks ended, for the form that marks them as seen."""
    moments = [moment for task in tasks if (moment := text.moment(task["status_changed"])) is not None]
    return iso(max(moments)) if moments else ""
