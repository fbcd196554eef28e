"""Service `projects`: the tree of projects, made, renamed, moved, merged and deleted.

Finding them is in `projects_find`, looking up what their tasks and models hold in `projects_lookup`.
"""

from __future__ import annotations

from clearml_localserver.errors import validation_error
from clearml_localserver.lifecycle import Actor
from clearml_localserver.lifecycle import project_tree as tree
from clearml_localserver.lifecycle.projects import create_project
from clearml_localserver.query import by_id, render
from clearml_localserver.registry import Call, Data, Reply, Unfinished, endpoint
from clearml_localserver.rules import projects as rules
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso
from clearml_localserver.visibility import IDS, make_private, make_public


@endpoint("projects.create", writes=True)
def create(call: Call, tx: Tx) -> Data:
    """Make a project, and those above it."""
    fields = {name: call.data[name] for name in rules.EDITABLE if name in call.data and name != "name"}
    return {"id": create_project(tx, call.data["name"], fields, Actor.of(call))["id"]}


@endpoint("projects.get_by_id")
def get_by_id(call: Call, tx: Tx) -> Data:
    """Return a project, with the ids of those above it."""
    project = by_id(tx, "project", call.data["project"], call.company, public=True)
    return {"project": render("project", project, call.version) | {"path": tree.ancestors(tx, project)}}


@endpoint("projects.update", writes=True)
def update(call: Call, tx: Tx) -> Data:
    """Describe or rename a project; another place needs `projects.move`."""
    project = _project(call, tx)
    fields = {name: call.data[name] for name in rules.EDITABLE if name in call.data}
    if "name" in fields:
        project = tree.rename_project(tx, project, fields["name"], Actor.of(call))
        fields["name"] = project["name"]
    tx.put("project", project | fields | {"last_update": iso(call.now)})
    return {"updated": 1, "fields": fields}


@endpoint("projects.move", writes=True)
def move(call: Call, tx: Tx) -> Data:
    """Move a project below another one, given by its path."""
    if "new_location" not in call.data:
        raise validation_error("error for field 'new_location'. field is required!")
    return {"moved": tree.move_project(tx, _project(call, tx), call.data["new_location"], Actor.of(call))}


@endpoint("projects.merge", writes=True)
def merge(call: Call, tx: Tx) -> Data:
    """Move everything in a project to another one, and delete it."""
    source = _project(call, tx)
    target = call.data.get("destination_project")
    destination = by_id(tx, "project", target, call.company) if target else None
    entities, projects = tree.merge_projects(tx, source, destination, Actor.of(call))
    return {"moved_entities": entities, "moved_projects": projects}


@endpoint("projects.delete", writes=True)
def delete(call: Call, tx: Tx) -> Reply:
    """Delete a project and those below it."""
    done = tree.Deletion()
    force, contents = bool(call.data.get("force")), bool(call.data.get("delete_contents"))

    def go_on(tx: Tx) -> Reply:
        project = _project(call, tx)
        if not tree.delete_project(tx, project, Actor.of(call), done, force=force, delete_contents=contents):
            return Unfinished(go_on)
        return {
            "deleted": done.projects,
            "disassociated_tasks": done.disassociated_tasks,
            "deleted_models": done.models,
            "deleted_tasks": done.tasks,
            "urls": done.urls,
        }

    return go_on(tx)


@endpoint("projects.validate_delete")
def validate_delete(call: Call, tx: Tx) -> Data:
    """Count the contents of a project and its sub-projects; a dataset or a pipeline counts once, by its project."""
    ids = [project["id"] for project in tree.subtree(tx, _project(call, tx))]
    plain = tree.plain_projects(tx, ids)

    def both(name: str, kind: str, projects: list[str], report: bool | None = None) -> Data:
        return {
            name: tree.contents(tx, kind, projects, archived=True, report=report),
            f"non_archived_{name}": tree.contents(tx, kind, projects, archived=False, report=report),
        }

    return {
        "pipelines": tree.holders(tx, ids, "pipeline"),
        "datasets": tree.holders(tx, ids, "dataset"),
        **both("tasks", "task", plain, report=False),
        **both("models", "model", ids),
        **both("reports", "task", ids, report=True),
    }


@endpoint("projects.make_public", writes=True, schema=IDS, since="2.9")
def publish(call: Call, tx: Tx) -> Data:
    """Show projects to every company."""
    return make_public(tx, "project", call)


@endpoint("projects.make_private", writes=True, schema=IDS, since="2.9")
def unpublish(call: Call, tx: Tx) -> Data:
    """Make public projects private to the company again."""
    return make_private(tx, "project", call)


def _project(call: Call, tx: Tx) -> Document:
    return by_id(tx, "project", call.data["project"], call.company)
