"""Service `tasks`: finding, making and describing tasks.

Status changes are in `tasks_lifecycle`, archiving in `tasks_archive`; what a run is given and what it makes
(parameters, configuration, artifacts, models) in `tasks_content`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from clearml_localserver import lifecycle, tags, visibility
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.lifecycle import Actor
from clearml_localserver.query import by_id, find_all, find_all_ex, find_by_ids_ex, public_only, render
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import task_documents
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.names import MIN_NAME
from clearml_localserver.rules.old_clients import understood
from clearml_localserver.rules.tasks import Change, Fields
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables.tasks import types_in_use
from clearml_localserver.times import iso

STEPS = {"include_pipeline_steps": {"type": "boolean"}}
"""Field of calls that also mean the steps of a pipeline's run."""

BATCH = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["task"],
                "properties": {
                    "task": {"type": "string"},
                    "name": {"type": ["string", "null"]},
                    "comment": {"type": ["string", "null"]},
                    "project": {"type": ["string", "null"]},
                    "tags": {"anyOf": [tags.TEXTS, {"type": "null"}]},
                    "system_tags": {"anyOf": [tags.TEXTS, {"type": "null"}]},
                },
            },
        }
    },
}
RUNTIME = {
    "type": "object",
    "required": ["task", "runtime"],
    "properties": {"task": {"type": "string"}, "runtime": {"type": "object"}},
}


@endpoint("tasks.get_by_id")
def get_by_id(call: Call, tx: Tx) -> Data:
    """Return a task whole, whatever `only_fields` says."""
    (task,) = require_tasks(call, tx, [call.data["task"]], public=True)
    return {"task": render("task", task, call.version)}


@endpoint("tasks.get_by_id_ex", schema={"type": "object"})
def get_by_id_ex(call: Call, tx: Tx) -> Data:
    """Return tasks by id, with references as objects."""
    return find_by_ids_ex(tx, "task", call).reply("tasks")


@endpoint("tasks.get_all", differs="`search_text` works")
def get_all(call: Call, tx: Tx) -> Data:
    """Find tasks."""
    return find_all(tx, "task", call).reply("tasks")


@endpoint("tasks.get_all_ex", schema={"type": "object"}, differs="`search_text` works")
def get_all_ex(call: Call, tx: Tx) -> Data:
    """Find tasks, with references as objects."""
    return find_all_ex(tx, "task", call).reply("tasks")


@endpoint("tasks.get_types")
def get_types(call: Call, tx: Tx) -> Data:
    """List the types that tasks have, in some projects and what lies below them or in all."""
    return {"types": types_in_use(tx, call.company, call.data.get("projects") or [])}


@endpoint("tasks.create", writes=True)
def create(call: Call, tx: Tx) -> Data:
    """Make a draft."""
    return {"id": lifecycle.create_task(tx, understood(call.data, call.version), Actor.of(call))["id"]}


@endpoint("tasks.validate")
def validate(call: Call, tx: Tx) -> Data:
    """Return whether `tasks.create` would take this, without making anything."""
    # The genuine server looks at the length of a name only when it creates the task.
    lifecycle.new_task(tx, call.data | {"name": call.data["name"].ljust(MIN_NAME, "_")}, Actor.of(call))
    return {}


@endpoint("tasks.edit", writes=True, differs="`status` is refused (genuine: any string is stored)")
def edit(call: Call, tx: Tx) -> Data:
    """Change what a task is; by force in any status."""
    task = by_id(tx, "task", call.data["task"], call.company)
    rules.require_editable("edit", task, force=bool(call.data.get("force")))
    if "status" in call.data:
        raise validation_error(
            "status cannot be edited: use tasks.started, tasks.stopped, tasks.failed, tasks.completed"
        )
    lifecycle.require_references(tx, call.data, call.company)
    request = understood(call.data, call.version, task["system_tags"])
    fields = task_documents.edited(task, request, iso(call.now))
    return _changed(tx, task, fields, Actor.of(call).stamp.of_update())


@endpoint("tasks.edit_runtime", writes=True, schema=RUNTIME)
def edit_runtime(call: Call, tx: Tx) -> Data:
    """Merge runtime properties by key."""
    task = by_id(tx, "task", call.data["task"], call.company)
    fields = {"runtime": task["runtime"] | call.data["runtime"]} if call.data["runtime"] else {}
    return _changed(tx, task, fields, Actor.of(call).stamp.of_update())


@endpoint("tasks.update", writes=True)
def update(call: Call, tx: Tx) -> Data:
    """Change name, comment, tags or project in any status."""
    return _update(call, tx, by_id(tx, "task", call.data["task"], call.company), call.data)


@endpoint("tasks.update_batch", writes=True, json_lines=True, schema=BATCH)
def update_batch(call: Call, tx: Tx) -> Data:
    """Run `tasks.update` for every line of the body; one bad line and nothing is changed."""
    lines = call.data["lines"]
    tasks = {task["id"]: task for task in require_tasks(call, tx, [line["task"] for line in lines])}
    updated = {line["task"] for line in lines if _update(call, tx, tasks[line["task"]], line)["updated"]}
    return {"updated": len(updated)}


@endpoint("tasks.update_tags", writes=True, schema=tags.CHANGE)
def update_tags(call: Call, tx: Tx) -> Data:
    """Add tags to tasks and remove others; the answer counts both as changes, as the genuine server does."""
    added, removed = (call.data.get(name) or [] for name in ("add_tags", "remove_tags"))
    tasks = require_tasks(call, tx, call.data["ids"])
    for task in tasks:
        _store(tx, task, {"tags": tags.retagged(task, added, removed)["tags"]}, Actor.of(call).stamp.of_change())
    return {"updated": len(tasks) * (bool(added) + bool(removed))}


@endpoint("tasks.set_requirements", writes=True)
def set_requirements(call: Call, tx: Tx) -> Data:
    """Record the packages that a run needs or had."""
    task = by_id(tx, "task", call.data["task"], call.company)
    _store(tx, task, {"script.requirements": call.data["requirements"]}, Actor.of(call).stamp.of_update())
    return {"updated": 1, "fields": {}}


@endpoint("tasks.move", writes=True)
def move(call: Call, tx: Tx) -> Data:
    """Move tasks to a project (made if it is named and missing); `project: null` takes them out of any."""
    tasks = require_tasks(call, tx, call.data["ids"])
    fields: Fields = {}
    if project := call.data.get("project"):
        fields["project"] = by_id(tx, "project", project, call.company)["id"]
    elif name := call.data.get("project_name"):
        fields["project"] = lifecycle.ensure_project(tx, name, Actor.of(call))["id"]
    elif "project" not in call.raw:
        raise ApiError(400, 11, "Missing required fields: missing=(project, project_name)")
    removed = frozenset[str]() if fields else frozenset(("project",))
    for task in tasks:
        lifecycle.save(tx, task, Change(fields | Actor.of(call).stamp.of_change(), removed))
    return {"project_id": fields.get("project")}


@endpoint("tasks.make_public", writes=True, schema=visibility.IDS, since="2.9")
def make_public(call: Call, tx: Tx) -> Data:
    """Let every company read tasks; until they are private again they cannot be changed."""
    tasks = _all_of(tx, call.data["ids"], lambda task: task["company"] == call.company)
    for task in tasks:
        tx.put("task", task | {"company": "", "company_origin": call.company})
    return {"updated": len(tasks)}


@endpoint("tasks.make_private", writes=True, schema=visibility.IDS, since="2.9")
def make_private(call: Call, tx: Tx) -> Data:
    """Take back `tasks.make_public`."""
    found = _all_of(tx, call.data["ids"], lambda task: visibility.taken_back(task, call.company))
    for task in found:
        del task["company_origin"]
        tx.put("task", task | {"company": call.company})
    return {"updated": len(found)}


def require_tasks(call: Call, tx: Tx, ids: Iterable[str], *, public: bool = False) -> list[Document]:
    """Return tasks by id, each once.

    Raises:
        ApiError: 400/101, naming all that do not exist; 403/21, naming those made public unless `public` says that
            they are only read.
    """
    tasks = _all_of(tx, ids, lambda task: task["company"] in (call.company, ""))
    if not public and (guarded := [task["id"] for task in tasks if not task["company"]]):
        raise public_only("task", guarded)
    return tasks


def _all_of(tx: Tx, ids: Iterable[str], fits: Callable[[Document], bool]) -> list[Document]:
    """Return tasks by id, each once, if there are all of them and all of them fit."""
    wanted = dict.fromkeys(ids)
    tasks = [task for id in wanted if (task := tx.get("task", id)) and fits(task)]
    if len(tasks) < len(wanted):
        known = {task["id"] for task in tasks}
        missing = ", ".join(id for id in wanted if id not in known)
        raise ApiError(400, 101, f"Invalid task id: ids=({missing})")
    return tasks


def _update(call: Call, tx: Tx, task: Document, request: dict[str, Any]) -> Data:
    lifecycle.require_references(tx, {"project": request.get("project")}, call.company)
    request = understood(request, call.version, task["system_tags"])
    return _changed(tx, task, task_documents.updated(request), Actor.of(call).stamp.of_change())


def _changed(tx: Tx, task: Document, fields: Fields, stamp: Fields) -> Data:
    """Store changed fields with a stamp and answer them; nothing given is nothing done."""
    if not fields:
        return {"updated": 0, "fields": {}}
    return {"updated": 1, "fields": _store(tx, task, fields, stamp)}


def _store(tx: Tx, task: Document, fields: Fields, stamp: Fields) -> Fields:
    return lifecycle.save(tx, task, Change(fields | stamp))
