"""SQL over models."""

from __future__ import annotations

from collections.abc import Iterable

from clearml_localserver.query import all_of, in_company, listed
from clearml_localserver.store import Tx


def frameworks_in_use(tx: Tx, company: str, projects: list[str]) -> list[str]:
    """Return the frameworks of models, in some projects or (without projects) everywhere."""
    chosen = [listed("field_project", projects)] if projects else []
    where = all_of([in_company(company), *chosen])
    rows = tx.rows(
        "SELECT DISTINCT json_extract(doc, '$.framework') FROM model "
        f"WHERE {where.sql} AND json_extract(doc, '$.framework') <> '' ORDER BY 1",
        where.args,
    )
    return [framework for (framework,) in rows]


def label_counts(tx: Tx, models: Iterable[str]) -> dict[str, int]:
    """Return how many labels each of some models has."""
    chosen = listed("id", models)
    sql = f"SELECT id, (SELECT count(*) FROM json_each(doc, '$.labels')) FROM model WHERE {chosen.sql}"
    return dict(tx.rows(sql, chosen.args))
