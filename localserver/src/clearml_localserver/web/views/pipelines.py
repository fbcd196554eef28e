"""Pipelines: the list of them, and the runs of one."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import (
    CONTROLLERS,
    PAGE_SIZE,
    TASK_ROW,
    Slice,
    count,
    find_runs,
    find_tasks,
    only_runs,
)

LATEST = 500
"""Runs that the list of pipelines looks at."""


def pipelines(visit: Visit) -> Response:
    """Show every pipeline with its latest run."""
    query = {"system_tags": ["pipeline"], "search_hidden": True, "only_fields": ["name", "system_tags", "last_update"]}
    found = visit.call("projects.get_all_ex", query)
    controllers = find_tasks(visit, CONTROLLERS, size=LATEST, fields=[*TASK_ROW, "parent"])
    runs_of_people = {task["id"] for task in only_runs(visit, controllers)}
    by_project: dict[str, list[Json]] = {}
    for task in controllers:
        by_project.setdefault(task["project"]["id"], []).append(task)
    # Of a pipeline that has run within others only, the latest of these is shown.
    for tasks in by_project.values():
        tasks.sort(key=lambda task: task["id"] not in runs_of_people)
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
        rows.append(
            {
                "id": id_,
                "title": title(name),
                "latest": latest,
                "created": created,
                "count": sum(task["id"] in runs_of_people for task in tasks),
            }
        )
    rows.sort(key=lambda row: str(row["created"]), reverse=True)
    return visit.render("pipelines.html", live=True, rows=rows, partly=len(controllers) == LATEST)


def pipeline(visit: Visit) -> Response:
    """Show the runs of one pipeline."""
    id_ = visit.argument("project")
    project = visit.call("projects.get_by_id", {"project": id_})
    number, wanted = visit.asked.page(), {"project": [id_]}
    runs = find_runs(visit, wanted | {"page": number - 1}, size=PAGE_SIZE)
    names: dict[str, None] = {}
    for task, _ in runs:
        names.update(dict.fromkeys((task.get("hyperparams") or {}).get("Args") or {}))
    return visit.render(
        "pipeline.html",
        live=True,
        project=project["project"],
        title=title(project["project"]["name"]),
        page=Slice(runs, number, count(visit, CONTROLLERS | wanted)),
        parameters=list(names),
    )


def title(project: str) -> tuple[str, str]:
    """Return a pipeline's name and the project that it belongs to, from the name of its hidden project."""
    owner, _, name = project.partition("/.pipelines/")
    return (name, owner) if name else (project.removeprefix(".pipelines/"), "")
