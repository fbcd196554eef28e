"""Delete models, and remove references to them."""

from __future__ import annotations

from clearml_localserver.errors import ApiError
from clearml_localserver.events.store import delete_task_events
from clearml_localserver.lifecycle.removal import DELETED
from clearml_localserver.rules.tasks import PUBLISHED
from clearml_localserver.store import Document, Tx


def delete_model(tx: Tx, model: Document, *, force: bool) -> str:
    """Delete a model with its events. Return where its file lies.

    Tasks that were given it and published tasks that made it remember its id; other tasks lose the entry.

    Raises:
        ApiError: 400/205, a task was given it; 400/206, a published task has made it (both without force).
    """
    id = model["id"]
    users = {type: _tasks_with(tx, type, id) for type in ("input", "output")}
    published = [task for task in users["output"] if task["status"] == PUBLISHED]
    if not force:
        _require_unused(model, users["input"], published)
    tasks = {task["id"]: task for listed in users.values() for task in listed}
    for task in tasks.values():
        models = task["models"]
        for entry in models.get("input") or []:
            _forget(entry, id)
        if task["status"] == PUBLISHED:
            for entry in models.get("output") or []:
                _forget(entry, id)
        else:
            models["output"] = [entry for entry in models.get("output") or [] if entry["model"] != id]
        tx.put("task", task)
    delete_task_events(tx, id)
    tx.delete("model", id)
    return str(model.get("uri") or "")


def _require_unused(model: Document, users: list[Document], published: list[Document]) -> None:
    if users:
        text = "Model is used by tasks (as execution model, use force=True to delete)"
        raise ApiError(400, 205, f"{text}: num_tasks={len(users)}")
    if published:
        text = "Task that created this model exists (and published, use force=True to delete)"
        raise ApiError(400, 206, f"{text}: task={published[0]['id']}")


def _forget(entry: Document, id: str) -> None:
    if entry["model"] == id:
        entry["model"] = f"{DELETED}{id}"


def _tasks_with(tx: Tx, type: str, model_id: str) -> list[Document]:
    """Return the tasks that list a model, from the table that triggers keep in step with the task documents."""
    sql = "SELECT doc FROM task WHERE id IN (SELECT task FROM task_model WHERE model = ? AND type = ?) ORDER BY rowid"
    return tx.docs(sql, (model_id, type))
