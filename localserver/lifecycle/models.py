"""Models in the store: deleted, taken out of what names them."""

from __future__ import annotations

from localserver.errors import ApiError
from localserver.events.store import delete_task_events
from localserver.lifecycle.removal import DELETED
from localserver.store import Document, Tx


def delete_model(tx: Tx, model: Document, *, force: bool) -> str:
    """Delete a model with its events; tasks that name it remember its id. Return where its file lies.

    Raises:
        ApiError: 400/205, a task was given it (without force).
    """
    id = model["id"]
    users = {type: _tasks_with(tx, type, id) for type in ("input", "output")}
    if users["input"] and not force:
        text = "Model is referenced as an input by tasks (use force=True to delete it)"
        raise ApiError(400, 205, f"{text}: id={id}, tasks={len(users['input'])}")
    for task_id in dict.fromkeys([*users["input"], *users["output"]]):
        task = tx.get("task", task_id)
        if task is not None:
            for type in users:
                for entry in task["models"].get(type) or []:
                    if entry["model"] == id:
                        entry["model"] = f"{DELETED}{id}"
            tx.put("task", task)
    delete_task_events(tx, id)
    tx.delete("model", id)
    return str(model.get("uri") or "")


def _tasks_with(tx: Tx, type: str, model_id: str) -> list[str]:
    """Return the tasks that list a model, from the table that triggers keep in step with the task documents."""
    return [id for (id,) in tx.rows("SELECT task FROM task_model WHERE model = ? AND type = ?", (model_id, type))]
