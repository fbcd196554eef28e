"""SQL over tasks."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import all_of, in_company, tagged
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import held_by


def types_in_use(tx: Tx, company: str, projects: list[str]) -> list[str]:
    """Return the types that tasks have, in some projects and below them or (without projects) everywhere."""
    where = all_of([in_company(company), *([held_by(projects)] if projects else [])])
    sql = f"SELECT DISTINCT json_extract(doc, '$.type') FROM task WHERE {where.sql} ORDER BY 1"
    return [type for (type,) in tx.rows(sql, where.args)]


def tagged_in(tx: Tx, company: str, project: str, tag: str) -> list[str]:
    """Return the ids of a company's tasks in a project that have a system tag."""
    has_tag = tagged(tag)
    sql = (
        "SELECT id FROM task WHERE json_extract(doc, '$.project') = ? AND json_extract(doc, '$.company') = ? "
        f"AND {has_tag.sql}"
    )
    return [id for (id,) in tx.rows(sql, (project, company, *has_tag.args))]


def run_figures(tx: Tx) -> tuple[Any, ...]:
    """Return number, mean duration and mean last iteration of the tasks that have been started."""
    ((count, duration, iteration),) = tx.rows(
        "SELECT count(*), avg(json_extract(doc, '$.active_duration')), avg(json_extract(doc, '$.last_iteration')) "
        "FROM task WHERE json_extract(doc, '$.started') IS NOT NULL"
    )
    return count, duration, iteration
