"""Reports: tasks of type `report`, kept in a hidden sub-project `.reports` of the project that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.lifecycle import Actor
from clearml_localserver.lifecycle.projects import create_project, find_project
from clearml_localserver.query import by_id, condition
from clearml_localserver.registry import Call
from clearml_localserver.rules import projects as rules
from clearml_localserver.rules.projects import HIDDEN
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables.projects import is_empty

TYPE = "report"
FOLDER = ".reports"
TAGS = [HIDDEN, "reports"]
ONLY_REPORTS = condition("task", {"type": [TYPE]})


def find_report(call: Call, tx: Tx) -> Document:
    """Return the report that a request names; what has its type is one.

    Raises:
        ApiError: 400/101, 403/21 for one made public, 400/150 for another task.
    """
    task = by_id(tx, "task", call.data["task"], call.company)
    if task["type"] != TYPE:
        raise ApiError(400, 150, f"Passed task is not report: id={task['id']}")
    return task


def folder_in(tx: Tx, path: str, actor: Actor) -> Document:
    """Return the project for the reports of the project at `path` ("" is the top); it is made where it is missing.

    Raises:
        ApiError: 400/12, a part of the path is too short.
    """
    if rules.basename(path) != FOLDER:
        path = rules.joined(path, FOLDER)
    found = find_project(tx, path)
    return found or create_project(tx, path, {"description": "Reports project", "system_tags": [*TAGS]}, actor)


def leave_folder(tx: Tx, project_id: str | None) -> None:
    """Remove a `.reports` project that the last report has left."""
    project = tx.get("project", project_id) if project_id else None
    if project is None or project["basename"] != FOLDER or not set(TAGS) <= set(project["system_tags"]):
        return
    if is_empty(tx, project["id"]):
        tx.delete("project", project["id"])


def query_of(tx: Tx, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query for reports as one for tasks: hidden ones too, and of a project what its folder holds."""
    query = {name: value for name, value in asked.items() if name != "type"} | {"search_hidden": True}
    if query.get("project"):
        given = query["project"] if isinstance(query["project"], list) else [query["project"]]
        query["project"] = [id for item in given for id in (item, *_folders(tx, item))]
    return query


def _folders(tx: Tx, item: Any) -> list[str]:
    """Return the folder of a project, as the filter's item names it ("-id" is all but this one)."""
    sign, id = ("-", item[1:]) if isinstance(item, str) and item.startswith("-") else ("", item)
    project = tx.get("project", id) if isinstance(id, str) else None
    folder = find_project(tx, rules.joined(project["name"], FOLDER)) if project else None
    return [sign + folder["id"]] if folder else []
