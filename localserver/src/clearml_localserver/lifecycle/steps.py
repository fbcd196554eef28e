"""The steps of pipelines: the tasks that a controller has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_localserver.rules import tasks as rules
from clearml_localserver.store import Document, Tx

PIPELINE = "pipeline"
"""System tag of a pipeline's runs."""


def steps_of(tx: Tx, run: Document) -> list[Document]:
    """Return the steps of a pipeline's run: its children, but for later runs that were started from it."""
    children = tx.docs("SELECT doc FROM task WHERE field_parent = ?", (run["id"],))
    return [child for child in children if child["company"] == run["company"] and not _is_run_like(child, run)]


def included_steps(tx: Tx, task: Document, request: Mapping[str, Any]) -> list[Document]:
    """Return the steps that `include_pipeline_steps` of a request means: none but those of a controller."""
    wanted = bool(request.get("include_pipeline_steps")) and task["type"] == rules.CONTROLLER
    return steps_of(tx, task) if wanted else []


def is_live(task: Document) -> bool:
    """Whether a task waits or runs, so that there is something to stop."""
    return task["status"] in (rules.QUEUED, rules.IN_PROGRESS)


def _is_run_like(child: Document, run: Document) -> bool:
    return child.get("project") == run.get("project") and PIPELINE in child["system_tags"]
