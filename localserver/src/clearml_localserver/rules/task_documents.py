"""Task documents: what a new one holds, and how creating, editing, cloning and resetting fill it.

Pure. Whether a task may be changed is decided by `clearml_localserver.rules.tasks`; whether the projects, tasks and
models that a document names exist is for the caller to check.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from clearml_localserver.errors import validation_error
from clearml_localserver.rules import artifacts, hyperparams
from clearml_localserver.rules.names import checked_name
from clearml_localserver.rules.tasks import ARCHIVED, CREATED, DEVELOPMENT, STOP_ASKED, Change, Fields, Stamp, Task
from clearml_localserver.times import iso

SCRIPT_FIELDS = frozenset(
    ("binary", "repository", "tag", "branch", "version_num", "entry_point", "working_dir", "requirements", "diff")
)
SCRIPT_DEFAULTS: Fields = {"binary": "python", "repository": "", "entry_point": "", "requirements": {}}
EXECUTION_DEFAULTS: Fields = {
    "test_split": 0,
    "parameters": {},
    "model_desc": {},
    "model_labels": {},
    "artifacts": [],
}
LEGACY_EXECUTION = frozenset(("parameters", "model_desc", "docker_cmd"))
"""Parts of `execution` in which old clients put what has a place of its own now."""

EDITABLE = (
    "name",
    "tags",
    "system_tags",
    "type",
    "comment",
    "parent",
    "project",
    "container",
    "runtime",
    "models",
    "hyperparams",
    "configuration",
    "execution",
    "script",
    "output_dest",
)
"""What `tasks.edit` changes; all but the runtime can be given to `tasks.create` too."""

REFERENCES = ("project", "parent")
"""Fields that hold an id: an empty string means that none is given."""

UPDATABLE = ("name", "tags", "system_tags", "comment", "project")
"""What `tasks.update` changes, in any status."""


def empty_task(id: str, company: str, stamp: Stamp) -> Task:
    """Return the document of a task of which nothing is known yet but who made it."""
    now = iso(stamp.now)
    return {
        "id": id,
        "company": company,
        "user": stamp.user,
        "name": "",
        "type": "training",
        "status": CREATED,
        "created": now,
        "last_update": now,
        "last_change": now,
        "last_changed_by": stamp.user,
        "last_iteration": 0,
        "tags": [],
        "system_tags": [],
        "report_assets": [],
        "unique_metrics": [],
        "output": {},
        "execution": copy.deepcopy(EXECUTION_DEFAULTS),
        "script": copy.deepcopy(SCRIPT_DEFAULTS),
        "runtime": {},
        "container": {},
        "hyperparams": {},
        "configuration": {},
        "last_metrics": {},
        "metric_stats": {},
        "models": {"input": [], "output": []},
    }


def edited(task: Task, request: Mapping[str, Any], now: str) -> Fields:
    """Return the fields that `tasks.edit` or `tasks.create` set for `request`.

    Scripts, executions and outputs are merged by key, so that a client which knows only some of them takes nothing
    away; everything else is replaced.

    Raises:
        ApiError: 400/12 or 400/800, a field holds what it must not.
    """
    fields: Fields = {}
    for name in EDITABLE:
        value = request.get(name)
        if value is None or (name in REFERENCES and not value):
            continue
        match name:
            case "name":
                fields[name] = checked_name(value)
            case "script":
                fields[name] = task["script"] | _script(value)
            case "execution":
                fields |= _execution(task, value)
            case "output_dest":
                fields["output"] = task["output"] | {"destination": value}
            case "models":
                fields[name] = artifacts.listed_models(value, now)
            case "hyperparams":
                fields[name] = hyperparams.nested(value)
            case "configuration":
                fields[name] = hyperparams.named(value)
            case _:
                fields[name] = value
    return _with_legacy(task, fields, request.get("execution") or {})


def updated(request: Mapping[str, Any]) -> Fields:
    """Return the fields that `tasks.update` sets for `request`; it ignores unknown ones.

    Raises:
        ApiError: 400/800, the name is too short.
    """
    given = {name: request[name] for name in UPDATABLE if request.get(name) is not None}
    fields = {name: value for name, value in given.items() if value or name not in REFERENCES}
    if "name" in fields:
        fields["name"] = checked_name(fields["name"])
    return fields


def cloned(source: Task, request: Mapping[str, Any], id: str, company: str, stamp: Stamp) -> Task:
    """Return a new draft like `source`, with what `request` (of `tasks.clone`) overrides.

    The output of the run is not copied: times, metrics, runtime, output models and artifacts, queue and worker.

    Raises:
        ApiError: 400/12 or 400/800, an override is not what it must be.
    """
    kept = copy.deepcopy(source)
    task = empty_task(id, company, stamp)
    task |= {name: kept[name] for name in ("name", "type", "tags", "hyperparams", "configuration", "container")}
    task |= {name: kept[name] for name in ("project", "comment", "script", "input") if name in kept}
    task["parent"] = request.get("new_task_parent") or source.get("parent") or source["id"]
    task["system_tags"] = [tag for tag in kept["system_tags"] if tag not in (DEVELOPMENT, ARCHIVED)]
    task["execution"] |= {name: value for name, value in kept["execution"].items() if name != "queue"}
    task["execution"]["artifacts"] = artifacts.inputs(kept["execution"].get("artifacts", []))
    task["models"]["input"] = kept["models"].get("input", [])
    if "destination" in kept["output"]:
        task["output"] = {"destination": kept["output"]["destination"]}

    overrides = {
        name: request.get(f"new_task_{name}")
        for name in ("name", "comment", "tags", "system_tags", "project", "hyperparams", "configuration", "container")
    }
    task |= edited(task, overrides, iso(stamp.now))
    if request.get("new_task_input_models") is not None:
        models = artifacts.listed_models({"input": request["new_task_input_models"]}, iso(stamp.now))
        task["models"]["input"] = models["input"]
    if execution := request.get("execution_overrides"):
        task |= edited(task, {"execution": {**execution, "queue": None}}, iso(stamp.now))
        if execution.get("docker_cmd"):
            task["container"] = dict.fromkeys(task["container"], "") | {"image": execution["docker_cmd"]}
    return task


def reset(task: Task, stamp: Stamp, *, clear_all: bool) -> Change:
    """Return what makes a draft of `task` again: the traces of its run go, what it was given stays."""
    execution = {name: value for name, value in task["execution"].items() if name != "queue"}
    execution["artifacts"] = [] if clear_all else artifacts.inputs(task["execution"].get("artifacts", []))
    fields = Stamp(stamp.user, stamp.now, "reset", "reset").of_status(CREATED) | {
        "last_iteration": 0,
        "last_metrics": {},
        "metric_stats": {},
        "unique_metrics": [],
        "runtime": {},
        "execution": execution,
        "models": {"input": task["models"].get("input", []), "output": []},
    }
    if clear_all:
        fields["script"] = copy.deepcopy(SCRIPT_DEFAULTS)
    traces = ("started", "completed", "published", "active_duration", "last_worker", "last_worker_report")
    return Change(fields, frozenset((*traces, "enqueue_status", STOP_ASKED)))


def _script(value: Mapping[str, Any]) -> Fields:
    if unknown := sorted(set(value) - SCRIPT_FIELDS):
        raise validation_error(f"error for field 'script'. unknown field: {', '.join(unknown)}")
    return {name: item for name, item in value.items() if item is not None}


def _execution(task: Task, value: Mapping[str, Any]) -> Fields:
    known = {name: item for name, item in value.items() if item is not None and name not in LEGACY_EXECUTION}
    if "artifacts" in known:
        known["artifacts"] = artifacts.merge([], known["artifacts"])
    return {"execution": task["execution"] | known}


def _with_legacy(task: Task, fields: Fields, execution: Mapping[str, Any]) -> Fields:
    """Put the parameters and model description of old clients where new ones look; what came in the new form wins."""
    if parameters := execution.get("parameters"):
        legacy = hyperparams.from_legacy(parameters)
        new = fields.get("hyperparams")
        fields["hyperparams"] = _overlaid(task["hyperparams"], legacy) if new is None else _overlaid(legacy, new)
    if model_desc := execution.get("model_desc"):
        described = hyperparams.configuration_from_legacy(model_desc)
        new = fields.get("configuration")
        fields["configuration"] = task["configuration"] | described if new is None else described | new
    return fields


def _overlaid(below: hyperparams.Hyperparams, above: hyperparams.Hyperparams) -> hyperparams.Hyperparams:
    return below | {section: below.get(section, {}) | items for section, items in above.items()}
