"""Service `tasks`: what a run is given and what it makes: hyperparameters, configuration, artifacts, models."""

from __future__ import annotations

from clearml_localserver import lifecycle
from clearml_localserver.endpoints.tasks import require_tasks
from clearml_localserver.lifecycle import Actor
from clearml_localserver.query import by_id
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import artifacts, hyperparams
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.tasks import Change, Fields
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso

FORCE = {"force": {"type": "boolean"}}


@endpoint("tasks.get_hyper_params")
def get_hyper_params(call: Call, tx: Tx) -> Data:
    """Return tasks' hyperparameters as flat lists."""
    tasks = require_tasks(call, tx, call.data["tasks"], public=True)
    return {"params": [{"task": task["id"], "hyperparams": hyperparams.flat(task["hyperparams"])} for task in tasks]}


@endpoint("tasks.edit_hyper_params", writes=True)
def edit_hyper_params(call: Call, tx: Tx) -> Data:
    """Add and replace hyperparameters."""
    items = call.data["hyperparams"]
    task = _editable(call, tx, "inputs", free=hyperparams.only_properties(items))
    merged = hyperparams.merge(task["hyperparams"], items, call.data.get("replace_hyperparams", "none"))
    return _stored(call, tx, task, {"hyperparams": merged}, "updated")


@endpoint("tasks.delete_hyper_params", writes=True)
def delete_hyper_params(call: Call, tx: Tx) -> Data:
    """Remove hyperparameters, or whole sections of them."""
    keys = call.data["hyperparams"]
    task = _editable(call, tx, "inputs", free=hyperparams.only_properties(keys))
    return _stored(call, tx, task, {"hyperparams": hyperparams.without(task["hyperparams"], keys)}, "deleted")


@endpoint("tasks.get_configurations")
def get_configurations(call: Call, tx: Tx) -> Data:
    """Return tasks' configuration objects, all of them or those of some names."""
    tasks = require_tasks(call, tx, call.data["tasks"], public=True)
    names = call.data.get("names") or None
    return {
        "configurations": [
            {"task": task["id"], "configuration": hyperparams.configuration_items(task["configuration"], names)}
            for task in tasks
        ]
    }


@endpoint("tasks.get_configuration_names")
def get_configuration_names(call: Call, tx: Tx) -> Data:
    """List the names of tasks' configuration objects, by default of those that hold something."""
    every = call.data.get("skip_empty") is False
    found = [
        (
            task["id"],
            [
                item["name"]
                for item in hyperparams.configuration_items(task["configuration"])
                if every or item.get("value")
            ],
        )
        for task in require_tasks(call, tx, call.data["tasks"], public=True)
    ]
    return {"configurations": [{"task": task, "names": names} for task, names in found if names]}


@endpoint("tasks.edit_configuration", writes=True)
def edit_configuration(call: Call, tx: Tx) -> Data:
    """Add and replace configuration objects."""
    task = _editable(call, tx, "inputs")
    replace = bool(call.data.get("replace_configuration"))
    merged = hyperparams.merge_configuration(task["configuration"], call.data["configuration"], replace=replace)
    return _stored(call, tx, task, {"configuration": merged}, "updated")


@endpoint("tasks.delete_configuration", writes=True)
def delete_configuration(call: Call, tx: Tx) -> Data:
    """Remove configuration objects."""
    task = _editable(call, tx, "inputs")
    left = hyperparams.configuration_without(task["configuration"], call.data["configuration"])
    return _stored(call, tx, task, {"configuration": left}, "deleted")


@endpoint("tasks.add_or_update_artifacts", writes=True, since="2.10")
def add_or_update_artifacts(call: Call, tx: Tx) -> Data:
    """Add and replace artifacts."""
    task = _editable(call, tx, "results")
    merged = artifacts.merge(task["execution"].get("artifacts", []), call.data["artifacts"])
    return _stored(call, tx, task, {"execution.artifacts": merged}, "updated")


@endpoint("tasks.delete_artifacts", writes=True, since="2.10")
def delete_artifacts(call: Call, tx: Tx) -> Data:
    """Remove artifacts from a task; their files stay."""
    task = _editable(call, tx, "results")
    left = artifacts.without(task["execution"].get("artifacts", []), call.data["artifacts"])
    return _stored(call, tx, task, {"execution.artifacts": left}, "deleted")


@endpoint("tasks.add_or_update_model", writes=True, since="2.13", fields=FORCE)
def add_or_update_model(call: Call, tx: Tx) -> Data:
    """Name a model as one that a task was given or has made. Whether there is such a model is not checked."""
    task = _editable(call, tx, "results")
    asked = call.data
    fields: Fields = {
        "models": artifacts.put_model(task["models"], asked["type"], asked["name"], asked["model"], iso(call.now))
    }
    if "iteration" in asked:
        fields["last_iteration"] = max(task.get("last_iteration", 0), asked["iteration"])
    return _stored(call, tx, task, fields, "updated")


@endpoint("tasks.delete_models", writes=True, since="2.13", fields=FORCE)
def delete_models(call: Call, tx: Tx) -> Data:
    """Take models off a task; the models themselves stay."""
    task = _editable(call, tx, "results")
    return _stored(call, tx, task, {"models": artifacts.without_models(task["models"], call.data["models"])}, "updated")


def _editable(call: Call, tx: Tx, kind: str, *, free: bool = False) -> Document:
    """Return the call's task if its status allows a change of `kind`, or if what is changed is `free` in any status."""
    task = by_id(tx, "task", call.data["task"], call.company)
    if not free:
        rules.require_editable(kind, task, force=bool(call.data.get("force")))
    return task


def _stored(call: Call, tx: Tx, task: Document, fields: Fields, answer: str) -> Data:
    lifecycle.save(tx, task, Change(fields | Actor.of(call).stamp.of_update()))
    return {answer: 1}
