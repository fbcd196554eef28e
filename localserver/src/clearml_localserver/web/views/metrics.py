"""What a task reported: console, scalars, plots, debug samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.responses import Response, StreamingResponse

from clearml_localserver.errors import ApiError
from clearml_localserver.web import ansi, text
from clearml_localserver.web.request_guard import page_policy
from clearml_localserver.web.shapes import MAX_JSON, line, list_of, read_json, record
from clearml_localserver.web.site import MAX_PAGE, Json, Visit
from clearml_localserver.web.views.tasks import is_live, load, render_tab


@dataclass(frozen=True)
class Room:
    """How much of the console one answer holds."""

    events: int
    lines: int
    characters: int


TAIL = Room(1000, 2000, 10**6)
"""Shown at first; an event may be many lines."""

MORE = Room(4000, 10_000, 2 * 10**6)
"""How much one step further shows."""

OVERLAP_MS = 10_000
"""How far back a poll looks: two processes of a task report in batches, so a line may arrive after a later one."""

PLOTS_PER_PAGE = 20
MAX_FIGURES = 16 * 2**20
"""Characters of all figures that a page holds."""

FIGURE = record(data=list_of(record(type=line)))
COMPILED = frozenset({"scattergl", "scatterpolargl", "splom", "parcoords"})
MAX_ITERATIONS = 50
MAX_TIME = 10**15
NOTABLE = frozenset({"warning", "warn", "error", "critical", "fatal"})
MEDIA = {
    "image": (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp", ".avif"),
    "video": (".mp4", ".webm", ".mov", ".mkv"),
    "audio": (".wav", ".mp3", ".ogg", ".flac", ".m4a"),
}


def console(visit: Visit) -> Response:
    """Show the console: its end at first, the rest on demand."""
    task = load(visit)
    found = _log(visit, batch_size=TAIL.events, navigate_earlier=True)
    events = _newest(found["events"], TAIL)
    return render_tab(
        visit, task, "console", lines=_lines(events, TAIL, _whole(task["id"])), more=(found["total"] or 0) > len(events)
    )


def console_lines(visit: Visit) -> Response:
    """Return more console lines for the page's script: those before a time, or those since one (ms)."""
    whole = _whole(visit.argument("task"))
    if before := visit.whole("before", 0, MAX_TIME):
        found = _log(visit, batch_size=MORE.events, navigate_earlier=True, from_timestamp=before)
        events = _newest(found["events"], MORE)
        more = len(events) < len(found["events"]) or len(events) >= MORE.events
        return visit.json({"lines": _lines(events, MORE, whole), "more": more})
    after = visit.whole("after", 0, MAX_TIME)
    task = load(visit)
    found = _log(visit, batch_size=MORE.events, navigate_earlier=False, from_timestamp=max(0, after - OVERLAP_MS))
    events = _oldest(found["events"], MORE)
    if after and (len(events) < len(found["events"]) or len(events) >= MORE.events):
        # The overlap alone fills the answer: without it, so that the reader gets on.
        found = _log(visit, batch_size=MORE.events, navigate_earlier=False, from_timestamp=after)
        events = _oldest(found["events"], MORE)
    return visit.json({"lines": _lines(events, MORE, whole), "live": is_live(visit, task)})


def console_text(visit: Visit) -> Response:
    """Return the console as plain text: all of it as a file, or what was printed at one time (ms) to be looked at."""
    task = load(visit)
    moment = visit.whole("at", 0, MAX_TIME)

    def lines() -> Iterator[bytes]:
        after: Json = {"from_timestamp": moment - 1} if moment else {}
        while True:
            found = _log(visit, batch_size=MORE.events, navigate_earlier=False, **after)
            events = [event for event in found["events"] if not moment or _at(event) <= moment]
            newest = max(map(_at, events), default=None)
            if newest is None or newest <= after.get("from_timestamp", newest - 1):
                return
            after["from_timestamp"] = newest
            for event in events:
                yield f"{ansi.to_text(str(event.get('msg') or '')).rstrip()}\n".encode(errors="replace")

    headers = {"Cache-Control": "no-store"}
    if not moment:
        headers["Content-Disposition"] = f'attachment; filename="task_{task["id"]}.log"'
    return StreamingResponse(lines(), media_type="text/plain; charset=utf-8", headers=headers)


def scalars(visit: Visit) -> Response:
    """Show scalars; the page's script fetches and draws them."""
    task = load(visit)
    return _drawing(visit, render_tab(visit, task, "scalars", axis=_axis(visit)))


def scalars_data(visit: Visit) -> Response:
    """Return the curves of a task and its single values."""
    task = load(visit)
    singles = visit.call("events.get_task_single_value_metrics", {"tasks": [visit.argument("task")]})
    curves = visit.call("events.scalar_metrics_iter_histogram", {"task": task["id"], "key": _axis(visit)})
    return visit.json(
        {
            # Machine monitoring comes last: people look for their own curves.
            "metrics": dict(sorted(curves.items(), key=lambda item: (item[0].startswith(":monitor"), item[0]))),
            "singles": next((item["values"] for item in singles["tasks"]), []),
            "live": is_live(visit, task),
        }
    )


def plots(visit: Visit) -> Response:
    """Show plots as they were reported, those of the last iteration of each at first."""
    if visit.wants_part():
        # A page that looks for news must not have all figures read for that.
        task = load(visit)
        known = _plot_metrics(visit)
        return render_tab(visit, task, "plots", metrics=known)
    iterations = visit.whole("iters", 1, MAX_ITERATIONS, least=1)
    task = load(visit)
    found = visit.call(
        "events.get_task_plots", {"task": visit.argument("task"), "iters": iterations, "no_scroll": True}
    )
    events = sorted(found["plots"], key=lambda event: (event.get("metric") or "", event.get("variant") or "",
                                                       -(event.get("iter") or 0)))  # fmt: skip
    metrics = sorted({event.get("metric") or "" for event in events})
    chosen = visit.query.get("metric")
    variant = visit.query.get("variant")
    if chosen is not None:
        events = [
            event for event in events if event["metric"] == chosen and (variant is None or event["variant"] == variant)
        ]
    number = visit.whole("page", 1, MAX_PAGE, least=1)
    start = (number - 1) * PLOTS_PER_PAGE
    files = visit.site.settings.files_url + "/"
    shown, room = events[start : start + PLOTS_PER_PAGE], MAX_FIGURES
    for event in shown:
        figure = event["plot_str"]
        event["size"] = len(figure)
        # Images inside a figure are fetched as any other file: through this page's own address.
        event["plot_str"] = figure.replace(files, "/files/") if len(figure) <= room else None
        room -= len(figure) if len(figure) <= room else 0
    response = render_tab(
        visit,
        task,
        "plots",
        plots=shown,
        metrics=metrics,
        chosen=chosen,
        whole=MAX_FIGURES,
        iterations=iterations,
        number=number,
        has_next=len(events) > start + PLOTS_PER_PAGE,
    )
    return _drawing(visit, response, compiling=any(compiles(event["plot_str"] or "") for event in shown))


def _plot_metrics(visit: Visit) -> list[str]:
    query = {"tasks": [visit.argument("task")], "event_type": "plot"}
    found = visit.call("events.get_task_metrics", query)["metrics"]
    return sorted({name for item in found for name in item["metrics"]})


def compiles(figure: str) -> bool:
    """Return whether plotly.js compiles code to draw a figure (its WebGL traces do): that needs a wider policy.

    Of a figure that is too long to be read here, one that only names such a trace counts.
    """
    if not any(name in figure for name in COMPILED):
        return False
    return len(figure) > MAX_JSON or any(trace["type"] in COMPILED for trace in FIGURE(read_json(figure))["data"])


def samples(visit: Visit) -> Response:
    """Show debug samples, the latest iterations first."""
    iterations = visit.whole("iters", 4, MAX_ITERATIONS, least=1)
    task = load(visit)
    found = visit.call("events.debug_images", {"metrics": [{"task": visit.argument("task")}], "iters": iterations})
    groups: list[Json] = next((item["iterations"] for item in found.get("metrics") or []), [])
    for group in groups:
        for event in group["events"]:
            event["link"] = visit.file_link(event.get("url"))
            event["media"] = _media(str(event.get("url") or ""))
    return render_tab(visit, task, "samples", groups=groups, iterations=iterations, more=len(groups) >= iterations)


def _drawing(visit: Visit, response: Response, *, compiling: bool = False) -> Response:
    response.headers["Content-Security-Policy"] = page_policy(visit.site.settings, drawing=True, compiling=compiling)
    return response


def _log(visit: Visit, **query: Any) -> Json:
    try:
        return visit.call("events.get_task_log", {"task": visit.argument("task"), "order": "asc"} | query)
    except ApiError as error:
        if (error.code, error.subcode) == (400, 101):
            raise ApiError(400, 101, f"There is no task with the id {visit.argument('task')}") from error
        raise


def _at(event: Json) -> int:
    return int(event.get("timestamp") or 0)


def _newest(events: list[Json], room: Room) -> list[Json]:
    """Return the last events, as many as there is room for; never some but not all of one time."""
    start = len(events) - _fitting(reversed(events), room)
    while start > 0 and _at(events[start - 1]) == _at(events[start]):
        start -= 1
    return events[start:]


def _oldest(events: list[Json], room: Room) -> list[Json]:
    """Return the first events, as many as there is room for; never some but not all of one time."""
    end = _fitting(events, room)
    while 0 < end < len(events) and _at(events[end - 1]) == _at(events[end]):
        end += 1
    return events[:end]


def _fitting(events: Iterable[Json], room: Room) -> int:
    count, lines, characters = 0, 0, 0
    for event in events:
        if lines >= room.lines or characters >= room.characters:
            break
        count += 1
        lines += 1 + event["msg"].count("\n")
        characters += len(event["msg"])
    return count


def _lines(events: list[Json], room: Room, whole: str) -> list[dict[str, Any]]:
    """Return console lines for the page; of one time or event with more than there is room for, the last ones.

    A key tells a line from another one of the same time and text.
    """
    keys: list[str] = []
    seen: dict[str, int] = {}
    for event in events:
        digest = blake2b(event["msg"].encode(errors="replace"), digest_size=6).hexdigest()
        key = f"{_at(event)}-{digest}"
        seen[key] = seen.get(key, -1) + 1
        keys.append(f"{key}-{seen[key]}")
    blocks: list[list[dict[str, Any]]] = []
    lines, characters = room.lines, room.characters
    for event, key in zip(reversed(events), reversed(keys), strict=True):
        level, at, message = event["level"].lower(), _at(event), event["msg"].rstrip("\n")
        here = f"{whole}?at={at}"
        start = _tail(message, lines, characters) if lines > 0 and characters > 0 else len(message) + 1
        html = ansi.to_lines(message[start:], here) if start <= len(message) else []
        lines, characters = lines - len(html), characters - sum(map(len, html))
        if start > 0:
            html.insert(0, Markup('<a class="cut" href="{}">… earlier lines of the same moment</a>').format(here))
        shared = {"at": at, "level": level if level in NOTABLE else ""}
        blocks.append([{"key": f"{key}-{n}", "html": str(line), **shared} for n, line in enumerate(html)])
        if start > 0:
            break
    return [line for block in reversed(blocks) for line in block]


def _tail(message: str, lines: int, characters: int) -> int:
    """Return where the last whole lines of a message start, as many as there is room for, but at least one."""
    start, count = len(message), 0
    while start >= 0 and count < lines and (count == 0 or len(message) - start < characters):
        start = message.rfind("\n", 0, start)
        count += 1
    return start + 1


def _whole(task: str) -> str:
    return f"/tasks/{quote(task, safe='')}/console/text"


def _axis(visit: Visit) -> str:
    axis = visit.query.get("axis", "iter")
    return axis if axis in ("iter", "iso_time") else "iter"


def _media(url: str) -> str:
    address = text.address(url)
    path = address.path.lower() if address else ""
    return next((kind for kind, endings in MEDIA.items() if path.endswith(endings)), "file")
