"""Console reports as lines of a page, as many as there is room for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from html import unescape
from typing import Any

from markupsafe import Markup, escape

from clearml_localserver.web import ansi

Json = dict[str, Any]
TAG = re.compile("<[^>]*>")
NOTABLE = frozenset({"warning", "warn", "error", "critical", "fatal"})


@dataclass(frozen=True)
class Room:
    """How much of the console one answer holds."""

    events: int
    lines: int
    characters: int


PIECE = Room(1000, 2000, 10**6)
"""What a page shows at once, and loads with each step further; an event may be many lines."""


def moment_of(event: Json) -> int:
    """Return when an event was reported, in ms."""
    return int(event.get("timestamp") or 0)


def newest(events: list[Json], room: Room) -> list[Json]:
    """Return the last events, as many as there is room for; never some but not all of one time."""
    start = len(events) - _fitting(reversed(events), room)
    while start > 0 and moment_of(events[start - 1]) == moment_of(events[start]):
        start -= 1
    return events[start:]


def oldest(events: list[Json], room: Room) -> list[Json]:
    """Return the first events, as many as there is room for; never some but not all of one time."""
    end = _fitting(events, room)
    while 0 < end < len(events) and moment_of(events[end - 1]) == moment_of(events[end]):
        end += 1
    return events[:end]


def _fitting(events: Iterable[Json], room: Room) -> int:
    count, lines, characters = 0, 0, 0
    for event in events:
        if count >= room.events or lines >= room.lines or characters >= room.characters:
            break
        count += 1
        lines += 1 + event["msg"].count("\n")
        characters += len(event["msg"])
    return count


def lines_of(events: list[Json], room: Room, whole: str) -> list[Json]:
    """Return console lines for the page; of one time or event with more than there is room for, the last ones.

    A key tells a line from another one of the same time and text.
    """
    keys: list[str] = []
    seen: dict[str, int] = {}
    for event in events:
        digest = blake2b(event["msg"].encode(errors="replace"), digest_size=6).hexdigest()
        key = f"{moment_of(event)}-{digest}"
        seen[key] = seen.get(key, -1) + 1
        keys.append(f"{key}-{seen[key]}")
    blocks: list[list[Json]] = []
    lines, characters = room.lines, room.characters
    for event, key in zip(reversed(events), reversed(keys), strict=True):
        level, at, message = event["level"].lower(), moment_of(event), event["msg"].rstrip("\n")
        here = f"{whole}?at={at}"
        start = _tail(message, lines, characters) if lines > 0 and characters > 0 else len(message) + 1
        html = ansi.to_lines(message[start:], here) if start <= len(message) else []
        lines, characters = lines - len(html), characters - sum(map(len, html))
        skipped = message.count("\n", 0, start)
        shared = {"at": at, "level": level if level in NOTABLE else ""}
        block = [{"key": f"{key}-{skipped + n}", "html": str(line), **shared} for n, line in enumerate(html)]
        if start > 0:
            cut = Markup('<a class="cut" href="{}">… earlier lines of the same moment</a>').format(here)
            block.insert(0, {"key": f"{key}-cut", "html": str(cut), **shared})
        blocks.append(block)
        if start > 0:
            break
    return [line for block in reversed(blocks) for line in block]


def drawn(lines: list[Json], page: str, *, linked: bool) -> Markup:
    """Return lines as the page shows them, as one piece: a template takes ten times as long for a thousand.

    Args:
        lines: The lines.
        page: Address of the console's page.
        linked: Whether the tabulator key goes to the link of each line.
    """
    page, end = str(escape(page)), "" if linked else ' tabindex="-1"'
    parts = []
    for line in lines:
        key, at, level = line["key"], line["at"], f" l-{escape(line['level'])}" if line["level"] else ""
        parts.append(
            f'<div class="ln{level}" id="L{key}" data-at="{at}"><a class="to" href="{page}?at={at}#L{key}" '
            f'aria-label="Link to this line"{end}></a>{line["html"]}</div>'
        )
    return Markup("".join(parts))  # noqa: S704  keys are of digits and hex digits; `lines_of` made the HTML


def matching(lines: list[Json], wanted: str) -> list[Json]:
    """Return the lines that contain a text, in any case of letters."""
    return [line for line in lines if wanted.lower() in unescape(TAG.sub("", line["html"])).lower()]


def _tail(message: str, lines: int, characters: int) -> int:
    """Return where the last whole lines of a message start, as many as there is room for, but at least one."""
    start, count = len(message), 0
    while start >= 0 and count < lines and (count == 0 or len(message) - start < characters):
        start = message.rfind("\n", 0, start)
        count += 1
    return start + 1
