"""Pipelines: the list of them, and the runs of one."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from localserver.web.runs import Run
from localserver.web.site import Json, Visit
from localserver.web.views.lists import find_runs, reference

LATEST = 300
"""Runs that the list of pipelines looks at."""

RUNS = 100


async def pipelines(visit: Visit) -> Response:
    """Show every pipeline with its latest run."""
    query = {"system_tags": ["pipeline"], "search_hidden": True, "only_fields": ["name", "system_tags", "last_update"]}
    found, latest = await asyncio.gather(visit.call("projects.get_all_ex", query), find_runs(visit, {}, size=LATEST))
    by_project: dict[str, list[tuple[Json, Run]]] = {}
    for task, run in latest:
        by_project.setdefault(reference(task.get("project")), []).append((task, run))
    names = {project["id"]: project["name"] for project in found["projects"]}
    for id_, its_runs in by_project.items():
        names.setdefault(id_, (its_runs[0][0].get("project") or {}).get("name") or "")
    rows = [
        {"id": id_, "name": name, "title": title(name), "runs": by_project.get(id_, [])} for id_, name in names.items()
    ]
    rows.sort(key=lambda row: row["runs"][0][0].get("created") or "" if row["runs"] else "", reverse=True)
    return visit.render("pipelines.html", live=True, rows=rows)


async def pipeline(visit: Visit) -> Response:
    """Show the runs of one pipeline."""
    id_ = visit.argument("project")
    project, runs = await asyncio.gather(
        visit.call("projects.get_by_id", {"project": id_}), find_runs(visit, {"project": [id_]}, size=RUNS)
    )
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
