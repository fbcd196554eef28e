"""Project paths: valid names, parents, and which renames and moves are allowed.

Pure. A project's `name` is its whole path (`Amazon reviews/.datasets/sample`); its `parent` is an id. Both are kept in
the document, so a rename or a move rewrites the names below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.rules.names import require_text

Project = dict[str, Any]

MIN_PART = 3
HIDDEN = "hidden"
EDITABLE = ("name", "description", "tags", "system_tags", "default_output_destination")
"""What `projects.create` and `projects.update` set."""


def tidy(name: str) -> str:
    """Return a name as a path: parts without spaces around them, empty parts dropped."""
    return "/".join(part for text in name.split("/") if (part := text.strip()))


def path_of(name: str) -> str:
    """Return the path that a name means.

    Raises:
        ApiError: 400/407 for no part at all, 400/12 for a part that is too short or holds a null character.
    """
    path = tidy(name)
    if not path:
        raise ApiError(400, 407, f"Invalid project name: name={name}")
    require_text(path)
    if any(len(part) < MIN_PART for part in path.split("/")):
        raise validation_error("Project name cannot be blank")
    return path


def parent_path(path: str) -> str:
    """Return the path of what lies above; nothing lies above a root."""
    return path.rpartition("/")[0]


def basename(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


def joined(location: str, name: str) -> str:
    """Return the path of `name` below `location` ("" is the top)."""
    return f"{location}/{name}" if location else name


def lies_in(path: str, other: str) -> bool:
    """Return whether `path` is `other` or lies below it."""
    return path == other or path.startswith(f"{other}/")


def new_project(
    id: str,
    path: str,
    parent: str | None,
    *,
    company: str,
    user: str,
    now: str,
    fields: Mapping[str, Any],
) -> Project:
    """Return the document of a new project; `fields` are what the client gave it."""
    project = {
        "id": id,
        "company": company,
        "user": user,
        "name": path,
        "basename": basename(path),
        "description": "",
        "created": now,
        "last_update": now,
        "tags": [],
        "system_tags": [],
        "featured": 9999,
        **fields,
    }
    return project | {"parent": parent} if parent else project


def placed(project: Project, path: str, parent: str | None, now: str) -> Project:
    """Return a project at another place."""
    there = project | {"name": path, "basename": basename(path), "last_update": now}
    there.pop("parent", None)
    return there | {"parent": parent} if parent else there


def renamed_below(descendants: Iterable[Project], old: str, new: str) -> list[Project]:
    """Return the projects below `old` with the names that they have below `new`."""
    return [project | {"name": new + project["name"][len(old) :]} for project in descendants]


def require_rename(project: Project, path: str) -> None:
    """Refuse a new name that would also be another place.

    Raises:
        ApiError: 400/408.
    """
    if parent_path(path) != parent_path(project["name"]):
        raise ApiError(400, 408, f"Cannot update project location. use projects.move instead: name={path}")


def require_move(project: Project, location: str) -> None:
    """Refuse to move a project below `location` (a path, "" the top) where it lies there already, or into itself.

    Raises:
        ApiError: 400/410 or 400/411.
    """
    if location == parent_path(project["name"]):
        raise ApiError(400, 410, f"Project has the same source and destination paths: location={location}")
    require_outside(project, location, location)


def require_outside(project: Project, destination: str, shown: str) -> None:
    """Refuse to put a project into itself or something below it; `shown` names the destination in the error.

    Raises:
        ApiError: 400/411.
    """
    if lies_in(destination, project["name"]):
        text = "Project can not be moved under itself in the projects hierarchy"
        raise ApiError(400, 411, f"{text}: project={project['id']}, parent={shown}")


def require_deletable(project_id: str, *, force: bool, tasks: int, models: int, datasets: int, pipelines: int) -> None:
    """Refuse to delete a project in which something is left that is not archived.

    Raises:
        ApiError: 400/402 for tasks, 400/405 for models, 400/406 for datasets, 400/413 for pipelines.
    """
    held = ((tasks, 402, "tasks"), (models, 405, "models"), (datasets, 406, "datasets"), (pipelines, 413, "pipelines"))
    for count, subcode, things in held:
        if count and not force:
            raise ApiError(400, subcode, f"Project has associated {things} (use force=true): id={project_id}")
