"""Lists that several pages show: tasks, pipeline runs, queues with their workers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.web import runs
from clearml_localserver.web.runs import Run
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.text import moment

TASK_ROW = [
    "name", "type", "status", "status_reason", "status_message", "tags", "system_tags", "created", "started",
    "completed", "status_changed", "last_update", "last_iteration", "last_worker", "project.name", "user.name",
    "runtime.version",
]  # fmt: skip
PAGE_SIZE = 50
BATCH, MAX_READ = 1000, 20_000
"""Tasks that are read at a time, and at most, where a page needs all of them."""

CONTROLLERS: Json = {
    "type": ["controller"],
    "system_tags": ["__$all", "pipeline", "__$not", "archived"],
    "order_by": ["-created"],
}
"""The tasks that are pipeline runs, newest first."""

LOOKED_AT = 5
"""Controllers that are looked at for each run that is shown."""

MAX_GRAPH, MAX_GRAPHS = 300_000, 4_000_000
"""Characters of one stored graph, and of all of them, that a list reads: lists look again every two seconds."""

WORKER_QUIET_S = 90.0
"""A worker that has not called for this long is probably gone: agents call every few seconds."""


@dataclass(frozen=True)
class Slice:
    """One page of a longer list."""

    items: Sequence[Any]
    number: int
    total: int
    size: int = PAGE_SIZE

    @property
    def has_next(self) -> bool:
        """Whether there is a page after this one."""
        return self.number * self.size < self.total

    @property
    def is_beyond(self) -> bool:
        """Whether the list ends before this page."""
        return self.number > 1 and not self.items


def find_tasks(visit: Visit, query: Json, *, size: int = PAGE_SIZE, fields: list[str] | None = None) -> list[Json]:
    """Return tasks, hidden ones too: the pages show what there is and mark it."""
    data = {"page": 0, "page_size": size, "search_hidden": True, "only_fields": fields or TASK_ROW} | query
    tasks: list[Json] = visit.call("tasks.get_all_ex", data)["tasks"]
    return tasks


def all_tasks(visit: Visit, query: Json, fields: list[str], most: int = MAX_READ) -> list[Json]:
    """Return all tasks that a query finds, read page by page; of more than `most` the first."""
    found: list[Json] = []
    while len(found) < most:
        page = find_tasks(visit, query | {"page": len(found) // BATCH}, size=BATCH, fields=fields)
        found += page
        if len(page) < BATCH:
            break
    return found


def count(visit: Visit, query: Json, kind: str = "tasks") -> int:
    """Return how many tasks (or models) a query finds, hidden ones too."""
    wanted = {name: value for name, value in query.items() if name not in ("order_by", "only_fields")}
    return int(visit.call("organization.get_entities_count", {kind: wanted, "search_hidden": True})[kind] or 0)


def task_page(visit: Visit, query: Json, *, size: int = PAGE_SIZE) -> Slice:
    """Return the page of tasks that the address's `page` names (the first is 1)."""
    number = visit.asked.page()
    items = find_tasks(visit, query | {"page": number - 1}, size=size)
    # Counting may look at every task: it is left out where the page itself tells.
    total = len(items) if number == 1 and len(items) < size else count(visit, query)
    return Slice(items, number, total, size)


def find_runs(visit: Visit, query: Json, *, size: int) -> list[tuple[Json, Run]]:
    """Return pipeline runs with their steps, newest first."""
    wanted = CONTROLLERS | {
        "only_fields": [*TASK_ROW, "runtime", "configuration.Pipeline", "hyperparams"],
    }
    controllers = find_tasks(visit, wanted | query, size=size)
    if not controllers:
        return []
    begun = [task["id"] for task in controllers if runs.has_begun(task)]
    children: dict[str, list[Json]] = {}
    for child in all_tasks(visit, {"parent": begun}, runs.STEP_FIELDS) if begun else []:
        children.setdefault(child["parent"]["id"], []).append(child)
    found, room = [], MAX_GRAPHS
    for task in controllers:
        length = len(runs.stored_graph(task))
        if length > min(room, MAX_GRAPH):
            found.append((task, runs.UNREAD))
            continue
        room -= length
        found.append((task, runs.read_run(task, children.get(task["id"], []))))
    return found


def only_runs(visit: Visit, controllers: list[Json]) -> list[Json]:
    """Return the controllers that somebody has started: neither drafts, nor steps of pipelines around them."""
    started = [task for task in controllers if task["status"] != "created"]
    parents = list({task["parent"]["id"] for task in started if task["parent"]["id"]})
    around = find_tasks(visit, {"id": parents}, size=len(parents), fields=runs.GRAPH_FIELDS) if parents else []
    inner = {id_ for task in around for id_ in runs.step_ids(task)}
    return [task for task in started if task["id"] not in inner]


def latest_runs(visit: Visit, most: int) -> list[tuple[Json, Run]]:
    """Return the latest pipeline runs with their steps, newest first."""
    controllers = find_tasks(visit, CONTROLLERS, size=LOOKED_AT * most, fields=[*TASK_ROW, "parent"])
    ids = [task["id"] for task in only_runs(visit, controllers)[:most]]
    return find_runs(visit, {"id": ids}, size=most) if ids else []


def find_queues(visit: Visit) -> list[Json]:
    """Return all queues with entries and workers; those with a live worker first, then by name.

    Each gets `alive`, how many of its workers have called lately, and `label`, what a choice of queues says of it.
    """
    found = visit.call("queues.get_all_ex", {"search_hidden": True})
    workers = visit.call("workers.get_all", {})
    alive = {worker["id"] for worker in workers["workers"] if is_alive(worker, visit.now)}
    queues: list[Json] = found["queues"]
    for queue in queues:
        queue["alive"] = sum(worker["name"] in alive for worker in queue.get("workers") or [])
        queue["label"] = f"{queue['name']} ({_told(queue)})"
    return sorted(queues, key=lambda queue: (not queue["alive"], queue["name"].lower()))


def _told(queue: Json) -> str:
    alive, waiting = queue["alive"], len(queue["entries"])
    workers = f"{alive} worker{'' if alive == 1 else 's'}" if alive else "no live worker"
    return f"{workers}, {waiting} waiting" if waiting else workers


def is_alive(worker: Json, now: datetime) -> bool:
    """Return whether a worker has called lately."""
    seen = moment(worker.get("last_activity_time"))
    return seen is not None and (now - seen).total_seconds() < WORKER_QUIET_S


def queue_names(visit: Visit) -> dict[str, str]:
    """Return the names of all queues by id; none where the API refuses: an error page is shown without."""
    with contextlib.suppress(ApiError):
        return {
            queue["id"]: queue["name"]
            for queue in visit.call("queues.get_all", {"only_fields": ["id", "name"]})["queues"]
        }
    return {}
