"""The first page: what runs, what waits, who works."""

from __future__ import annotations

import asyncio
import re

from starlette.responses import Response

from localserver.web.site import Visit
from localserver.web.views.lists import find_queues, find_runs, find_tasks, is_alive

RECENT = {"order_by": ["-last_update"], "system_tags": ["-archived"]}
SEARCH_SIZE = 50


async def home(visit: Visit) -> Response:
    """Show the latest pipeline runs, running and latest tasks, queues and workers."""
    latest, running, recent, queues, workers = await asyncio.gather(
        find_runs(visit, {}, size=6),
        find_tasks(visit, {"status": ["in_progress"], "order_by": ["-started"]}, size=12),
        find_tasks(visit, RECENT | {"status": ["completed", "failed", "stopped", "published", "closed"]}, size=8),
        find_queues(visit),
        visit.call("workers.get_all", {}),
    )
    alive = [worker for worker in workers["workers"] if is_alive(worker, visit.now)]
    return visit.render(
        "home.html",
        live=True,
        runs=latest,
        running=running,
        recent=recent,
        queues=queues,
        alive=alive,
        quiet=[worker for worker in workers["workers"] if worker not in alive],
        waiting=sum(len(queue.get("entries") or []) for queue in queues),
    )


async def search(visit: Visit) -> Response:
    """Find tasks and projects by a part of their name, or by id."""
    wanted = visit.query.get("q", "").strip()[:200]
    if not wanted:
        return visit.render("search.html", wanted="", tasks=[], projects=[])
    pattern = {"fields": ["name", "id"], "pattern": re.escape(wanted)}
    tasks, projects = await asyncio.gather(
        find_tasks(visit, {"_any_": pattern, "order_by": ["-last_update"]}, size=SEARCH_SIZE),
        visit.call(
            "projects.get_all_ex",
            {
                "_any_": pattern,
                "search_hidden": True,
                "only_fields": ["name", "system_tags"],
                "page": 0,
                "page_size": SEARCH_SIZE,
            },
        ),
    )
    return visit.render("search.html", wanted=wanted, tasks=tasks, projects=projects["projects"])
