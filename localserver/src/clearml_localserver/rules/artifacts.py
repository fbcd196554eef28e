"""Artifacts and models of a task: which entries are the same one, and how new entries are merged with old ones.

Pure. An artifact is known by key and mode, a task's model by its type ("input", "output") and name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Artifact = dict[str, Any]
Models = dict[str, list[dict[str, Any]]]

OUTPUT, INPUT = "output", "input"
ARTIFACT_FIELDS = (
    "key",
    "type",
    "mode",
    "uri",
    "content_size",
    "hash",
    "timestamp",
    "type_data",
    "display_data",
)


def merge(current: Iterable[Artifact], new: Iterable[Mapping[str, Any]]) -> list[Artifact]:
    """Return `current` with `new` in it, sorted by key; of two with the same key and mode the later one stays."""
    entries = {_identity(artifact): artifact for artifact in current}
    for artifact in new:
        known = {name: artifact[name] for name in ARTIFACT_FIELDS if artifact.get(name) is not None}
        entries[_identity(artifact)] = {"mode": OUTPUT, "display_data": []} | known
    return [entries[identity] for identity in sorted(entries)]


def without(current: Iterable[Artifact], keys: Iterable[Mapping[str, Any]]) -> list[Artifact]:
    """Return `current` less `keys` (`{key, mode?}`). Missing ones are fine."""
    gone = {_identity(key) for key in keys}
    return [artifact for artifact in current if _identity(artifact) not in gone]


def inputs(current: Iterable[Artifact]) -> list[Artifact]:
    """Return what a task was given, which a clone or a reset keeps."""
    return [artifact for artifact in current if artifact.get("mode") == INPUT]


def output_urls(current: Iterable[Artifact]) -> list[str]:
    """Return the URLs of the artifacts that a task has created."""
    return [artifact["uri"] for artifact in current if artifact.get("mode", OUTPUT) == OUTPUT and artifact.get("uri")]


def put_model(models: Mapping[str, list[dict[str, Any]]], type: str, name: str, model: str, now: str) -> Models:
    """Return `models` with `model` as the task's model `name` of `type`."""
    entry = {"name": name, "model": model, "updated": now}
    listed = models.get(type) or []
    if any(item["name"] == name for item in listed):
        changed = [entry if item["name"] == name else item for item in listed]
    else:
        changed = [*listed, entry]
    return {INPUT: [], OUTPUT: []} | dict(models) | {type: changed}


def without_models(models: Mapping[str, list[dict[str, Any]]], keys: Iterable[Mapping[str, Any]]) -> Models:
    """Return `models` less `keys` (`{name, type}`). Missing ones are fine."""
    gone = {(key["type"], key["name"]) for key in keys}
    return {
        type: [item for item in models.get(type) or [] if (type, item["name"]) not in gone] for type in (INPUT, OUTPUT)
    }


def listed_models(models: Mapping[str, Any], now: str) -> Models:
    """Return models as `tasks.edit` takes them, each stamped; a name given twice stays twice."""
    return {
        type: [{"name": item["name"], "model": item["model"], "updated": now} for item in models.get(type) or []]
        for type in (INPUT, OUTPUT)
    }


def _identity(artifact: Mapping[str, Any]) -> tuple[str, str]:
    return artifact["key"], artifact.get("mode") or OUTPUT
