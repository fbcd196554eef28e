"""Times in documents and replies: ISO 8601 in UTC with six digits, so that lexical order is time order."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

if sys.version_info >= (3, 11):
    from_iso = datetime.fromisoformat
else:  # it reads only what Python's own isoformat writes, no `Z` and no `.5`
    from backports.datetime_fromisoformat import datetime_fromisoformat as from_iso


def utcnow() -> datetime:
    """Return the present, cut to milliseconds: the resolution that a ClearML server stores."""
    now = datetime.now(timezone.utc)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def iso(moment: datetime) -> str:
    """Return `moment` as `2026-11-23T05:55:39.123000+00:00`; a naive one is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).isoformat(timespec="microseconds")


def parse(text: str) -> datetime | None:
    """Read an ISO 8601 date or time (naive means UTC); None where it is neither."""
    try:
        moment: datetime = from_iso(text.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def epoch_ms(moment: datetime) -> int:
    """Return milliseconds since 1970, the unit of event timestamps."""
    return int(moment.timestamp() * 1000)
