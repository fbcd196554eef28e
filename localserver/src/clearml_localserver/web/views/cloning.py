"""Copies of tasks: a copy of a pipeline's run does not carry what that run has returned."""

from __future__ import annotations

from clearml_localserver.web import runs
from clearml_localserver.web.site import Json, Visit

RESULTS = "return"
"""The section of parameters in which a pipeline keeps what it returns."""


def clone(visit: Visit, task: Json, name: str) -> str:
    """Clone a task; return the copy's id.

    Args:
        visit: The request.
        task: The task, with `hyperparams`.
        name: The copy's name.
    """
    copy = str(visit.call("tasks.clone", {"task": task["id"], "new_task_name": name})["id"])
    if runs.is_pipeline(task) and RESULTS in task["hyperparams"]:
        visit.call("tasks.delete_hyper_params", {"task": copy, "hyperparams": [{"section": RESULTS}], "force": True})
    return copy
