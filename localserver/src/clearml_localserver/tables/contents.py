"""SQL over what tasks and models hold: names and values for the lists that a user picks from.

`where` chooses the documents (see `projects.held_by`); a `pattern` is a client's regular expression, matched in any
case of letters.
"""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import Clause, all_of, in_company, stored
from clearml_localserver.query.clauses import TRUE
from clearml_localserver.query.kinds import KINDS
from clearml_localserver.query.select import READS_DOCUMENT
from clearml_localserver.query.task_texts import known_tags, task_texts
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import held_by
from clearml_localserver.timed_regex import check_pattern

NO_PROJECT = Clause("field_project IS NULL")
_VALUE = "json_extract(item.value, '$.value')"
_PARAMETERS = "json_each(chosen.doc, '$.hyperparams') AS section, json_each(section.value) AS item"
_METADATA = "json_each(chosen.doc, '$.metadata') AS item"


def reachable(company: str, projects: list[str], *, with_children: bool) -> Clause:
    """Return "is the company's or public, and belongs to these projects", where there are any."""
    within = [held_by(projects, with_children=with_children)] if projects else []
    return all_of([*within, in_company(company)])


def hyperparameters(tx: Tx, where: Clause, company: str) -> list[tuple[Any, ...]]:
    """Return section and name of the hyperparameters of tasks; `company` is the caller's."""
    if where == in_company(company) and (texts := task_texts(tx)) is not None:
        return [*texts.parameters(company)]
    return _held(tx, "task", f"SELECT DISTINCT section.key, item.key FROM chosen, {_PARAMETERS} ORDER BY 1, 2", where)


def hyperparameter_values(tx: Tx, where: Clause, section: str, name: str, pattern: Any) -> list[Any]:
    """Return the values that one hyperparameter has.

    Raises:
        ApiError: 400/21 for a malformed pattern.
    """
    found = f"SELECT DISTINCT {_VALUE} FROM chosen, {_PARAMETERS} WHERE section.key = ? AND item.key = ?"
    return _values(tx, "task", found, where, (section, name), pattern)


def metadata_keys(tx: Tx, where: Clause) -> list[str]:
    """Return the keys of models' metadata."""
    rows = _held(tx, "model", f"SELECT DISTINCT item.key FROM chosen, {_METADATA} ORDER BY 1", where)
    return [key for (key,) in rows]


def metadata_values(tx: Tx, where: Clause, key: str, pattern: Any) -> list[Any]:
    """Return the values that one key of models' metadata has.

    Raises:
        ApiError: 400/21 for a malformed pattern.
    """
    found = f"SELECT DISTINCT {_VALUE} FROM chosen, {_METADATA} WHERE item.key = ?"
    return _values(tx, "model", found, where, (key,), pattern)


def metric_variants(tx: Tx, kind: str, where: Clause) -> list[tuple[Any, ...]]:
    """Return metric, its hash, variant and its hash of the last values that tasks or models (`kind`) have."""
    return _held(
        tx,
        kind,
        "SELECT DISTINCT json_extract(variant.value, '$.metric'), metric.key, "
        "json_extract(variant.value, '$.variant'), variant.key FROM chosen, "
        "json_each(chosen.doc, '$.last_metrics') AS metric, json_each(metric.value) AS variant ORDER BY 1, 3",
        where,
    )


def parents(tx: Tx, where: Clause, archived: bool | None, pattern: Any) -> list[tuple[Any, ...]]:
    """Return id and name of the tasks that others are made from, and of their projects.

    Args:
        tx: The transaction.
        where: Chooses the others.
        archived: Whether the others are archived; None: either.
        pattern: What the names of the parents match.

    Raises:
        ApiError: 400/21 for a malformed pattern.
    """
    has_tag = "EXISTS (SELECT 1 FROM json_each(doc, '$.system_tags') WHERE value = 'archived')"
    state = [] if archived is None else [Clause(has_tag if archived else f"NOT {has_tag}")]
    matching = _matches("json_extract(parent.doc, '$.name')", pattern)
    return _held(
        tx,
        "task",
        "SELECT DISTINCT parent.id, json_extract(parent.doc, '$.name'), "
        "project.id, json_extract(project.doc, '$.name') "
        "FROM chosen CROSS JOIN task AS parent ON parent.id = json_extract(chosen.doc, '$.parent') "
        "LEFT JOIN project ON project.id = json_extract(parent.doc, '$.project') "
        f"WHERE {matching.sql} ORDER BY 2",
        all_of([where, *state]),
        matching.args,
    )


def users(tx: Tx, where: Clause) -> list[tuple[Any, ...]]:
    """Return id and name of the users of tasks."""
    return _held(
        tx,
        "task",
        "SELECT DISTINCT user.id, json_extract(user.doc, '$.name') FROM chosen "
        "CROSS JOIN user ON user.id = json_extract(chosen.doc, '$.user') ORDER BY 2",
        where,
    )


def tags(tx: Tx, kind: str, field: str, where: Clause) -> set[str]:
    """Return the tags in the list `field` of documents."""
    if (kind, field, where) == ("task", "tags", TRUE) and (known := known_tags(tx)) is not None:
        return known
    if field in KINDS[kind].columns:  # most lists are alike: each is taken apart once
        index = "" if READS_DOCUMENT.search(where.sql) else f" INDEXED BY {kind}_fields"
        chosen = f"SELECT DISTINCT {stored(kind, field)} AS tags FROM {kind}{index} WHERE {where.sql}"
        lists = "chosen.tags"
    else:
        chosen, lists = f"SELECT doc FROM {kind} WHERE {where.sql}", f"chosen.doc, '$.{field}'"
    # The alias keeps "doc" in the condition apart from the columns of the list that is read.
    sql = f"SELECT DISTINCT tag.value FROM ({chosen}) AS chosen, json_each({lists}) AS tag"
    return {tag for (tag,) in tx.rows(sql, where.args)}


def _values(tx: Tx, kind: str, sql: str, where: Clause, args: tuple[str, ...], pattern: Any) -> list[Any]:
    matching = _matches(_VALUE, pattern)
    rows = _held(tx, kind, f"{sql} AND {matching.sql} ORDER BY 1", where, (*args, *matching.args))
    return [value for (value,) in rows]


def _held(tx: Tx, kind: str, sql: str, where: Clause, args: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Run a statement on `chosen`, the documents of `kind` that fulfil `where`."""
    return tx.rows(f"WITH chosen AS (SELECT id, doc FROM {kind} WHERE {where.sql}) {sql}", (*where.args, *args))


def _matches(value: str, pattern: Any) -> Clause:
    """Return the condition that an SQL expression matches a client's pattern."""
    if not pattern:
        return all_of([])
    check_pattern(pattern)
    return Clause(f"{value} REGEXP ?", (f"(?i){pattern}",))
