"""Projects as tasks need them: found by their path, or made with all that lies above them."""

from __future__ import annotations

from localserver.errors import ApiError, validation_error
from localserver.ids import new_id
from localserver.lifecycle.actor import Actor
from localserver.store import Document, Tx
from localserver.times import iso

MIN_PART = 3


def ensure_project(tx: Tx, name: str, actor: Actor) -> Document:
    """Return the project of this path; make it and its missing ancestors if there is none.

    Raises:
        ApiError: 400/407 for an empty path, 400/12 for a part that is too short.
    """
    parts = [part for text in name.split("/") if (part := text.strip())]
    if not parts:
        raise ApiError(400, 407, f"Invalid project name: name={name}")
    if any(len(part) < MIN_PART for part in parts):
        raise validation_error("Project name cannot be blank")
    parent: Document | None = None
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth])
        found = tx.docs("SELECT doc FROM project WHERE json_extract(doc, '$.name') = ?", (path,))
        parent = found[0] if found else _new(tx, path, parent, actor)
    assert parent is not None  # noqa: S101  parts is not empty
    return parent


def _new(tx: Tx, path: str, parent: Document | None, actor: Actor) -> Document:
    now = iso(actor.now)
    project = {
        "id": new_id(),
        "company": actor.company,
        "user": actor.user,
        "name": path,
        "basename": path.rpartition("/")[2],
        "description": "",
        "created": now,
        "last_update": now,
        "tags": [],
        "system_tags": [],
        "featured": 9999,
    }
    if parent is not None:
        project["parent"] = parent["id"]
    tx.put("project", project)
    return project
