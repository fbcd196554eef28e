"""Projects in the store: renamed, moved, merged and deleted with all that lies below them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from clearml_localserver.errors import ApiError
from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.models import delete_model
from clearml_localserver.lifecycle.projects import ensure_project, find_project
from clearml_localserver.lifecycle.removal import delete_task
from clearml_localserver.query import stored, untagged
from clearml_localserver.rules import projects as rules
from clearml_localserver.rules.tasks import ARCHIVED, CONTROLLER
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso

AFTER_SLASH = "0"
"""The character after the slash: the names below `a` are those from `a/` up to (not including) `a0`."""

LISTED = "SELECT value FROM json_each(?)"
TAGGED = "EXISTS (SELECT 1 FROM json_each(doc, '$.system_tags') WHERE value = ?)"


def subtree(tx: Tx, project: Document) -> list[Document]:
    """Return a project and all below it, by name."""
    name = project["name"]
    return [project, *_below(tx, name)]


def ancestors(tx: Tx, project: Document) -> list[str]:
    """Return the ids of the projects above one, the topmost first."""
    way: list[str] = []
    while (parent := project.get("parent")) and (above := tx.get("project", parent)):
        way.insert(0, parent)
        project = above
    return way


def rename_project(tx: Tx, project: Document, name: str, actor: Actor) -> Document:
    """Give a project another last part of its name; return it.

    Raises:
        ApiError: 400/12 or 407 for a bad name, 400/408 for another place, 400/801 for a name that is taken.
    """
    path = rules.path_of(name)
    rules.require_rename(project, path)
    return _place(tx, project, path, project.get("parent"), actor)


def move_project(tx: Tx, project: Document, location: str, actor: Actor) -> int:
    """Move a project below the path `location` ("" is the top), which is made where it is missing.

    Return how many projects have moved: those below it move along.

    Raises:
        ApiError: 400/12 or 407 for a bad path, 400/410 where it is there already, 400/411 for a place inside of
            itself, 400/801 where its name is taken there.
    """
    path = rules.path_of(location) if location.strip(" /") else ""
    rules.require_move(project, path)
    parent = ensure_project(tx, path, actor)["id"] if path else None
    return len(subtree(tx, _place(tx, project, rules.joined(path, project["basename"]), parent, actor)))


def merge_projects(tx: Tx, source: Document, destination: Document | None, actor: Actor) -> tuple[int, int]:
    """Hand all that a project holds to another one (None: the top) and delete it; return tasks and models, projects.

    Raises:
        ApiError: 400/410 for a project with itself, 400/411 for a place inside of the source, 400/801 where a name is
            taken.
    """
    if destination is not None:
        if destination["id"] == source["id"]:
            text = "Project has the same source and destination paths"
            raise ApiError(400, 410, f"{text}: source={source['id']}")
        rules.require_outside(source, destination["name"], destination["id"])
    location, parent = (destination["name"], destination["id"]) if destination else ("", None)
    children = tx.docs("SELECT doc FROM project WHERE json_extract(doc, '$.parent') = ?", (source["id"],))
    # A child may be called like the source: its name is free once the source is gone.
    tx.delete("project", source["id"])
    for child in children:
        _place(tx, child, rules.joined(location, child["basename"]), parent, actor)
    return reassign(tx, [source["id"]], parent, actor), len(children)


def reassign(tx: Tx, projects: list[str], project: str | None, actor: Actor) -> int:
    """Give tasks and models of `projects` to another project, or to none; return how many."""
    stamp = (iso(actor.now), actor.user)
    return sum(_reassign(tx, kind, projects, project, stamp) for kind in ("task", "model"))


@dataclass
class Deletion:
    """What the deletion of a project has done."""

    projects: int = 0
    disassociated_tasks: int = 0
    tasks: int = 0
    models: int = 0
    urls: dict[str, list[str]] | None = field(default=None)


def delete_project(
    tx: Tx, project: Document, actor: Actor, done: Deletion, *, force: bool, delete_contents: bool
) -> bool:
    """Delete a project and those below it; its tasks and models go too, or belong to no project any more.

    Args:
        tx: The transaction.
        project: The topmost project.
        actor: Who deletes.
        done: Called with what has been deleted.
        force: Whether it may hold what is not archived.
        delete_contents: Whether tasks and models go too (with `force` only).

    Returns:
        Whether all of it is done; else this is to be called again in another transaction.

    Raises:
        ApiError: 400/402, 405, 406 or 413, it holds what is not archived (without force).
    """
    ids = [item["id"] for item in subtree(tx, project)]
    rules.require_deletable(
        project["id"],
        force=force,
        tasks=contents(tx, "task", plain_projects(tx, ids), archived=False),
        models=contents(tx, "model", ids, archived=False),
        datasets=holders(tx, ids, "dataset"),
        pipelines=holders(tx, ids, "pipeline"),
    )
    if delete_contents and force:
        if not _delete_contents(tx, ids, actor, done):
            return False
    else:
        stamp = (iso(actor.now), actor.user)
        done.disassociated_tasks = _reassign(tx, "task", ids, None, stamp)
        _reassign(tx, "model", ids, None, stamp)
    for id in ids:
        tx.delete("project", id)
    done.projects = len(ids)
    return True


def contents(tx: Tx, kind: str, projects: list[str], *, archived: bool, report: bool | None = None) -> int:
    """Count the tasks or models in projects.

    Args:
        tx: The transaction.
        kind: "task" or "model".
        projects: Where to look; what lies below them is not looked at.
        archived: Whether archived ones count.
        report: Whether only reports count (True) or all but reports (False).
    """
    sql = f"SELECT count(*) FROM {kind} WHERE field_project IN ({LISTED})"
    if not archived:
        sql += f" AND {untagged(kind, ARCHIVED)}"
    if report is not None:
        sql += f" AND {stored(kind, 'type')} {'=' if report else '<>'} 'report'"
    return int(tx.rows(sql, (json.dumps(projects),))[0][0])


def holders(tx: Tx, projects: list[str], tag: str) -> int:
    """Count the projects that the SDK made for a dataset or a pipeline (`tag`) and that still hold one.

    A step without its pipeline's controller does not count, nor does a file in a dataset's project.
    """
    sql = (
        f"SELECT count(*) FROM project WHERE id IN ({LISTED}) AND {TAGGED} AND EXISTS (SELECT 1 FROM task "
        f"WHERE task.field_project = project.id AND {untagged('task', ARCHIVED, of='task')} "
        f"AND {TAGGED.replace('doc', 'task.doc', 1)} AND (? <> 'pipeline' OR task.field_type = ?))"
    )
    return int(tx.rows(sql, (json.dumps(projects), tag, tag, tag, CONTROLLER))[0][0])


def plain_projects(tx: Tx, projects: list[str]) -> list[str]:
    """Return the projects that were not made by the SDK for a dataset or a pipeline."""
    sql = f"SELECT id FROM project WHERE id IN ({LISTED}) AND NOT {TAGGED} AND NOT {TAGGED}"
    return [id for (id,) in tx.rows(sql, (json.dumps(projects), "dataset", "pipeline"))]


def _delete_contents(tx: Tx, projects: list[str], actor: Actor, done: Deletion) -> bool:
    """Delete tasks and models for the length of a turn; return whether none is left."""
    done.urls = done.urls or {"model_urls": [], "artifact_urls": [], "event_urls": []}
    for id in _ids(tx, "task", projects):
        task = tx.get("task", id)
        if task is None:
            continue
        removal = delete_task(tx, task, actor, force=True, urls=True)
        done.tasks += 1
        done.models += removal.deleted_models
        for name, urls in removal.urls.items():
            done.urls[name] += urls
        if tx.turn_is_over:
            return False
    for id in _ids(tx, "model", projects):
        model = tx.get("model", id)
        if model is not None:
            done.urls["model_urls"] += [url] if (url := delete_model(tx, model, force=True)) else []
            done.models += 1
        if tx.turn_is_over:
            return False
    return True


def _place(tx: Tx, project: Document, path: str, parent: str | None, actor: Actor) -> Document:
    if path == project["name"]:
        return project
    if find_project(tx, path) is not None:
        text = "Value combination already exists (unique field already contains this value)"
        raise ApiError(400, 801, f"{text}: name={path}, company={actor.company}")
    old = project["name"]
    below = _below(tx, old)
    there = rules.placed(project, path, parent, iso(actor.now))
    for item in (there, *rules.renamed_below(below, old, path)):
        tx.put("project", item)
    return there


def _below(tx: Tx, name: str) -> list[Document]:
    sql = (
        "SELECT doc FROM project WHERE json_extract(doc, '$.name') >= ? AND json_extract(doc, '$.name') < ? "
        "ORDER BY json_extract(doc, '$.name')"
    )
    return tx.docs(sql, (f"{name}/", f"{name}{AFTER_SLASH}"))


def _reassign(tx: Tx, kind: str, projects: list[str], project: str | None, stamp: tuple[str, str]) -> int:
    change = "json_set(doc, '$.project', ?)" if project else "json_remove(doc, '$.project')"
    return tx.execute(
        f"UPDATE {kind} SET doc = json_set({change}, '$.last_change', ?, '$.last_changed_by', ?) "
        f"WHERE field_project IN ({LISTED})",
        [*([project] if project else []), *stamp, json.dumps(projects)],
    )


def _ids(tx: Tx, kind: str, projects: list[str]) -> list[str]:
    sql = f"SELECT id FROM {kind} WHERE field_project IN ({LISTED}) ORDER BY rowid"
    return [id for (id,) in tx.rows(sql, (json.dumps(projects),))]
