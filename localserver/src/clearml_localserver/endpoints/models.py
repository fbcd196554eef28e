"""Service `models`: finding, making and describing models, and handing them on."""

from __future__ import annotations

from typing import Any

from clearml_localserver import lifecycle
from clearml_localserver.bulk_actions import for_each
from clearml_localserver.errors import ApiError
from clearml_localserver.ids import new_id
from clearml_localserver.lifecycle import Actor
from clearml_localserver.lifecycle.models import delete_model
from clearml_localserver.query import by_id, find_all, find_all_ex, find_by_ids_ex, render
from clearml_localserver.registry import Call, Data, Reply, endpoint
from clearml_localserver.rules import metadata
from clearml_localserver.rules import models as rules
from clearml_localserver.rules.old_clients import understood
from clearml_localserver.rules.tasks import PUBLISHED, with_archived_tag
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables.models import frameworks_in_use, label_counts
from clearml_localserver.tags import CHANGE, retagged
from clearml_localserver.times import iso
from clearml_localserver.visibility import IDS
from clearml_localserver.visibility import make_private as to_private
from clearml_localserver.visibility import make_public as to_public

ANY = {"type": "object"}
TEXT, TEXTS, FLAG = {"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "boolean"}
DESCRIPTION = {
    **dict.fromkeys(("name", "uri", "comment", "framework", "project", "task", "parent"), TEXT),
    **dict.fromkeys(("tags", "system_tags"), TEXTS),
    **dict.fromkeys(("design", "metadata"), ANY),
    # A text instead of a number is refused by the rules, with another subcode.
    "labels": {"type": "object", "additionalProperties": {"type": ["integer", "string"]}},
    "ready": FLAG,
    "iteration": {"type": "integer"},
}
CREATE = {"type": "object", "required": ["uri", "name"], "properties": DESCRIPTION | {"public": FLAG}}
EDIT = {"type": "object", "required": ["model"], "properties": DESCRIPTION | {"model": TEXT}}
ITEM = {
    "type": "object",
    "required": ["key", "type", "value"],
    "properties": dict.fromkeys(("key", "type", "value"), TEXT),
}
METADATA = {
    "type": "object",
    "required": ["model", "metadata"],
    "properties": {
        "model": TEXT,
        "metadata": {"type": "array", "minItems": 1, "items": ITEM},
        "replace_metadata": FLAG,
    },
}

LAST_WITH_TASK_MODEL = (2, 13)
"""Newest API version in which a task has *the* model, without a name."""

TASK_MODEL = "Output Model"


# --- finding ----------------------------------------------------------------------------------------------------------


@endpoint("models.get_by_id")
def get_by_id(call: Call, tx: Tx) -> Data:
    """Return a model."""
    id = call.data["model"]
    model = tx.get("model", id)
    if model is None or model["company"] not in (call.company, ""):
        text = "Invalid model id (no such public or company model)"
        raise ApiError(400, 201, f"{text}: id={id}, company={call.company}")
    return {"model": render("model", model, call.version)}


@endpoint("models.get_by_id_ex", schema=ANY)
def get_by_id_ex(call: Call, tx: Tx) -> Data:
    """Return models by id, with references as objects."""
    return find_by_ids_ex(tx, "model", call).reply("models")


@endpoint("models.get_all")
def get_all(call: Call, tx: Tx) -> Data:
    """Find models."""
    return find_all(tx, "model", call).reply("models")


@endpoint("models.get_all_ex", schema=ANY, fields={"include_stats": FLAG})
def get_all_ex(call: Call, tx: Tx) -> Data:
    """Find models, with references as objects."""
    reply = find_all_ex(tx, "model", call).reply("models")
    if call.data.get("include_stats"):
        reply["models"] = list(reply["models"])
        _add_stats(tx, reply["models"])
    return reply


@endpoint("models.get_frameworks")
def get_frameworks(call: Call, tx: Tx) -> Data:
    """List the frameworks of models, in some projects or in all."""
    return {"frameworks": frameworks_in_use(tx, call.company, call.data.get("projects") or [])}


# --- making and describing --------------------------------------------------------------------------------------------


@endpoint("models.create", writes=True, schema=CREATE)
def create(call: Call, tx: Tx) -> Data:
    """Make a model."""
    if (project := call.data.get("project")) and tx.get("project", project) is None:
        raise ApiError(400, 12, f"Validation error (invalid project id): id={project}")
    if task := call.data.get("task"):
        by_id(tx, "task", task, call.company)
    public = {"company": "", "company_origin": call.company} if call.data.get("public") else {}
    model = rules.new_model(
        new_id(), understood(call.data, call.version), company=call.company, user=call.user, now=iso(call.now)
    )
    tx.put("model", model | public)
    return {"created": True, "id": model["id"]}


@endpoint("models.edit", writes=True, schema=EDIT)
def edit(call: Call, tx: Tx) -> Data:
    """Change what a model is, published or not."""
    model = _model(call, tx)
    lifecycle.require_references(tx, {"project": call.data.get("project")}, call.company)
    if (task := call.data.get("task")) and tx.get("task", task) is None:
        raise ApiError(400, 16, f"Invalid value for fields (expecting Task id): id={task}, field=task")
    return _change(call, tx, model, rules.EDITABLE, of_content=True)


@endpoint("models.update", writes=True, schema=EDIT)
def update(call: Call, tx: Tx) -> Data:
    """Change how a model is found."""
    return _change(call, tx, _model(call, tx), rules.UPDATABLE, of_content=False)


@endpoint("models.update_tags", writes=True, schema=CHANGE)
def update_tags(call: Call, tx: Tx) -> Data:
    """Add tags to models and remove others; the answer counts both as changes, as the genuine server does."""
    added, removed = call.data.get("add_tags") or [], call.data.get("remove_tags") or []
    models = [by_id(tx, "model", id, call.company) for id in dict.fromkeys(call.data["ids"])]
    for model in models:
        _store(call, tx, retagged(model, added, removed))
    return {"updated": len(models) * (bool(added) + bool(removed))}


@endpoint("models.move", writes=True)
def move(call: Call, tx: Tx) -> Data:
    """Move models to a project (made if it is named and missing); `project: null` takes them out of any."""
    target = None
    if project := call.data.get("project"):
        target = by_id(tx, "project", project, call.company)["id"]
    elif name := call.data.get("project_name"):
        target = lifecycle.ensure_project(tx, name, Actor.of(call))["id"]
    elif "project" not in call.raw:
        raise ApiError(400, 11, "Missing required fields: missing=(project, project_name)")
    for id in dict.fromkeys(call.data["ids"]):
        model = tx.get("model", id)
        if model is not None and model["company"] == call.company:
            model.pop("project", None)
            _store(call, tx, model | ({"project": target} if target else {}))
    return {"project_id": target}


@endpoint("models.add_or_update_metadata", writes=True, schema=METADATA, since="2.13")
def add_or_update_metadata(call: Call, tx: Tx) -> Data:
    """Set items of a model's metadata, or all of it."""
    model = _model(call, tx)
    replace = bool(call.data.get("replace_metadata"))
    items = metadata.merged(model["metadata"], call.data["metadata"], replace=replace)
    _store(call, tx, model | {"metadata": items, "last_update": iso(call.now)})
    return {"updated": 1}


@endpoint("models.delete_metadata", writes=True, since="2.13")
def delete_metadata(call: Call, tx: Tx) -> Data:
    """Remove items of a model's metadata; missing ones are fine."""
    model = _model(call, tx)
    kept = metadata.without(model["metadata"], call.data["keys"])
    _store(call, tx, model | {"metadata": kept, "last_update": iso(call.now)})
    return {"updated": 1}


# --- handing on -------------------------------------------------------------------------------------------------------


@endpoint("models.set_ready", writes=True)
def set_ready(call: Call, tx: Tx) -> Data:
    """Publish a model, and the task that made it unless told otherwise."""
    return _publish(call, tx, _model(call, tx), with_task=call.data.get("publish_task", True))


@endpoint("models.publish_many", writes=True)
def publish_many(call: Call, tx: Tx) -> Reply:
    """Publish models."""
    with_tasks = call.data.get("publish_tasks", True)
    return for_each(
        tx,
        call.data["ids"],
        lambda tx, id: _publish(call, tx, by_id(tx, "model", id, call.company), with_task=with_tasks),
    )


@endpoint("models.archive_many", writes=True)
def archive_many(call: Call, tx: Tx) -> Reply:
    """Tag models as archived."""
    return for_each(tx, call.data["ids"], lambda tx, id: {"archived": _archive(call, tx, id, archived=True)})


@endpoint("models.unarchive_many", writes=True)
def unarchive_many(call: Call, tx: Tx) -> Reply:
    """Unarchive models."""
    return for_each(tx, call.data["ids"], lambda tx, id: {"unarchived": _archive(call, tx, id, archived=False)})


@endpoint("models.delete", writes=True)
def delete(call: Call, tx: Tx) -> Data:
    """Delete a model; deleting its file is up to the client."""
    return _delete(call, tx, _model(call, tx))


@endpoint("models.delete_many", writes=True)
def delete_many(call: Call, tx: Tx) -> Reply:
    """Delete models."""
    return for_each(tx, call.data["ids"], lambda tx, id: _delete(call, tx, by_id(tx, "model", id, call.company)))


@endpoint("models.make_public", writes=True, schema=IDS, since="2.9")
def make_public(call: Call, tx: Tx) -> Data:
    """Show models to every company."""
    return to_public(tx, "model", call)


@endpoint("models.make_private", writes=True, schema=IDS, since="2.9")
def make_private(call: Call, tx: Tx) -> Data:
    """Make public models private to the company again."""
    return to_private(tx, "model", call)


# --- clients of before named models -----------------------------------------------------------------------------------


@endpoint("models.get_by_task_id", schema={"type": "object", "properties": {"task": TEXT}})
def get_by_task_id(call: Call, tx: Tx) -> Data:
    """Return the output model of a task."""
    _require_old_client(call, "use models.get_by_id/get_all apis")
    if not call.data.get("task"):
        raise ApiError(400, 11, "Missing required fields: missing=(task)")
    task = by_id(tx, "task", call.data["task"], call.company)
    model = _task_model(tx, task)
    if model is None:
        raise ApiError(400, 201, f"Invalid model id (task has no model): task={task['id']}")
    old_fields: Data = {"ui_cache": {}, "unique_metrics": []}
    return {"model": old_fields | render("model", model, call.version)}


@endpoint("models.update_for_task", writes=True)
def update_for_task(call: Call, tx: Tx) -> Data:
    """Record the output model of a task, or another file for it."""
    _require_old_client(call, "use tasks.add_or_update_model")
    rules.require_one_source(call.data)
    task = by_id(tx, "task", call.data["task"], call.company)
    if override := call.data.get("override_model_id"):
        model, created = by_id(tx, "model", override, call.company), False
    else:
        described = {
            "name": task["name"],
            "comment": f"Created by task `{task['name']}` ({task['id']})",
            **{name: task[name] for name in ("project",) if name in task},
            **call.data,
            "task": task["id"],
            "ready": False,
        }
        known = _task_model(tx, task)
        created = known is None
        model = known or rules.new_model(new_id(), described, company=call.company, user=call.user, now=iso(call.now))
        model |= rules.given(call.data, rules.UPDATABLE) | ({"labels": task["execution"].get("model_labels") or {}})
    _store(call, tx, model)
    entry = {"name": TASK_MODEL, "model": model["id"], "updated": iso(call.now)}
    others = [item for item in task["models"]["output"] if item["name"] != TASK_MODEL]
    task["models"]["output"] = [*others, entry]
    tx.put("task", task | {"last_iteration": max(task["last_iteration"], call.data.get("iteration") or 0)})
    return {"id": model["id"], "created": created}


def _add_stats(tx: Tx, models: list[Data]) -> None:
    """Add the figures that a list of models shows; `only_fields` need not name what they are made of."""
    counts = label_counts(tx, [model["id"] for model in models])
    for model in models:
        model["stats"] = {"labels_count": counts[model["id"]]}


def _require_old_client(call: Call, instead: str) -> None:
    if call.version > LAST_WITH_TASK_MODEL:
        raise ApiError(301, 1, f"This endpoint is no longer supported for the requested api version ({instead})")


def _task_model(tx: Tx, task: Document) -> Document | None:
    listed = [item["model"] for item in task["models"].get("output") or []]
    return tx.get("model", listed[-1]) if listed else None


# --- shared -----------------------------------------------------------------------------------------------------------


def _model(call: Call, tx: Tx) -> Document:
    return by_id(tx, "model", call.data["model"], call.company)


def _store(call: Call, tx: Tx, model: Document) -> None:
    tx.put("model", model | rules.changed({}, user=call.user, now=iso(call.now), of_content=False))


def _change(call: Call, tx: Tx, model: Document, names: tuple[str, ...], *, of_content: bool) -> Data:
    fields = rules.given(understood(call.data, call.version, model["system_tags"]), names)
    if iteration := call.data.get("iteration"):
        _raise_iteration(tx, call.data.get("task") or model.get("task"), iteration)
    if not fields:
        return {"updated": 0, "fields": {}}
    changed = rules.changed(fields, user=call.user, now=iso(call.now), of_content=of_content)
    tx.put("model", model | changed)
    return {"updated": 1, "fields": changed}


def _raise_iteration(tx: Tx, task_id: Any, iteration: int) -> None:
    task = tx.get("task", task_id) if task_id else None
    if task is not None and iteration > task["last_iteration"]:
        tx.put("task", task | {"last_iteration": iteration})


def _publish(call: Call, tx: Tx, model: Document, *, with_task: bool) -> Data:
    rules.require_draft(model, call.company)
    _store(call, tx, model | {"ready": True, "last_update": iso(call.now)})
    reply: Data = {"updated": 1, "fields": {}}
    task = tx.get("task", model["task"]) if with_task and model.get("task") else None
    if task is not None and task["status"] != PUBLISHED:
        force = bool(call.data.get("force_publish_task"))
        fields = lifecycle.change_status(tx, task, "publish", Actor.of(call), force=force)
        reply["published_task"] = {"id": task["id"], "data": {"updated": 1, "fields": fields}}
    return reply


def _archive(call: Call, tx: Tx, id: str, *, archived: bool) -> bool:
    model = by_id(tx, "model", id, call.company)
    _store(call, tx, model | {"system_tags": with_archived_tag(model["system_tags"], archived)})
    return True


def _delete(call: Call, tx: Tx, model: Document) -> Data:
    return {"deleted": True, "url": delete_model(tx, model, force=bool(call.data.get("force")))}
