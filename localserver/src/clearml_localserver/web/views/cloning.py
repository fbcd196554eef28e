"""Copies of tasks: a copy of a pipeline's run does not carry what that run has returned, nor its steps' tasks."""

from __future__ import annotations

import json

from clearml_localserver.web import runs
from clearml_localserver.web.site import Json, Visit

RESULTS = "return"
"""The section of parameters in which a pipeline keeps what it returns."""

OF_ITS_RUN = {"job_id": None, "executed": None, "job_started": None, "job_ended": None, "status": "pending"}
"""What a controller notes about a step in its graph, and how that reads where the step has not begun. From its start
until it has written the graph again, the tasks in the graph of a copy would be taken for its own."""


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
    if runs.is_pipeline(task):
        asked = {"id": [copy], "only_fields": [f"configuration.{runs.GRAPH}"], "search_hidden": True}
        (made,) = visit.call("tasks.get_all_ex", asked)["tasks"]
        if plan := _plan(made):
            visit.call("tasks.edit_configuration", {"task": copy, "configuration": [plan]})
    return copy


def _plan(task: Json) -> Json | None:
    """Return a controller's graph without what became of its steps; None if it has none that the SDK wrote."""
    graph = runs.read_graph(task)
    if not graph.nodes or graph.problem:
        return None
    item = task["configuration"][runs.GRAPH]
    nodes = {
        step: node | {name: OF_ITS_RUN[name] for name in OF_ITS_RUN.keys() & node.keys()}
        for step, node in json.loads(item["value"]).items()
    }
    return {**item, "name": runs.GRAPH, "value": json.dumps(nodes, indent=2)}
