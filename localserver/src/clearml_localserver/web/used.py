"""What a task has read and made, by its own record: dataset versions, models, artifacts, returned values. Pure.

The SDK notes the dataset versions that a task opens in its section `Datasets` and in the runtime property `datasets`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from clearml_localserver.web.shapes import read_json, text, texts

Json = dict[str, Any]

TASK_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Use:
    """Something that a task has read or made."""

    kind: str
    """`dataset`, `model`, `artifact` or `value`."""

    name: str
    value: str
    """What a page shows beside the name: an id, a file, a value."""

    href: str = ""
    """Its page."""


def datasets_of(task: Json) -> dict[str, str]:
    """Return the dataset versions that a task has opened: id → the alias that it used, or nothing."""
    found = {
        text(item.get("value")): name
        for name, item in ((task.get("hyperparams") or {}).get("Datasets") or {}).items()
        if TASK_ID.fullmatch(text(item.get("value")))
    }
    stored = (task.get("runtime") or {}).get("datasets")
    noted = texts(stored if isinstance(stored, list) else read_json(text(stored)))
    return found | {id_: "" for id_ in noted if TASK_ID.fullmatch(id_) and id_ not in found}


def models_of(task: Json, kind: str) -> dict[str, str]:
    """Return a task's models (`input` or `output`): id → name in the task."""
    listed = (task.get("models") or {}).get(kind) or []
    return {item["model"]["id"]: item["name"] for item in listed if item["model"]["id"]}


def uses_of(task: Json) -> tuple[list[Use], list[Use]]:
    """Return what a task has read, and what it has made."""
    inputs = [_dataset(alias or "dataset", id_) for id_, alias in datasets_of(task).items()]
    inputs += [_model(name, id_) for id_, name in models_of(task, "input").items()]
    outputs = [_model(name, id_) for id_, name in models_of(task, "output").items()]
    for name, item in ((task.get("hyperparams") or {}).get("return") or {}).items():
        value = text(item.get("value"))
        is_id = name.endswith("dataset_id") and TASK_ID.fullmatch(value)
        outputs.append(_dataset(name, value) if is_id else Use("value", name, value))
    for artifact in task["execution"]["artifacts"]:
        href = f"/tasks/{quote(task['id'], safe='')}/artifacts"
        (inputs if artifact["mode"] == "input" else outputs).append(
            Use("artifact", artifact["key"], artifact["type"], href)
        )
    return inputs, outputs


def _dataset(name: str, id_: str) -> Use:
    return Use("dataset", name, id_, f"/tasks/{quote(id_, safe='')}")


def _model(name: str, id_: str) -> Use:
    return Use("model", name or "model", id_, f"/models/{quote(id_, safe='')}")
