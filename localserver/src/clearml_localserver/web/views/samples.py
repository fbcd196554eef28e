"""The debug samples of a task: all of them, and one at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import text
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.tasks import load, render_tab

MAX_ITERATIONS = 50
"""The latest iterations of each metric that pages go through."""

ITERATION = re.compile("-?[0-9]{1,18}")

MEDIA = {
    "image": (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".bmp", ".avif"),
    "video": (".mp4", ".webm", ".mov", ".mkv"),
    "audio": (".wav", ".mp3", ".ogg", ".flac", ".m4a"),
}


@dataclass(frozen=True)
class Viewed:
    """One sample, and those around it: the neighbours in the list, and the same one of other iterations."""

    sample: Json
    number: int
    total: int
    previous: Json | None
    following: Json | None
    earlier: Json | None
    later: Json | None


def samples(visit: Visit) -> Response:
    """Show debug samples, the latest iterations first; of an address that names one, this one and its neighbours."""
    asked = visit.asked.whole("iters", 4, MAX_ITERATIONS, least=1)
    is_one = "iter" in visit.query
    task = load(visit)
    groups = reported_samples(visit, task["id"], MAX_ITERATIONS if is_one else asked)
    more = min(asked * 3, MAX_ITERATIONS) if asked <= len(groups) and asked < MAX_ITERATIONS else 0
    viewed = view_sample(visit, [event for group in groups for event in group["events"]]) if is_one else None
    return render_tab(
        visit, task, "samples", groups=groups, more=more, viewed=viewed, whole=visit.asked.switch("whole")
    )


def reported_samples(visit: Visit, task: str, iterations: int) -> list[Json]:
    """Return a task's samples by iteration, the latest first, each with a link and how it is shown."""
    found = visit.call("events.debug_images", {"metrics": [{"task": task}], "iters": iterations})
    groups: list[Json] = next((item["iterations"] for item in found["metrics"]), [])
    for group in groups:
        for event in group["events"]:
            event["iter"] = group["iter"]
            event["link"] = visit.file_link(event["url"])
            event["media"] = media(event["url"])
    return groups


def view_sample(visit: Visit, events: list[Json]) -> Viewed:
    """Return the sample that the address names.

    Raises:
        ApiError: 404 if it is not among those that were read; 400 if the address has no number of an iteration.
    """
    wanted = tuple(visit.query.get(name, "") for name in ("iter", "metric", "variant"))
    if not ITERATION.fullmatch(wanted[0]):
        raise ApiError(400, 0, f"“iter” in the address is the number of an iteration, not “{wanted[0][:100]}”")
    names = [(str(event["iter"]), event["metric"], event["variant"]) for event in events]
    if wanted not in names:
        last = f"the last {MAX_ITERATIONS} iterations"
        raise ApiError(
            404, 0, f"There is no sample “{' '.join(wanted[1:])[:200]}” of iteration {wanted[0][:20]} in {last}"
        )
    at = names.index(wanted)
    same = [number for number, name in enumerate(names) if name[1:] == wanted[1:]]
    place = same.index(at)
    return Viewed(
        events[at],
        at + 1,
        len(events),
        events[at - 1] if at else None,
        events[at + 1] if at + 1 < len(events) else None,
        events[same[place + 1]] if place + 1 < len(same) else None,
        events[same[place - 1]] if place else None,
    )


def media(url: str) -> str:
    """Return how a file is shown, by its name: `image`, `video`, `audio` or `file`."""
    address = text.address(url)
    path = address.path.lower() if address else ""
    return next((kind for kind, endings in MEDIA.items() if path.endswith(endings)), "file")
