"""Delete and reset tasks, with their events, models, queue entries and children."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from clearml_localserver.events.store import delete_task_events, event_urls
from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.queueing import leave_queue
from clearml_localserver.lifecycle.status_changes import output_models
from clearml_localserver.rules import artifacts, task_documents
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.tasks import Fields
from clearml_localserver.store import Document, Tx

DELETED = "__DELETED__"
"""Prefix of a reference to a task that is gone."""


@dataclass
class Removal:
    """What a deletion or a reset has done."""

    fields: Fields = field(default_factory=dict)
    dequeued: bool = False
    updated_children: int = 0
    updated_models: int = 0
    deleted_models: int = 0
    model_urls: list[str] = field(default_factory=list)
    artifact_urls: list[str] = field(default_factory=list)
    event_urls: list[str] = field(default_factory=list)

    @property
    def urls(self) -> dict[str, list[str]]:
        """URLs of files that nothing refers to any more, by kind."""
        return {
            "model_urls": self.model_urls,
            "artifact_urls": self.artifact_urls,
            "event_urls": self.event_urls,
        }


def delete_task(
    tx: Tx, task: Document, actor: Actor, *, force: bool, delete_output_models: bool = True, urls: bool = False
) -> Removal:
    """Delete a task with its events and its draft models; children and other models stay and remember its id.

    Raises:
        ApiError: 400/123, something stands against it (without force).
    """
    id = task["id"]
    models = output_models(tx, task)
    children = tx.docs("SELECT doc FROM task WHERE field_parent = ?", (id,))
    rules.require_deletable(
        task,
        force=force,
        ready_models=_count_ready(models),
        published_children=sum(child["status"] == rules.PUBLISHED for child in children),
    )
    removal = Removal(dequeued=leave_queue(tx, task, actor.now), updated_children=len(children))
    for child in children:
        tx.put("task", child | {"parent": f"{DELETED}{id}"})
    for model in _remove_drafts(tx, models, removal, delete=delete_output_models, but_for=id):
        tx.put("model", model | {"task": f"{DELETED}{id}"})
        removal.updated_models += 1
    _remove_traces(tx, task, removal, urls=urls)
    tx.delete("task", id)
    return removal


def reset_task(
    tx: Tx,
    task: Document,
    actor: Actor,
    *,
    force: bool,
    clear_all: bool = False,
    delete_output_models: bool = True,
    urls: bool = False,
) -> Removal:
    """Reset a task to a draft: the output of its run is deleted, draft models included.

    Raises:
        ApiError: 400/110 for a published task, 400/123 for one with models that others may use (without force).
    """
    rules.destination("reset", task, force=force)
    models = output_models(tx, task)
    rules.require_no_ready_models(task, force=force, ready_models=_count_ready(models))
    removal = Removal(dequeued=leave_queue(tx, task, actor.now))
    _remove_drafts(tx, models, removal, delete=delete_output_models, but_for=task["id"])
    _remove_traces(tx, task, removal, urls=urls)
    change = task_documents.reset(task, actor.stamp, clear_all=clear_all)
    tx.put("task", change.apply(task))
    shown = ("status", "status_reason", "status_message", "status_changed")
    removal.fields = {name: change.fields[name] for name in (*shown, "last_update", "last_change", "last_changed_by")}
    return removal


def _count_ready(models: list[Document]) -> int:
    return sum(bool(model.get("ready")) for model in models)


def _remove_drafts(tx: Tx, models: list[Document], removal: Removal, *, delete: bool, but_for: str) -> list[Document]:
    """Delete the draft models that no other task was given; return the models that stay."""
    drafts = [model for model in models if delete and not model.get("ready")]
    used = _used_as_input(tx, [model["id"] for model in drafts], but_for)
    for model in drafts:
        if model["id"] in used:
            continue
        tx.delete("model", model["id"])
        removal.deleted_models += 1
        if model.get("uri"):
            removal.model_urls.append(model["uri"])
    return [model for model in models if model not in drafts or model["id"] in used]


def _used_as_input(tx: Tx, models: list[str], but_for: str) -> set[str]:
    if not models:
        return set()
    rows = tx.rows(
        "SELECT DISTINCT model FROM task_model WHERE type = 'input' AND task <> ? "
        "AND model IN (SELECT value FROM json_each(?))",
        (but_for, json.dumps(models)),
    )
    return {id for (id,) in rows}


def _remove_traces(tx: Tx, task: Document, removal: Removal, *, urls: bool) -> None:
    removal.artifact_urls = artifacts.output_urls(task["execution"].get("artifacts", []))
    if urls:
        removal.event_urls = event_urls(tx, task["id"])
    delete_task_events(tx, task["id"])
