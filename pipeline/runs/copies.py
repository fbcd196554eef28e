"""Use case "run any pipeline again": copy the controller of a run, change parameters, put the copy into a queue.

It needs nothing but the controller's task, so it works for pipelines that other projects made.
`pipeline.runs.reruns` continues a run of this project's own pipelines, with options checked before. Outside system: the
ClearML server, through its adapter.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

from clearml_access.errors import UserFacingError
from clearml_access.run_records import DAG_CONFIGURATION, read_dag
from clearml_access.tasks import CONTROLLER_TYPE, PODS_QUEUE, has_ended, queue_before_its_pod
from pipeline.clearml_server import RETURNED, ClearmlServer
from pipeline.errors import SettingsError
from pipeline.preflight import require_queue
from pipeline.run_options import SECTION
from pipeline.runs.states import fetch

PARAMETERS = "Args"
"""The section in which `PipelineController.add_parameter` and `PipelineDecorator.pipeline` keep parameters."""

FROM_RUN, FROM_STEP = "from_run", "from_step"
"""Options of our controllers: the run whose completed steps are reused, and the first step that runs again."""

REASON = "run again from the command line"

NUMBERS: Mapping[str, type[int] | type[float]] = {"int": int, "float": float}
BOOLEANS = frozenset({"true", "false", "1", "0", "yes", "no", "on", "off", ""})
"""What a parameter of a type takes, as the form of localserver's web page has it. The SDK turns any other text into
nothing, and the script runs with that."""

OF_ITS_RUN = {"job_id": None, "executed": None, "job_started": None, "job_ended": None, "status": "pending"}
"""What a controller notes about a step in its graph, and how that reads where the step has not begun."""

_RUN_NUMBER = re.compile(r" #(\d+)$")


def run_again(
    server: ClearmlServer,
    run_id: str,
    *,
    changes: Mapping[str, str],
    queue: str = "",
    from_failed: bool = False,
    from_step: str = "",
) -> str:
    """Copy a run's controller and enqueue the copy; return the copy's id. On any error nothing is left behind.

    Args:
        server: The server.
        run_id: The run.
        changes: Parameters that differ: `name` of section Args, or `section/name`.
        queue: The queue's name; by default the one that the run was in.
        from_failed: Reuse the steps that the run completed.
        from_step: Reuse only those that do not follow this step.

    Raises:
        SettingsError: A parameter does not exist or is of another type, or the run cannot be continued.
        QueueError: The queue does not exist, or no live worker serves it.
        CallRefusedError: The server refuses the copy.
    """
    graph = f"configuration.{DAG_CONFIGURATION}"
    fields = ["name", "project", "hyperparams", "execution.queue", "status", "status_changed", graph]
    task = server.tasks(fields, id=[run_id])[0]
    items = _parameters(task, changes)
    if from_failed or from_step:
        if not has_ended(task):
            raise SettingsError(
                f"run {run_id} is still running", hint=f"wait for it: .venv/bin/python -m pipeline watch {run_id}"
            )
        steps = [step.name for step in fetch(server, run_id).steps]
        if from_step and from_step not in steps:
            raise SettingsError(
                f"run {run_id} has no step {from_step!r}", hint=f"its steps: {', '.join(steps) or 'none'}"
            )
        items += _continuation(task, from_step)
    queue = _queue(server, task, queue)
    copy = str(server.call("tasks.clone", task=run_id, new_task_name=_next_name(server, task))["id"])
    try:
        if RETURNED in (task.get("hyperparams") or {}):
            server.call("tasks.delete_hyper_params", task=copy, hyperparams=[{"section": RETURNED}], force=True)
        if items:
            server.call("tasks.edit_hyper_params", task=copy, hyperparams=items)
        if plan := _plan(task):
            server.call("tasks.edit_configuration", task=copy, configuration=[plan])
        server.call("tasks.enqueue", task=copy, queue_name=queue, status_reason=REASON)
    except UserFacingError:
        with contextlib.suppress(UserFacingError):
            server.call("tasks.delete", task=copy, force=True)
        raise
    return copy


def _parameters(task: Mapping[str, Any], changes: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the changes as the API takes them.

    Raises:
        SettingsError: The run has no such parameter.
    """
    sections: Mapping[str, Mapping[str, Any]] = task.get("hyperparams") or {}
    items = []
    for key, value in changes.items():
        section, _, name = key.rpartition("/")
        section = section or PARAMETERS
        known = sections.get(section) or {}
        if name not in known:
            names = sorted(known) or [f"{other}/..." for other in sections]
            raise SettingsError(
                f"run {task['id']} ({task['name']}) has no parameter {section}/{name}",
                hint=f"it has: {', '.join(names)}" if names else "it has no parameters",
            )
        kind = str(known[name].get("type") or "")
        if not _fits(kind, value):
            raise SettingsError(
                f"{section}/{name} of run {task['id']} ({task['name']}) is of type {kind}, which {value!r} is not",
                hint=f"it is {known[name].get('value')!r} there",
            )
        items.append({"section": section, "name": name, "value": value})
    return items


def _fits(kind: str, value: str) -> bool:
    """Return whether a text is a value of a type as the SDK names it; any text is of a type that is not checked."""
    if kind == "bool":
        return value.strip().lower() in BOOLEANS
    if kind in NUMBERS:
        try:
            NUMBERS[kind](value)
        except ValueError:
            return False
    return True


def _plan(task: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the run's graph without what became of its steps; None if it has no graph.

    Whoever reads the copy would take the tasks in its graph for its own from the controller's start on, until that has
    written the graph again.
    """
    nodes = read_dag(task)
    if not nodes or not all(isinstance(node, dict) for node in nodes.values()):
        return None
    planned = {
        step: node | {name: OF_ITS_RUN[name] for name in OF_ITS_RUN.keys() & node.keys()}
        for step, node in nodes.items()
    }
    text = json.dumps(planned, indent=2)
    return dict(task["configuration"][DAG_CONFIGURATION]) | {"name": DAG_CONFIGURATION, "value": text}


def _continuation(task: Mapping[str, Any], from_step: str) -> list[dict[str, str]]:
    options = (task.get("hyperparams") or {}).get(SECTION) or {}
    wanted = {FROM_RUN: str(task["id"])} | ({FROM_STEP: from_step} if from_step else {})
    missing = [name for name in wanted if name not in options]
    if missing:
        raise SettingsError(
            f"run {task['id']} ({task['name']}) cannot be continued: it is not a run of this repository's pipelines, "
            f"whose controllers know the option --{'from-failed' if missing[0] == FROM_RUN else 'from-step'}",
            hint="without --from-failed and --from-step the steps run, or come from the cache, as its script says",
        )
    return [{"section": SECTION, "name": name, "value": value} for name, value in wanted.items()]


def _queue(server: ClearmlServer, task: Mapping[str, Any], name: str) -> str:
    """Return the name of the queue for the copy.

    Raises:
        SettingsError: None is named, and the run was in none that still exists.
        QueueError: It does not exist, or no live worker serves it.
    """
    if not name:
        queue = (task.get("execution") or {}).get("queue")
        queue_id = queue.get("id") if isinstance(queue, dict) else queue
        names = {item.id: item.name for item in server.queues()}
        name = names.get(str(queue_id), "")
        if name == PODS_QUEUE:
            name = queue_before_its_pod(task)
        if name not in names.values():
            known = ", ".join(sorted({*names.values()} - {PODS_QUEUE}))
            raise SettingsError(
                f"run {task['id']} was in no queue that exists now", hint=f"say --queue NAME; queues: {known or 'none'}"
            )
    require_queue(server, name)
    return name


def _next_name(server: ClearmlServer, task: Mapping[str, Any]) -> str:
    """Return the run's name with the next free number, as the SDK numbers the runs of a pipeline."""
    base = _RUN_NUMBER.sub("", str(task["name"]))
    project = task.get("project")
    project_id = project.get("id") if isinstance(project, dict) else project
    query = {"project": [project_id]} if project_id else {}
    found = server.tasks(["name"], type=[CONTROLLER_TYPE], name=rf"^{re.escape(base)}( #\d+)?$", **query)
    numbers = [int(match[1]) for other in found if (match := _RUN_NUMBER.search(str(other["name"])))]
    return f"{base} #{max([len(found), *numbers]) + 1}"
