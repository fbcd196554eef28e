"""The home page: running and waiting tasks, and workers."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.web.shapes import reference
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.failures import failure_of, failures_of
from clearml_localserver.web.views.lists import TASK_ROW, find_queues, find_tasks, is_alive, latest_runs
from clearml_localserver.web.views.personal import ENDED, is_new, last_look, newest, preferences

RECENT: Json = {"order_by": ["-last_update"], "system_tags": ["-archived"]}
SHOWN_ENDED, LOOKED_AT = 8, 50
"""Ended tasks that are shown, and the latest tasks among which they are looked for first."""
TOLD = 4


def home(visit: Visit) -> Response:
    """Show the latest pipeline runs, running and latest tasks, queues and workers."""
    latest = latest_runs(visit, 6)
    running = find_tasks(visit, {"status": ["in_progress"], "order_by": ["-started"]}, size=12)
    ended = lately_ended(visit)
    recent = ended[:SHOWN_ENDED]
    since = last_look(visit, preferences(visit))
    queues = find_queues(visit)
    workers = visit.call("workers.get_all", {})
    alive = [worker for worker in workers["workers"] if is_alive(worker, visit.now)]
    of_runs = {task["id"]: failures_of(visit, task, run, most=1) for task, run in latest}
    said = {failure.task_id for found in of_runs.values() for failure in found} | set(of_runs)
    failed = [task for task in recent if task["status"] == "failed" and task["id"] not in said]
    return visit.render(
        "home.html",
        live=True,
        runs=latest,
        of_runs=of_runs,
        of_tasks={task["id"]: [failure_of(visit, task)] for task in failed},
        told=telling([task for task, _ in latest]),
        running=running,
        recent=recent,
        since=since,
        news=sum(is_new(task, since) for task in ended),
        until=newest(ended),
        queues=queues,
        alive=alive,
        quiet=[worker for worker in workers["workers"] if worker not in alive],
        waiting=sum(len(queue.get("entries") or []) for queue in queues),
    )


def lately_ended(visit: Visit) -> list[Json]:
    """Return the tasks that ended last.

    The server finds the latest tasks by an index, and those of a status by reading all: it is asked for these only
    where too few of the latest have ended.
    """
    latest = find_tasks(visit, RECENT, size=LOOKED_AT, fields=TASK_ROW)
    ended = [task for task in latest if task["status"] in ENDED]
    if len(ended) >= SHOWN_ENDED or len(latest) < LOOKED_AT:
        return ended
    return find_tasks(visit, RECENT | {"status": list(ENDED)}, size=SHOWN_ENDED, fields=TASK_ROW)


def telling(controllers: list[Json]) -> dict[str, list[tuple[str, str]]]:
    """Return the parameters worth telling of each run: those in which a pipeline's runs differ, else the first ones."""
    by_pipeline: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for task in controllers:
        arguments = (task.get("hyperparams") or {}).get("Args") or {}
        values = {name: str(item.get("value") or "") for name, item in arguments.items()}
        by_pipeline.setdefault(reference(task.get("project"))["id"], []).append((task["id"], values))
    told = {}
    for runs in by_pipeline.values():
        names = {name: None for _, values in runs for name in values}
        differing = [name for name in names if len({values.get(name) for _, values in runs}) > 1]
        for id_, values in runs:
            told[id_] = [(name, values[name]) for name in differing or names if name in values][:TOLD]
    return told
