"""Projects: the tree, and the tasks and models of one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from starlette.responses import Response

from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.text import STATUSES
from clearml_localserver.web.views.lists import task_page

ORDERS = {
    "name": "name",
    "type": "type",
    "status": "status",
    "created": "created",
    "started": "started",
    "updated": "last_update",
    "iteration": "last_iteration",
}
"""Sort keys of the task table, as the address names them."""

PROJECT_FIELDS = ["name", "basename", "description", "system_tags", "tags", "created", "last_update", "parent"]
MAX_PROJECTS = 2000
MODEL_FIELDS = ["name", "framework", "ready", "created", "last_update", "task.name", "uri", "tags", "project.name"]


@dataclass
class Node:
    """A project in the tree."""

    project: Json
    depth: int
    kind: str
    """`project`, or what the SDK's hidden sub project holds: `pipelines`, `pipeline`, `datasets`, `dataset`."""

    children: list[Node] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The last part of the name; a readable label where it is one of the SDK's."""
        base: str = self.project["name"].rsplit("/", 1)[-1]
        return {".pipelines": "Pipelines", ".datasets": "Datasets"}.get(base, base)


def kind_of(project: Json) -> str:
    """Return what a project is to people."""
    tags = project.get("system_tags") or []
    base: str = project["name"].rsplit("/", 1)[-1]
    if base in (".pipelines", ".datasets"):
        return base[1:]
    return next((tag for tag in ("pipeline", "dataset") if tag in tags), "project")


def tree(projects: list[Json]) -> list[Node]:
    """Return the projects as a flat list in the order of a tree, each with its depth."""
    by_name = {project["name"]: project for project in projects}
    nodes: dict[str, Node] = {}
    roots: list[Node] = []
    for name in sorted(by_name, key=lambda name: [part.lower() for part in name.split("/")]):
        parts = name.split("/")
        parent = next((p for i in range(len(parts) - 1, 0, -1) if (p := "/".join(parts[:i])) in nodes), None)
        node = Node(by_name[name], nodes[parent].depth + 1 if parent else 0, kind_of(by_name[name]))
        nodes[name] = node
        (nodes[parent].children if parent else roots).append(node)
    return roots


def projects(visit: Visit) -> Response:
    """Show all projects as a tree, with how many tasks each has in which status."""
    query = {"search_hidden": True, "include_stats": True, "stats_with_children": False, "page": 0,
             "page_size": MAX_PROJECTS, "only_fields": PROJECT_FIELDS}  # fmt: skip
    found = visit.call("projects.get_all_ex", query)["projects"]
    return visit.render("projects.html", roots=tree(found), count=len(found), limit=MAX_PROJECTS)


def project(visit: Visit) -> Response:
    """Show the tasks of a project: filtered, sorted and paged by the address."""
    id_ = visit.argument("project")
    everything = id_ == "*"
    query = visit.query
    wanted: Json = {"order_by": [order_by(query.get("order", "-updated"))]}
    if not everything:
        wanted["project"] = [id_]
        if query.get("sub"):
            wanted["include_subprojects"] = True
    chosen = [name for name in visit.request.query_params.getlist("status") if name in STATUSES]
    if chosen:
        wanted["status"] = chosen
    if query.get("type"):
        wanted["type"] = [query["type"]]
    if query.get("tag"):
        wanted["tags"] = ["__$all", query["tag"]]
    if text := query.get("q", "").strip()[:200]:
        wanted["_any_"] = {"fields": ["name", "id", "comment"], "pattern": re.escape(text)}
    wanted["system_tags"] = ["archived"] if query.get("archived") else ["-archived"]
    details = _details(visit, id_)
    children = _children(visit, id_)
    page = task_page(visit, wanted)
    types = visit.call("tasks.get_types", {} if everything else {"projects": [id_]})
    return visit.render(
        "project.html",
        live=True,
        project=details,
        kind=kind_of(details),
        children=children,
        page=page,
        chosen=chosen,
        types=sorted(types.get("types") or []),
        order=query.get("order", "-updated"),
        tab="tasks",
    )


def project_models(visit: Visit) -> Response:
    """Show the models of a project."""
    id_ = visit.argument("project")
    wanted: Json = {"page": 0, "page_size": 200, "order_by": ["-last_update"], "only_fields": MODEL_FIELDS}
    details = _details(visit, id_)
    children = _children(visit, id_)
    found = visit.call("models.get_all_ex", wanted if id_ == "*" else wanted | {"project": [id_]})
    return visit.render(
        "project_models.html",
        project=details,
        kind=kind_of(details),
        children=children,
        models=found["models"],
        tab="models",
    )


def model(visit: Visit) -> Response:
    """Show one model."""
    found = visit.call("models.get_by_id", {"model": visit.argument("model")})["model"]
    details = _details(visit, found["project"]["id"]) if found["project"]["id"] else None
    task = None
    if found["task"]["id"]:
        query = {"id": [found["task"]["id"]], "only_fields": ["name", "status"], "search_hidden": True}
        task = next(iter(visit.call("tasks.get_all_ex", query)["tasks"]), None)
    return visit.render("model.html", model=found, project=details, task=task)


def order_by(key: str) -> str:
    """Return the API's sort key for one from the address; unknown ones fall back to the newest first."""
    name = ORDERS.get(key.removeprefix("-"))
    if name is None:
        return "-last_update"
    return f"-{name}" if key.startswith("-") else name


def _details(visit: Visit, id_: str) -> Json:
    if id_ == "*":
        return {"id": "*", "name": "All tasks", "system_tags": [], "description": ""}
    found: Json = visit.call("projects.get_by_id", {"project": id_})["project"]
    return found


def _children(visit: Visit, id_: str) -> list[Json]:
    if id_ == "*":
        return []
    query = {"parent": [id_], "shallow_search": True, "search_hidden": True, "only_fields": ["name", "system_tags"]}
    found: list[Json] = visit.call("projects.get_all_ex", query)["projects"]
    return sorted(found, key=lambda project: project["name"].lower())
