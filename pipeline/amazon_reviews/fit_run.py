"""Runs the task TF-IDF to its end, as a process of this machine or on a queue.

What runs is a clone of the task's draft. It must not train (`pipeline.amazon_reviews.model.fitting` does, in the task's
process). Outside system: the ClearML server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.amazon_reviews.model.fit_model import FIT_MODEL, RESULT, FitError
from pipeline.clearml_server import ClearmlServer
from pipeline.datasets.lookup import require_version
from pipeline.errors import RunTimeoutError
from pipeline.graph.parameters import ParameterValue
from pipeline.module_tasks import execution
from pipeline.module_tasks.declaration import SECTION
from pipeline.preflight import require_queue


def check(server: ClearmlServer, parameters: Mapping[str, ParameterValue], queue: str) -> None:
    """Find out what would make the task wait or fail, before it is made.

    Args:
        server: The server.
        parameters: The task's.
        queue: Where it is put; nothing if it runs here.

    Raises:
        QueueError: The queue does not exist or has no live worker.
        DatasetNotFoundError: A version does not exist; the message lists what does.
        DatasetStateError: A version was never finished.
    """
    if queue:
        require_queue(server, queue)
    project, name = str(parameters["dataset_project"]), str(parameters["dataset_name"])
    for part in ("train", "test"):
        require_version(server, project, name, str(parameters[f"{part}_dataset_version"]), stage=part)


def run(
    server: ClearmlServer,
    task: str,
    *,
    queue: str,
    timeout_s: float,
    environ: Mapping[str, str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run the task to its end and return what it made: `model_id`, `dataset_version`, `metrics` and so on.

    Args:
        server: The server.
        task: A clone of the draft.
        queue: Where it is put; nothing if it runs here.
        timeout_s: After that it is stopped.
        environ: Environment of its process here.
        say: Told what happens.

    Raises:
        FitError: It failed.
        RunTimeoutError: It did not end in time and was stopped.
        TaskDeletedError: It was deleted.
        KeyboardInterrupt: Ctrl-C; it was stopped.
    """
    try:
        execution.run(server, FIT_MODEL, task, queue=queue, timeout_s=timeout_s, environ=environ, say=say)
    except (KeyboardInterrupt, RunTimeoutError):
        _discard(server, task)
        raise
    return result_of(server, task)


def result_of(server: ClearmlServer, task: str) -> dict[str, Any]:
    """Return what a completed task has made.

    Raises:
        FitError: It says nothing of it.
        TaskDeletedError: It was deleted.
    """
    document = execution.document(server, task, ["execution.artifacts"])
    artifacts = (document.get("execution") or {}).get("artifacts") or []
    for artifact in artifacts:
        if artifact["key"] == RESULT:
            found: dict[str, Any] = json.loads((artifact.get("type_data") or {}).get("preview") or "{}")
            return found
    raise FitError(f"task {task} has no artifact {RESULT!r}", hint=f"look at {server.task_page('*', task)}")


def _discard(server: ClearmlServer, task: str) -> None:
    """Remove what a stopped task had begun: its models and its dataset version."""
    from pipeline.amazon_reviews.model import registry
    from pipeline.datasets import datasets

    for model in registry.unpublished_of(server, task):
        registry.discard(model)
    for document in server.tasks(["hyperparams"], id=[task]):  # none, if it was deleted
        found = document["hyperparams"][SECTION]
        datasets.discard_unfinished(server, found["dataset_project"]["value"], found["dataset_name"]["value"], {task})
