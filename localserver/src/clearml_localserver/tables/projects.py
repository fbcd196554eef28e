"""SQL over the tree of projects, and figures of what projects hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from clearml_localserver.query import Clause, all_of, listed, stored, tagged, untagged
from clearml_localserver.store import Tx

_BELOW = "SELECT {}project.id FROM tree CROSS JOIN project ON json_extract(project.doc, '$.parent') = tree.id"
_ROOTS = (
    f"WITH RECURSIVE tree (root, id) AS (SELECT value, value FROM json_each(?) UNION {_BELOW.format('tree.root, ')})"
)
"""Each project of a list (`root`) with itself and all projects below it (`id`)."""

_PROJECT = "field_project"
"""A column of tasks and of models."""


def tree_of(projects: Iterable[str], *, with_children: bool = True) -> Clause:
    """Return the start of a statement: `tree (id)` lists these projects and all below them."""
    below = f" UNION {_BELOW.format('')}" if with_children else ""
    return Clause(f"WITH RECURSIVE tree (id) AS (SELECT value FROM json_each(?){below})", (json.dumps(list(projects)),))


def held_by(projects: Iterable[str], *, with_children: bool = True) -> Clause:
    """Return "belongs to one of these projects or, `with_children`, to one below"."""
    tree = tree_of(projects, with_children=with_children)
    return Clause(f"{_PROJECT} IN ({tree.sql} SELECT id FROM tree)", tree.args)


def holding(task_type: str, tag: str | None, project_tag: str) -> Clause:
    """Return "the project or one below it holds tasks of this type (and system tag), or has the tag itself"."""
    tasks = all_of([Clause("field_type = ?", (task_type,)), *([tagged("task", tag)] if tag else [])])
    projects = tagged("project", project_tag)
    return _above(
        Clause(
            f"SELECT {_PROJECT} FROM task WHERE {tasks.sql} UNION SELECT id FROM project WHERE {projects.sql}",
            tasks.args + projects.args,
        )
    )


def with_tasks_of(users: Iterable[str]) -> Clause:
    """Return "the project or one below it holds tasks of these users"."""
    theirs = made_by("task", users)
    return _above(Clause(f"SELECT {_PROJECT} FROM task WHERE {theirs.sql}", theirs.args))


def made_by(kind: str, users: Iterable[str]) -> Clause:
    """Return "is a document of this kind, made by one of these users"."""
    return listed(stored(kind, "user"), users)


def _above(start: Clause) -> Clause:
    """Return "is one of the projects that `start` selects, or lies above one"."""
    step = "SELECT json_extract(project.doc, '$.parent') FROM up CROSS JOIN project ON project.id = up.id"
    return Clause(f"id IN (WITH RECURSIVE up (id) AS ({start.sql} UNION {step}) SELECT id FROM up)", start.args)


def descendants(tx: Tx, projects: Iterable[str]) -> list[tuple[str, str]]:
    """Return the projects below each of some projects: pairs of ids, the upper one first."""
    rows = tx.rows(f"{_ROOTS} SELECT root, id FROM tree WHERE root <> id", (json.dumps(list(projects)),))
    return [(root, id) for root, id in rows]


def named_descendants(tx: Tx, projects: Iterable[str], *, without_tag: str | None) -> list[tuple[str, str, str]]:
    """Return upper project, id and name of the projects below some projects, by name.

    Args:
        tx: The transaction.
        projects: Ids of the upper projects.
        without_tag: System tag whose projects are left out.
    """
    shown = f"AND {untagged('project', without_tag)} " if without_tag else ""
    rows = tx.rows(
        f"{_ROOTS} SELECT tree.root, project.id, json_extract(doc, '$.name') "
        f"FROM tree JOIN project ON project.id = tree.id WHERE tree.root <> tree.id {shown}ORDER BY 3",
        (json.dumps(list(projects)),),
    )
    return [(root, id, name) for root, id, name in rows]


def task_figures(tx: Tx, projects: Iterable[str], users: Iterable[str], since: str) -> list[tuple[Any, ...]]:
    """Return figures of the active tasks of projects, for each project and status.

    Returns:
        Project, status, number of tasks, seconds of running, number of those that completed after `since`, last start.
    """
    chosen = listed(_PROJECT, projects)
    of_users = all_of([made_by("task", users)] if users else [])
    return tx.rows(
        "SELECT field_project, field_status, count(*), sum(field_run_s), sum(field_completed > ?), max(field_started) "
        f"FROM task INDEXED BY task_fields WHERE {chosen.sql} AND {untagged('task', 'archived')} AND {of_users.sql} "
        "GROUP BY 1, 2",
        (since, *chosen.args, *of_users.args),
    )


def task_counts(tx: Tx, projects: Iterable[str]) -> list[tuple[Any, ...]]:
    """Return project, status and number of the active tasks of projects, for each project and status."""
    chosen = listed(_PROJECT, projects)
    sql = "SELECT field_project, field_status, sum(count) FROM task_tally"
    return tx.rows(f"{sql} WHERE {chosen.sql} AND {untagged('task', 'archived')} GROUP BY 1, 2", chosen.args)


def active_counts(tx: Tx, kind: str, projects: Iterable[str]) -> dict[str, int]:
    """Return how many active tasks or models (`kind`) belong to each project; projects without any are left out."""
    chosen = listed(_PROJECT, projects)
    sql = f"SELECT {_PROJECT}, count(*) FROM {kind} WHERE {chosen.sql} AND {untagged(kind, 'archived')} GROUP BY 1"
    return dict(tx.rows(sql, chosen.args))


def newest_dataset_size(tx: Tx, project: str) -> tuple[int, int] | None:
    """Return number of files and bytes of the newest dataset version in a project; None where there is none."""
    dataset = tagged("task", "dataset")
    rows = tx.rows(
        "SELECT json_extract(doc, '$.runtime.ds_file_count'), json_extract(doc, '$.runtime.ds_total_size') FROM task "
        f"WHERE {_PROJECT} = ? AND {dataset.sql} AND {untagged('task', 'archived')} "
        "ORDER BY field_last_update DESC LIMIT 1",
        (project, *dataset.args),
    )
    return (rows[0][0] or 0, rows[0][1] or 0) if rows else None


def is_empty(tx: Tx, project: str) -> bool:
    """Return whether no task, model or project belongs to a project."""
    held = (("task", "project"), ("model", "project"), ("project", "parent"))
    return not any(
        tx.rows(f"SELECT 1 FROM {kind} WHERE {stored(kind, field)} = ? LIMIT 1", (project,)) for kind, field in held
    )
