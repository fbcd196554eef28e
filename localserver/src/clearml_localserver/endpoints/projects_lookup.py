"""Service `projects`: what the tasks and models of projects hold, for the lists that a user picks from."""

from __future__ import annotations

import json
from typing import Any

from clearml_localserver.query import Clause, all_of
from clearml_localserver.query.compiler import paging
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.store import Tx
from clearml_localserver.tags import tags_in_use
from clearml_localserver.timed_regex import check_pattern

ANY = {"type": "object"}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
IN_PROJECTS = {"project": TEXT, "projects": TEXTS, "include_subprojects": {"type": "boolean"}}
ARCHIVED = "EXISTS (SELECT 1 FROM json_each(doc, '$.system_tags') WHERE value = 'archived')"
VALUE = "json_extract(item.value, '$.value')"
NO_PROJECT = Clause("json_extract(doc, '$.project') IS NULL")
STATES = {"active": f"NOT {ARCHIVED}", "archived": ARCHIVED}


@endpoint("projects.get_task_tags", since="2.8", fields=IN_PROJECTS)
def get_task_tags(call: Call, tx: Tx) -> Data:
    """List the tags of tasks."""
    return tags_in_use(tx, ["task"], call.data, _in_projects(call))


@endpoint("projects.get_model_tags", since="2.8", fields=IN_PROJECTS)
def get_model_tags(call: Call, tx: Tx) -> Data:
    """List the tags of models."""
    return tags_in_use(tx, ["model"], call.data, _in_projects(call))


@endpoint("projects.get_project_tags")
def get_project_tags(call: Call, tx: Tx) -> Data:
    """List the tags of projects."""
    projects = call.data.get("projects")
    where = Clause("id IN (SELECT value FROM json_each(?))", (json.dumps(projects),)) if projects else None
    return tags_in_use(tx, ["project"], call.data, where)


@endpoint("projects.get_hyper_parameters", schema=ANY, since="2.9", fields=IN_PROJECTS)
def get_hyper_parameters(call: Call, tx: Tx) -> Data:
    """List the names of hyperparameters."""
    rows = _held(
        tx,
        "task",
        "SELECT DISTINCT section.key, item.key FROM chosen, json_each(chosen.doc, '$.hyperparams') AS section, "
        "json_each(section.value) AS item ORDER BY 1, 2",
        _in_projects(call),
    )
    return _paged(call, "parameters", [{"section": section, "name": name} for section, name in rows])


@endpoint("projects.get_hyperparam_values", since="2.13", fields=IN_PROJECTS | {"pattern": TEXT})
def get_hyperparam_values(call: Call, tx: Tx) -> Data:
    """List the values that one hyperparameter has."""
    matching = _matches(VALUE, call.data.get("pattern"))
    rows = _held(
        tx,
        "task",
        f"SELECT DISTINCT {VALUE} FROM chosen, "
        "json_each(chosen.doc, '$.hyperparams') AS section, json_each(section.value) AS item "
        f"WHERE section.key = ? AND item.key = ? AND {matching.sql} ORDER BY 1",
        _in_projects(call),
        call.data["section"],
        call.data["name"],
        *matching.args,
    )
    return _values(call, rows)


@endpoint("projects.get_model_metadata_keys", schema=ANY, fields=IN_PROJECTS)
def get_model_metadata_keys(call: Call, tx: Tx) -> Data:
    """List the keys of models' metadata; without projects and what lies below them, of the models of no project."""
    everywhere = call.data.get("projects") or call.data.get("include_subprojects", True)
    rows = _held(
        tx,
        "model",
        "SELECT DISTINCT item.key FROM chosen, json_each(chosen.doc, '$.metadata') AS item ORDER BY 1",
        all_of([_in_projects(call), *([] if everywhere else [NO_PROJECT])]),
    )
    return _paged(call, "keys", [key for (key,) in rows])


@endpoint("projects.get_model_metadata_values", fields=IN_PROJECTS | {"pattern": TEXT})
def get_model_metadata_values(call: Call, tx: Tx) -> Data:
    """List the values that one key of models' metadata has."""
    matching = _matches(VALUE, call.data.get("pattern"))
    rows = _held(
        tx,
        "model",
        f"SELECT DISTINCT {VALUE} FROM chosen, json_each(chosen.doc, '$.metadata') AS item "
        f"WHERE item.key = ? AND {matching.sql} ORDER BY 1",
        _in_projects(call),
        call.data["key"],
        *matching.args,
    )
    return _values(call, rows)


@endpoint(
    "projects.get_unique_metric_variants", fields=IN_PROJECTS | {"ids": TEXTS, "model_metrics": {"type": "boolean"}}
)
def get_unique_metric_variants(call: Call, tx: Tx) -> Data:
    """List the metrics that tasks (or models) have last values of."""
    ids = call.data.get("ids")
    chosen = Clause("id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)) if ids else _in_projects(call)
    rows = _held(
        tx,
        "model" if call.data.get("model_metrics") else "task",
        "SELECT DISTINCT json_extract(variant.value, '$.metric'), metric.key, "
        "json_extract(variant.value, '$.variant'), variant.key FROM chosen, "
        "json_each(chosen.doc, '$.last_metrics') AS metric, json_each(metric.value) AS variant ORDER BY 1, 3",
        chosen,
    )
    names = ("metric", "metric_hash", "variant", "variant_hash")
    return {"metrics": [dict(zip(names, row, strict=True)) for row in rows]}


@endpoint("projects.get_task_parents", since="2.12", fields=IN_PROJECTS | {"task_name": TEXT})
def get_task_parents(call: Call, tx: Tx) -> Data:
    """List the tasks that others are made from, with their projects."""
    state = call.data.get("tasks_state")
    matching = _matches("json_extract(parent.doc, '$.name')", call.data.get("task_name"))
    rows = _held(
        tx,
        "task",
        "SELECT DISTINCT parent.id, json_extract(parent.doc, '$.name'), "
        "project.id, json_extract(project.doc, '$.name') "
        "FROM chosen CROSS JOIN task AS parent ON parent.id = json_extract(chosen.doc, '$.parent') "
        "LEFT JOIN project ON project.id = json_extract(parent.doc, '$.project') "
        f"WHERE {matching.sql} ORDER BY 2",
        all_of([_in_projects(call), *([Clause(STATES[state])] if state else [])]),
        *matching.args,
    )
    return {"parents": [_parent(*row) for row in rows]}


@endpoint("projects.get_user_names", schema=ANY, fields=IN_PROJECTS)
def get_user_names(call: Call, tx: Tx) -> Data:
    """List the users who have tasks in projects."""
    rows = _held(
        tx,
        "task",
        "SELECT DISTINCT user.id, json_extract(user.doc, '$.name') FROM chosen "
        "CROSS JOIN user ON user.id = json_extract(chosen.doc, '$.user') ORDER BY 2",
        _in_projects(call),
    )
    return {"users": [{"id": id, "name": name} for id, name in rows]}


def _in_projects(call: Call) -> Clause:
    """Return the condition that the request's projects make, with those below them unless it says no."""
    company = Clause("json_extract(doc, '$.company') IN (?, '')", (call.company,))
    projects = call.data.get("projects") or [id for id in [call.data.get("project")] if id]
    if not projects:
        return company
    below = (
        "UNION SELECT project.id FROM tree CROSS JOIN project ON json_extract(project.doc, '$.parent') = tree.id"
        if call.data.get("include_subprojects", True)
        else ""
    )
    tree = f"WITH RECURSIVE tree (id) AS (SELECT value FROM json_each(?) {below}) SELECT id FROM tree"
    return all_of([Clause(f"json_extract(doc, '$.project') IN ({tree})", (json.dumps(projects),)), company])


def _held(tx: Tx, kind: str, sql: str, where: Clause, *args: Any) -> list[tuple[Any, ...]]:
    """Run a statement on `chosen`, the documents of `kind` that fulfil `where`."""
    return tx.rows(f"WITH chosen AS (SELECT id, doc FROM {kind} WHERE {where.sql}) {sql}", (*where.args, *args))


def _paged(call: Call, name: str, items: list[Any]) -> Data:
    limit, offset = paging(call.data)
    page = items[offset:] if limit is None else items[offset : offset + limit]
    # "total" is the length of the page on the genuine server too; what is left is told by "remaining".
    return {"total": len(page), "remaining": max(0, len(items) - offset - len(page)), name: page}


def _values(call: Call, rows: list[tuple[Any, ...]]) -> Data:
    found = [value for (value,) in rows]
    limit, offset = paging(call.data)
    return {"total": len(found), "values": found if limit is None else found[offset : offset + limit]}


def _matches(value: str, pattern: Any) -> Clause:
    """Return the condition that an SQL expression matches a client's pattern in any case of letters."""
    if not pattern:
        return all_of([])
    check_pattern(pattern)
    return Clause(f"{value} REGEXP ?", (f"(?i){pattern}",))


def _parent(id: str, name: str, project: str | None, project_name: str | None) -> Data:
    return {"id": id, "name": name} | ({"project": {"id": project, "name": project_name}} if project else {})
