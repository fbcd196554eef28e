"""Create tasks, from a request or as a clone of another task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.ids import new_id
from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.projects import ensure_project
from clearml_localserver.lifecycle.removal import DELETED
from clearml_localserver.rules import task_documents
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso


def new_task(tx: Tx, request: Mapping[str, Any], actor: Actor) -> Document:
    """Return (not store) the draft that `tasks.create` makes of `request`.

    Raises:
        ApiError: 400/12, 16 (unknown project or parent), 201 (unknown model) or 800 (name too short).
    """
    require_references(tx, request, actor.company)
    task = task_documents.empty_task(new_id(), actor.company, actor.stamp)
    return task | task_documents.edited(task, {**request, "runtime": None}, iso(actor.now))


def create_task(tx: Tx, request: Mapping[str, Any], actor: Actor) -> Document:
    """Make a draft of what `tasks.create` describes.

    Raises:
        ApiError: As `new_task`.
    """
    task = new_task(tx, request, actor)
    tx.put("task", task)
    return task


def clone_task(
    tx: Tx, source: Document, actor: Actor, request: Mapping[str, Any] | None = None
) -> tuple[Document, Document | None]:
    """Make a draft like `source`; return it, and the project if it was named by `new_project_name`.

    Args:
        tx: The transaction.
        source: The task to copy.
        actor: Who clones it.
        request: Overrides, named as in `tasks.clone` (`new_task_name`, `new_task_parent`, …).

    Raises:
        ApiError: 400/12, 16, 201 or 800, an override is not what it must be. With `validate_references` also 400/201
            for an input model of `source` that is gone.
    """
    request = dict(request or {})
    references = {
        "project": request.get("new_task_project"),
        "parent": request.get("new_task_parent"),
        "models": {"input": request.get("new_task_input_models")},
    }
    require_references(tx, references, actor.company)
    if request.get("validate_references") and request.get("new_task_input_models") is None:
        _require_models(tx, [item["model"] for item in source["models"].get("input") or []], actor.company)
    project = None
    if request.get("new_project_name") and not request.get("new_task_project"):
        project = ensure_project(tx, request["new_project_name"], actor)
        request["new_task_project"] = project["id"]
    task = task_documents.cloned(source, request, new_id(), actor.company, actor.stamp)
    tx.put("task", task)
    return task, project


def require_references(tx: Tx, request: Mapping[str, Any], company: str) -> None:
    """Refuse a request whose project, parent task or input models do not exist.

    Output models are not looked up: a task of another server names those that it has made there.

    Raises:
        ApiError: 400/16 or 400/201.
    """
    for field, kind in (("project", "project"), ("parent", "task")):
        id = request.get(field)
        if id and not id.startswith(DELETED) and _missing(tx, kind, id, company):
            raise ApiError(400, 16, f"Invalid value for fields (expecting {kind.title()} id): id={id}, field={field}")
    models = request.get("models") or {}
    if unknown := models.keys() - {"input", "output"}:
        raise validation_error(f"error for field 'models'. unknown field: {', '.join(sorted(unknown))}")
    ids = dict.fromkeys(item["model"] for item in models.get("input") or [])
    # An exported task that is imported again still names what is gone.
    _require_models(tx, [id for id in ids if not id.startswith(DELETED)], company)


def _require_models(tx: Tx, ids: Iterable[str], company: str) -> None:
    if nowhere := [id for id in ids if _missing(tx, "model", id, company)]:
        raise ApiError(400, 201, f"Invalid model id: models=({', '.join(nowhere)})")


def _missing(tx: Tx, kind: str, id: str, company: str) -> bool:
    document = tx.get(kind, id)
    return document is None or document.get("company") not in (company, "")
