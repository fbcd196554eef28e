"""Projects by their path: found, or made with all that lies above them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.ids import new_id
from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.rules import projects as rules
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso


def find_project(tx: Tx, path: str) -> Document | None:
    """Return the project of this path, if there is one."""
    found = tx.docs("SELECT doc FROM project WHERE json_extract(doc, '$.name') = ?", (path,))
    return found[0] if found else None


def ensure_project(tx: Tx, name: str, actor: Actor) -> Document:
    """Return the project of this path; make it and its missing ancestors if there is none.

    Raises:
        ApiError: 400/407 for an empty path, 400/12 for a part that is too short.
    """
    path = rules.path_of(name)
    return find_project(tx, path) or _new(tx, path, actor, {})


def create_project(tx: Tx, name: str, fields: Mapping[str, Any], actor: Actor) -> Document:
    """Make a project, and its missing ancestors.

    Raises:
        ApiError: As `ensure_project`, and 400/801 where there is one of this path already.
    """
    path = rules.path_of(name)
    if find_project(tx, path) is not None:
        raise ApiError(400, 801, f"Project with the same name already exists: name={path}, company={actor.company}")
    return _new(tx, path, actor, fields)


def _new(tx: Tx, path: str, actor: Actor, fields: Mapping[str, Any]) -> Document:
    above = rules.parent_path(path)
    parent = ensure_project(tx, above, actor)["id"] if above else None
    project = rules.new_project(
        new_id(), path, parent, company=actor.company, user=actor.user, now=iso(actor.now), fields=fields
    )
    tx.put("project", project)
    return project
