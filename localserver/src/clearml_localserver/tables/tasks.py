"""SQL over tasks."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import all_of, in_company, tagged
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import held_by


def types_in_use(tx: Tx, company: str, projects: list[str]) -> list[str]:
    """Return the types that tasks have, in some projects and below them or (without projects) everywhere."""
    where = all_of([in_company(company), *([held_by(projects)] if projects else [])])
    # From one type to the next one by the index, not over all tasks; of each type the first task is looked for.
    sql = (
        "WITH RECURSIVE known (type) AS (SELECT min(field_type) FROM task UNION ALL "
        "SELECT (SELECT min(field_type) FROM task WHERE field_type > known.type) FROM known "
        "WHERE known.type IS NOT NULL) "
        "SELECT type FROM known WHERE type IS NOT NULL AND EXISTS "
        f"(SELECT 1 FROM task INDEXED BY task_type WHERE field_type = known.type AND {where.sql}) ORDER BY 1"
    )
    return [type for (type,) in tx.rows(sql, where.args)]


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
