"""Lists that several pages show: tasks, pipeline runs, queues with their workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from clearml_localserver.web import runs
from clearml_localserver.web.runs import Run
from clearml_localserver.web.site import MAX_PAGE, Json, Visit
from clearml_localserver.web.text import moment

TASK_ROW = [
    "name", "type", "status", "status_reason", "status_message", "tags", "system_tags", "created", "started",
    "completed", "status_changed", "last_update", "last_iteration", "last_worker", "project.name", "user.name",
]  # fmt: skip
PAGE_SIZE = 50
CONTROLLERS: Json = {
    "type": ["controller"],
    "system_tags": ["__$all", "pipeline", "__$not", "archived"],
    "order_by": ["-created"],
}
"""The tasks that are pipeline runs, newest first."""

MAX_GRAPH, MAX_GRAPHS = 300_000, 4_000_000
"""Characters of one stored graph, and of all of them, that a list reads: lists look again every two seconds."""

WORKER_QUIET_S = 90.0
"""A worker that has not called for this long is probably gone: agents call every few seconds."""


@dataclass(frozen=True)
class Slice:
    """One page of a longer list."""

    items: list[Json]
    number: int
    has_next: bool
    size: int = PAGE_SIZE


def find_tasks(visit: Visit, query: Json, *, size: int = PAGE_SIZE, fields: list[str] | None = None) -> list[Json]:
    """Return tasks, hidden ones too: the pages show what there is and mark it."""
    data = {"page": 0, "page_size": size, "search_hidden": True, "only_fields": fields or TASK_ROW} | query
    tasks: list[Json] = visit.call("tasks.get_all_ex", data)["tasks"]
    return tasks


def task_page(visit: Visit, query: Json, *, size: int = PAGE_SIZE) -> Slice:
    """Return the page of tasks that the address's `page` names (the first is 1)."""
    number = visit.whole("page", 1, MAX_PAGE, least=1)
    start = (number - 1) * size
    # The list's total is not known to the API; one item more than is shown tells whether there is a next page.
    page = find_tasks(visit, query | {"page": number - 1, "page_size": size})
    more = find_tasks(visit, query | {"page": start + size, "page_size": 1, "only_fields": ["id"]})
    return Slice(page, number, bool(more), size)


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
    for child in find_tasks(visit, {"parent": begun}, size=1000, fields=runs.STEP_FIELDS) if begun else []:
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


def find_queues(visit: Visit) -> list[Json]:
    """Return all queues with entries and workers; those with a live worker first, then by name.

    Each gets `alive`: how many of its workers have called lately.
    """
    found = visit.call("queues.get_all_ex", {"search_hidden": True})
    workers = visit.call("workers.get_all", {})
    alive = {worker["id"] for worker in workers["workers"] if is_alive(worker, visit.now)}
    queues: list[Json] = found["queues"]
    for queue in queues:
        queue["alive"] = sum(worker["name"] in alive for worker in queue.get("workers") or [])
    return sorted(queues, key=lambda queue: (not queue["alive"], queue["name"].lower()))


def is_alive(worker: Json, now: datetime) -> bool:
    """Return whether a worker has called lately."""
    seen = moment(worker.get("last_activity_time"))
    return seen is not None and (now - seen).total_seconds() < WORKER_QUIET_S
