"""Datasets: the list of them, and the versions of one."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.web import dag
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import TASK_ROW, find_tasks, task_page
from clearml_localserver.web.views.tasks import label_versions, nearest, read_struct

VERSIONS = ["__$all", "dataset", "__$not", "archived"]
FIELDS = [*TASK_ROW, "runtime"]
LATEST = 500


def datasets(visit: Visit) -> Response:
    """Show every dataset with its latest version."""
    query = {"system_tags": ["dataset"], "search_hidden": True, "only_fields": ["name", "system_tags", "last_update"]}
    found = visit.call("projects.get_all_ex", query)
    latest = find_tasks(visit, {"system_tags": VERSIONS, "order_by": ["-created"]}, size=LATEST, fields=FIELDS)
    versions: dict[str, list[Json]] = {}
    for task in latest:
        versions.setdefault(task["project"]["id"], []).append(task)
    names = {project["id"]: project["name"] for project in found["projects"]}
    for id_, tasks in versions.items():
        names.setdefault(id_, (tasks[0].get("project") or {}).get("name") or "")
    rows = [{"id": id_, "title": title(name), "versions": versions.get(id_, [])} for id_, name in names.items()]
    rows.sort(key=lambda row: str(row["versions"][0]["created"] or "") if row["versions"] else "", reverse=True)
    return visit.render("datasets.html", live=True, rows=rows, partly=len(latest) == LATEST)


def dataset(visit: Visit) -> Response:
    """Show the versions of one dataset and what each came from."""
    id_ = visit.argument("project")
    wanted = {"project": [id_], "system_tags": VERSIONS, "order_by": ["-created"], "only_fields": FIELDS}
    project = visit.call("projects.get_by_id", {"project": id_})
    page = task_page(visit, wanted)
    ids = [task["id"] for task in page.items]
    lineage: dict[str, Json] = {}
    if ids:
        query = {"tasks": ids, "names": ["Dataset Struct"]}
        for item in visit.call("tasks.get_configurations", query)["configurations"]:
            for stored in item["configuration"]:
                for version, node in read_struct(stored["value"]).items():
                    lineage.setdefault(version, node)
    name = title(project["project"]["name"])
    statuses = {task["id"]: task["status"] for task in page.items}
    shown = label_versions(nearest(lineage, ids), name[0], statuses)
    return visit.render(
        "dataset.html",
        live=True,
        project=project["project"],
        title=name,
        page=page,
        lineage=lineage,
        current=None,
        drawing=dag.layout({version: node["parents"] for version, node in shown.items()}) if len(shown) > 1 else None,
        versions=shown,
    )


def title(project: str) -> tuple[str, str]:
    """Return a dataset's name and the project that it belongs to, from the name of its hidden project."""
    owner, _, name = project.partition("/.datasets/")
    return (name, owner) if name else (project.removeprefix(".datasets/"), "")
