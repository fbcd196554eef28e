"""Service `projects`: what the tasks and models of projects hold, for the lists that a user picks from."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import Clause, all_of, listed
from clearml_localserver.query.compiler import paging
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.store import Tx
from clearml_localserver.tables import contents
from clearml_localserver.tags import tags_in_use

ANY = {"type": "object"}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
IN_PROJECTS = {"project": TEXT, "projects": TEXTS, "include_subprojects": {"type": "boolean"}}
STATES = {"active": False, "archived": True}


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
    return tags_in_use(tx, ["project"], call.data, listed("id", projects) if projects else None)


@endpoint("projects.get_hyper_parameters", schema=ANY, since="2.9", fields=IN_PROJECTS)
def get_hyper_parameters(call: Call, tx: Tx) -> Data:
    """List the names of hyperparameters."""
    rows = contents.hyperparameters(tx, _in_projects(call), call.company)
    return _paged(call, "parameters", [{"section": section, "name": name} for section, name in rows])


@endpoint("projects.get_hyperparam_values", since="2.13", fields=IN_PROJECTS | {"pattern": TEXT})
def get_hyperparam_values(call: Call, tx: Tx) -> Data:
    """List the values that one hyperparameter has."""
    section, name, pattern = call.data["section"], call.data["name"], call.data.get("pattern")
    return _values(call, contents.hyperparameter_values(tx, _in_projects(call), section, name, pattern))


@endpoint("projects.get_model_metadata_keys", schema=ANY, fields=IN_PROJECTS)
def get_model_metadata_keys(call: Call, tx: Tx) -> Data:
    """List the keys of models' metadata; without projects and what lies below them, of the models of no project."""
    everywhere = call.data.get("projects") or call.data.get("include_subprojects", True)
    where = all_of([_in_projects(call), *([] if everywhere else [contents.NO_PROJECT])])
    return _paged(call, "keys", contents.metadata_keys(tx, where))


@endpoint("projects.get_model_metadata_values", fields=IN_PROJECTS | {"pattern": TEXT})
def get_model_metadata_values(call: Call, tx: Tx) -> Data:
    """List the values that one key of models' metadata has."""
    key, pattern = call.data["key"], call.data.get("pattern")
    return _values(call, contents.metadata_values(tx, _in_projects(call), key, pattern))


@endpoint(
    "projects.get_unique_metric_variants", fields=IN_PROJECTS | {"ids": TEXTS, "model_metrics": {"type": "boolean"}}
)
def get_unique_metric_variants(call: Call, tx: Tx) -> Data:
    """List the metrics that tasks (or models) have last values of."""
    ids = call.data.get("ids")
    kind = "model" if call.data.get("model_metrics") else "task"
    rows = contents.metric_variants(tx, kind, listed("id", ids) if ids else _in_projects(call))
    names = ("metric", "metric_hash", "variant", "variant_hash")
    return {"metrics": [dict(zip(names, row, strict=True)) for row in rows]}


@endpoint("projects.get_task_parents", since="2.12", fields=IN_PROJECTS | {"task_name": TEXT})
def get_task_parents(call: Call, tx: Tx) -> Data:
    """List the tasks that others are made from, with their projects."""
    state = call.data.get("tasks_state")
    archived = STATES[state] if state else None
    rows = contents.parents(tx, _in_projects(call), archived, call.data.get("task_name"))
    return {"parents": [_parent(*row) for row in rows]}


@endpoint("projects.get_user_names", schema=ANY, fields=IN_PROJECTS)
def get_user_names(call: Call, tx: Tx) -> Data:
    """List the users who have tasks in projects."""
    return {"users": [{"id": id, "name": name} for id, name in contents.users(tx, _in_projects(call))]}


def _in_projects(call: Call) -> Clause:
    """Return the condition that the request's projects make, with those below them unless it says no."""
    projects = call.data.get("projects") or [id for id in [call.data.get("project")] if id]
    return contents.reachable(call.company, projects, with_children=call.data.get("include_subprojects", True))


def _paged(call: Call, name: str, items: list[Any]) -> Data:
    limit, offset = paging(call.data)
    page = items[offset:] if limit is None else items[offset : offset + limit]
    # "total" is the length of the page on the genuine server too; what is left is told by "remaining".
    return {"total": len(page), "remaining": max(0, len(items) - offset - len(page)), name: page}


def _values(call: Call, found: list[Any]) -> Data:
    limit, offset = paging(call.data)
    return {"total": len(found), "values": found if limit is None else found[offset : offset + limit]}


def _parent(id: str, name: str, project: str | None, project_name: str | None) -> Data:
    return {"id": id, "name": name} | ({"project": {"id": project, "name": project_name}} if project else {})
