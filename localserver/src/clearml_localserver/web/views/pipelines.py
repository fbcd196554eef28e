"""Pipelines: the list of them, and the runs of one."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import CONTROLLERS, find_runs, find_tasks

LATEST = 500
"""Runs that the list of pipelines looks at."""

RUNS = 50


def pipelines(visit: Visit) -> Response:
    """Show every pipeline with its latest run."""
    query = {"system_tags": ["pipeline"], "search_hidden": True, "only_fields": ["name", "system_tags", "last_update"]}
    found = visit.call("projects.get_all_ex", query)
    controllers = find_tasks(visit, CONTROLLERS, size=LATEST)
    by_project: dict[str, list[Json]] = {}
    for task in controllers:
        by_project.setdefault(task["project"]["id"], []).append(task)
    newest = [tasks[0]["id"] for tasks in by_project.values()]
    runs = {task["id"]: (task, run) for task, run in (find_runs(visit, {"id": newest}, size=LATEST) if newest else [])}
    names = {project["id"]: project["name"] for project in found["projects"]}
    for id_, tasks in by_project.items():
        names.setdefault(id_, (tasks[0].get("project") or {}).get("name") or "")
    rows: list[Json] = []
    for id_, name in names.items():
        tasks = by_project.get(id_, [])
        latest = runs.get(tasks[0]["id"]) if tasks else None
        created = tasks[0].get("created") or "" if tasks else ""
        rows.append({"id": id_, "title": title(name), "latest": latest, "count": len(tasks), "created": created})
    rows.sort(key=lambda row: str(row["created"]), reverse=True)
    return visit.render("pipelines.html", live=True, rows=rows, partly=len(controllers) == LATEST)


def pipeline(visit: Visit) -> Response:
    """Show the runs of one pipeline."""
    id_ = visit.argument("project")
    project = visit.call("projects.get_by_id", {"project": id_})
    runs = find_runs(visit, {"project": [id_]}, size=RUNS)
    names: dict[str, None] = {}
    for task, _ in runs:
        names.update(dict.fromkeys((task.get("hyperparams") or {}).get("Args") or {}))
    return visit.render(
        "pipeline.html",
        live=True,
        project=project["project"],
        title=title(project["project"]["name"]),
        runs=runs,
        limit=RUNS,
        parameters=list(names),
    )


def title(project: str) -> tuple[str, str]:
    """Return a pipeline's name and the project that it belongs to, from the name of its hidden project."""
    owner, _, name = project.partition("/.pipelines/")
    return (name, owner) if name else (project.removeprefix(".pipelines/"), "")
