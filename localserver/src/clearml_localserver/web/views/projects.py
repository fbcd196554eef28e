"""Projects: the tree, and the tasks and models of one."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from starlette.responses import Response

from clearml_localserver.web.conditions import OPERATORS
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.used import datasets_of
from clearml_localserver.web.views.bulk import BULK, MODELS
from clearml_localserver.web.views.endpoints import serving
from clearml_localserver.web.views.lists import PAGE_SIZE, Slice, count, find_tasks
from clearml_localserver.web.views.personal import preferences
from clearml_localserver.web.views.project_table import DENSE, settle, views_of
from clearml_localserver.web.views.table_query import read_rows, read_table, told_filters

PROJECT_FIELDS = ["name", "basename", "description", "system_tags", "tags", "created", "last_update", "parent"]
MAX_PROJECTS = 2000
MOST_SOURCES = 20
"""Dataset versions that the page of a model names."""

MODEL_FIELDS = ["name", "framework", "ready", "created", "last_update", "task.name", "uri", "tags", "project.name",
                "metadata"]  # fmt: skip


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
    query = {"search_hidden": True, "include_stats": True, "stats_counts_only": True, "page": 0,
             "page_size": MAX_PROJECTS, "only_fields": PROJECT_FIELDS}  # fmt: skip
    found = visit.call("projects.get_all_ex", query)["projects"]
    return visit.render("projects.html", roots=tree(found), count=len(found), limit=MAX_PROJECTS)


def project(visit: Visit) -> Response:
    """Show the tasks of a project, with the columns, filters, order and page that the address names."""
    if (settled := settle(visit)) is not None:
        return settled
    id_ = visit.argument("project")
    details = _details(visit, id_)
    table = read_table(visit, id_)
    rows = read_rows(visit, table)
    kept = preferences(visit)
    types = visit.call("tasks.get_types", {} if id_ == "*" else {"projects": [id_]})
    return visit.render(
        "project.html",
        code=400 if table.problems else 200,
        live=not table.problems,
        project=details,
        kind=kind_of(details),
        children=_children(visit, id_),
        above=_above(visit, details["name"]),
        table=table,
        rows=rows,
        told_filters=told_filters(visit, table),
        dense=kept["density"] == DENSE,
        views=views_of(visit, kept, id_),
        types=sorted(types["types"]),
        operators=OPERATORS,
        actions=BULK if visit.may_change else {},
        tab="tasks",
    )


SHOWN_METADATA, MAX_METADATA = 3, 20
"""Columns of metadata in a list of models whose address names none, and at most."""


def project_models(visit: Visit) -> Response:
    """Show the models of a project."""
    id_ = visit.argument("project")
    archived = visit.asked.switch("archived")
    wanted: Json = ({} if id_ == "*" else {"project": [id_]}) | {
        "system_tags": ["archived"] if archived else ["-archived"]
    }
    number = visit.asked.page()
    shown = {"page": number - 1, "page_size": PAGE_SIZE, "order_by": ["-last_update"], "only_fields": MODEL_FIELDS}
    found = visit.call("models.get_all_ex", wanted | shown)
    metadata = [{item["key"]: item["value"] for item in model["metadata"]} for model in found["models"]]
    known = Counter(key for values in metadata for key in values)
    details = _details(visit, id_)
    return visit.render(
        "project_models.html",
        project=details,
        kind=kind_of(details),
        children=_children(visit, id_),
        above=_above(visit, details["name"]),
        page=Slice(found["models"], number, count(visit, wanted, "models")),
        metadata=metadata,
        known=sorted(known),
        columns=visit.asked.several("meta", MAX_METADATA) or [key for key, _ in known.most_common(SHOWN_METADATA)],
        actions=MODELS if visit.may_change else {},
        archived=archived,
        section="/models" if id_ == "*" else "/projects",
        tab="models",
    )


def model(visit: Visit) -> Response:
    """Show one model."""
    found = visit.call("models.get_by_id", {"model": visit.argument("model")})["model"]
    details = _details(visit, found["project"]["id"]) if found["project"]["id"] else None
    task, sources, run = None, list[Json](), None
    if found["task"]["id"]:
        fields = ["name", "status", "parent", "runtime", "hyperparams.Datasets"]
        task = next(iter(find_tasks(visit, {"id": [found["task"]["id"]]}, size=1, fields=fields)), None)
        sources, run = _origin(visit, task) if task else ([], None)
    archived = "archived" in found["system_tags"]
    unfit = {"restore" if not archived else "archive", "tag", "move", *(["publish"] if found["ready"] else [])}
    actions = {name: action for name, action in MODELS.items() if name not in unfit} if visit.may_change else {}
    return visit.render(
        "model.html",
        model=found,
        project=details,
        task=task,
        sources=sources,
        run=run,
        actions=actions,
        served=serving(visit, found["id"]),
    )


def _origin(visit: Visit, task: Json) -> tuple[list[Json], Json | None]:
    """Return the dataset versions that a task has opened, and the run that it was a step of."""
    opened, parent = list(datasets_of(task))[:MOST_SOURCES], task["parent"]["id"]
    wanted = [*opened, *([parent] if parent else [])]
    fields = ["name", "status", "type", "system_tags", "runtime"]
    found = {row["id"]: row for row in find_tasks(visit, {"id": wanted}, fields=fields)} if wanted else {}
    run = found.get(parent)
    sources = [found[id_] for id_ in opened if id_ in found]
    return sources, run if run is not None and run["type"] == "controller" else None


def _details(visit: Visit, id_: str) -> Json:
    if id_ == "*":
        return {"id": "*", "name": "All tasks", "system_tags": [], "description": ""}
    found: Json = visit.call("projects.get_by_id", {"project": id_})["project"]
    return found


def _above(visit: Visit, name: str) -> list[tuple[str, str]]:
    """Return the projects around one, the outermost first: the last part of each name, and its id if there is one."""
    parts = name.split("/")[:-1]
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    if not names:
        return []
    pattern = f"^({'|'.join(map(re.escape, names))})$"
    query = {"name": pattern, "search_hidden": True, "only_fields": ["name"], "page": 0, "page_size": PAGE_SIZE}
    ids = {project["name"]: project["id"] for project in visit.call("projects.get_all_ex", query)["projects"]}
    return [(part, ids.get(name, "")) for part, name in zip(parts, names, strict=True)]


def _children(visit: Visit, id_: str) -> list[Json]:
    if id_ == "*":
        return []
    query = {"parent": [id_], "shallow_search": True, "search_hidden": True, "only_fields": ["name", "system_tags"]}
    found: list[Json] = visit.call("projects.get_all_ex", query)["projects"]
    return sorted(found, key=lambda project: project["name"].lower())
