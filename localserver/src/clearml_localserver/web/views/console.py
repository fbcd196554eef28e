"""The console of a task: a window on it, a search through all of it, and the whole as text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from clearml_localserver.errors import ApiError
from clearml_localserver.web import ansi
from clearml_localserver.web.console_lines import PIECE, Room, drawn, lines_of, matching, moment_of, newest, oldest
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.tasks import is_live, load, render_tab

AROUND = Room(PIECE.events // 2, PIECE.lines // 2, PIECE.characters // 2)
"""What is shown before, and after, a moment that an address names."""

OVERLAP_MS = 10_000
"""How far back a poll looks: two processes of a task report in batches, so a line may arrive after a later one."""

FIRST_TEXT_EVENTS, TEXT_EVENTS, TEXT_CHARACTERS = 100, 4000, 2**21
"""Reports that are read at a time for the console as text: at first, and at most; and about how many characters."""

CHUNK_CHARACTERS = 2**18

MAX_TIME = 10**15
SEARCH_S = 2.0
"""How long an answer that goes on with a search takes for it; the first one is given after one turn of the server's."""


@dataclass(frozen=True)
class Window:
    """A part of the console."""

    lines: list[Json]
    first: bool
    """Whether it begins at the first line."""

    last: bool
    """Whether it ends at the last line."""

    searched_to: int | None = None
    """Of a search: the moment before which nothing was searched yet."""


def console(visit: Visit) -> Response:
    """Show the console: its end at first, or the part that the address names, or the lines with a text."""
    task = load(visit)
    wanted = _wanted(visit)
    if visit.wants_part():  # the header alone is asked for again and again
        return render_tab(visit, task, "console", window=Window([], False, False), wanted=wanted, drawn="")
    window = _search(visit, wanted) if wanted else _window(visit)
    page = f"/tasks/{quote(task['id'], safe='', errors='replace')}/console"
    lines = drawn(window.lines, page, linked=bool(wanted))
    return render_tab(visit, task, "console", window=window, wanted=wanted, drawn=lines)


def console_lines(visit: Visit) -> Response:
    """Return more console lines for the page's script: a window, a search, or what is new since a time (ms)."""
    if wanted := _wanted(visit):
        found = _search(visit, wanted)
        return visit.json({"lines": found.lines, "searched_to": found.searched_to})
    if "after" not in visit.query:
        window = _window(visit)
        return visit.json({"lines": window.lines, "first": window.first, "last": window.last})
    after = visit.asked.whole("after", 0, MAX_TIME)
    task = load(visit)
    events, whole = _forward(visit, max(0, after - OVERLAP_MS), PIECE)
    if after and not whole:
        # The overlap alone fills the answer: without it, so that the reader gets on.
        events, _ = _forward(visit, after, PIECE)
    return visit.json({"lines": lines_of(events, PIECE, _whole(visit)), "live": is_live(visit, task)})


def console_text(visit: Visit) -> Response:
    """Return the console as plain text: all of it as a file, or what was printed at one time (ms) to be looked at."""
    task = load(visit)
    moment = visit.asked.whole("at", 0, MAX_TIME)

    def lines() -> Iterator[bytes]:
        after: Json = {"from_timestamp": moment - 1} if moment else {}
        count = FIRST_TEXT_EVENTS
        while True:
            found = _log(visit, batch_size=count, navigate_earlier=False, **after)
            # Lines of megabytes must not all be in memory at once.
            characters = sum(len(event["msg"]) for event in found["events"])
            count = max(1, min(TEXT_EVENTS, 2 * count, count * TEXT_CHARACTERS // max(1, characters)))
            events = [event for event in found["events"] if not moment or moment_of(event) <= moment]
            newest = max(map(moment_of, events), default=None)
            if newest is None or newest <= after.get("from_timestamp", newest - 1):
                return
            after["from_timestamp"] = newest
            yield from _chunks(f"{ansi.to_text(event['msg']).rstrip()}\n" for event in events)

    headers = {"Cache-Control": "no-store"}
    if not moment:
        headers["Content-Disposition"] = f'attachment; filename="task_{task["id"]}.log"'
    return StreamingResponse(lines(), media_type="text/plain; charset=utf-8", headers=headers)


def _chunks(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield lines as bytes, short ones together: each step of a streamed answer costs as much as a hundred of them."""
    waiting, size = list[str](), 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= CHUNK_CHARACTERS:
            yield "".join(waiting).encode(errors="replace")
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting).encode(errors="replace")


def _window(visit: Visit) -> Window:
    """Return the part of the console that the address names by `from`, `before`, `since` or `at`; else its end."""
    whole = _whole(visit)
    if visit.asked.choice("from", "", ("start",), "start, or is left out"):
        events, last = _forward(visit, None, PIECE)
        return Window(lines_of(events, PIECE, whole), True, last)
    if before := visit.asked.whole("before", 0, MAX_TIME):
        events, first = _backward(visit, before, PIECE)
        return Window(lines_of(events, PIECE, whole), first, False)
    if since := visit.asked.whole("since", 0, MAX_TIME):
        events, last = _forward(visit, since, PIECE)
        return Window(lines_of(events, PIECE, whole), False, last)
    if at := visit.asked.whole("at", 0, MAX_TIME):
        before_it, first = _backward(visit, at, AROUND)
        from_it, last = _forward(visit, at - 1, AROUND)
        return Window(lines_of([*before_it, *from_it], PIECE, whole), first, last)
    events, first = _backward(visit, MAX_TIME, PIECE)
    return Window(lines_of(events, PIECE, whole), first, True)


def _search(visit: Visit, wanted: str) -> Window:
    """Return the last lines that contain a text: those that are soon found, or more before the address's `before`."""
    deadline = time.monotonic() + (SEARCH_S if "before" in visit.query else 0)
    events: list[Json] = []
    end = visit.asked.whole("before", MAX_TIME, MAX_TIME)
    while True:
        found = _log(visit, contains=wanted, batch_size=PIECE.events - len(events), from_timestamp=end)
        events[:0] = found["events"]
        if found["searched_to"] is None:
            end = 0
            break
        end = int(found["searched_to"])
        if len(events) >= PIECE.events or time.monotonic() > deadline:
            break
    shown = newest(events, PIECE)
    if len(shown) < len(events):
        end = moment_of(shown[0])
    return Window(matching(lines_of(shown, PIECE, _whole(visit)), wanted), False, False, searched_to=end or None)


def _backward(visit: Visit, before: int, room: Room) -> tuple[list[Json], bool]:
    """Return the last events before a moment, and whether these are the first of the console."""
    found = _log(visit, batch_size=room.events + 1, navigate_earlier=True, from_timestamp=before)
    events = newest(found["events"], room)
    return events, _is_all(events, found, room)


def _forward(visit: Visit, after: int | None, room: Room) -> tuple[list[Json], bool]:
    """Return the first events after a moment, and whether these are the last of the console."""
    start = {} if after is None else {"from_timestamp": after}
    found = _log(visit, batch_size=room.events + 1, navigate_earlier=False, **start)
    events = oldest(found["events"], room)
    return events, _is_all(events, found, room)


def _is_all(events: list[Json], found: Json, room: Room) -> bool:
    return len(events) == len(found["events"]) <= room.events and not found.get("more")


def _log(visit: Visit, **query: Any) -> Json:
    data = {"task": visit.argument("task"), "order": "asc", "count_total": False} | query
    try:
        return visit.call("events.get_task_log", data)
    except ApiError as error:
        if (error.code, error.subcode) == (400, 101):
            raise ApiError(400, 101, f"There is no task with the id {visit.argument('task')}") from error
        raise


def _wanted(visit: Visit) -> str:
    return visit.asked.text("q")


def _whole(visit: Visit) -> str:
    return f"/tasks/{quote(visit.argument('task'), safe='')}/console/text"
