"""SQL over tasks."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import all_of, tagged
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import held_by


def types_in_use(tx: Tx, company: str, projects: list[str]) -> list[str]:
    """Return the types that tasks have, in some projects and below them or (without projects) everywhere."""
    inside = held_by(projects) if projects else all_of([])
    sql = f"SELECT DISTINCT field_type FROM task_tally WHERE field_company IN (?, '') AND {inside.sql} ORDER BY 1"
    return [type for (type,) in tx.rows(sql, (company, *inside.args)) if type is not None]


def tagged_in(tx: Tx, company: str, project: str, tag: str) -> list[str]:
    """Return the ids of a company's tasks in a project that have a system tag."""
    has_tag = tagged("task", tag)
    sql = f"SELECT id FROM task WHERE field_project = ? AND field_company = ? AND {has_tag.sql}"
    return [id for (id,) in tx.rows(sql, (project, company, *has_tag.args))]


def run_figures(tx: Tx) -> tuple[Any, ...]:
    """Return number, mean duration and mean last iteration of the tasks that have been started."""
    ((count, duration, iteration),) = tx.rows(
        "SELECT count(*), avg(json_extract(doc, '$.active_duration')), avg(json_extract(doc, '$.last_iteration')) "
        "FROM task WHERE field_started IS NOT NULL"
    )
    return count, duration, iteration
