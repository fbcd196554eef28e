"""Whether a step that failed is run again: decided by the cause, recorded with each attempt.

What was lost is run again free of charge, what ran out of memory with more of it, a shard as often as the run says;
what can never start is not. A step's own numbers replace those of the run and of the queue. It must not know what steps
do. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clearml_access import pod_records
from clearml_access.tasks import ATTEMPTS_PROPERTY, USER_PROPERTIES, reason_of
from pipeline.clearml_server import ClearmlServer
from pipeline.controllers import memory
from pipeline.controllers.failure_causes import Cause, cause_of
from pipeline.run_options import RunOptions

_FIELDS = ["status", "status_reason", "status_message", "runtime", "container"]


def run_again(pipeline: Any, node: Any, retries: int) -> bool:
    """Return whether a step that failed is run again, and prepare its task for that.

    Args:
        pipeline: Its controller.
        node: The step, as the SDK has it.
        retries: How often it was run again already, for whatever cause; each cause is counted for itself.
    """
    step, server = node.job.task.id, pipeline.server
    task = server.task(step, _FIELDS)
    if task is None:  # somebody has deleted it
        return False
    limit = str(pod_records.runtime_of(task).get(pod_records.MEMORY) or "")
    cause = cause_of(f"{task.get('status_reason')} {task.get('status_message')}", limit)
    ended = pipeline.ended_attempts.setdefault(node.name, [])
    before = [kind for kind, _ in ended].count(cause)
    reason = reason_of(task)
    own = pipeline.options.own_numbers_of(node.name)
    if cause is Cause.MEMORY:
        options = replace(pipeline.options, **own)
        wanted = _more_memory(server, options, node.name, task, limit) if before < options.memory_retries else ""
        again = bool(wanted)
        reason += f"; memory limit {limit}, then {wanted}"
    elif cause is Cause.OWN:
        again = bool(pipeline.shard_scheduling.is_tried_again(server, node.name, step, before, own.get("retries")))
    else:
        again = cause is Cause.LOST and before < _lost_retries(pipeline.options, own, task)
    ended.append((cause, reason))
    if again:
        reasons = json.dumps([reason for _, reason in ended])
        noted = {"section": USER_PROPERTIES, "name": ATTEMPTS_PROPERTY, "value": reasons, "type": "str"}
        # Not by the SDK, which does not change a task that has failed.
        server.call("tasks.edit_hyper_params", task=step, force=True, hyperparams=[noted])
    return again


def _lost_retries(options: RunOptions, own: Mapping[str, Any], task: dict[str, Any]) -> int:
    """Return the step's own number, else the run's, or that of the queue where it is higher and the run's is not 0."""
    if "lost_retries" in own:
        return int(own["lost_retries"])
    queues = str(pod_records.runtime_of(task).get(pod_records.LOST_RETRIES) or "")
    return (
        max(options.lost_retries, int(queues)) if options.lost_retries and queues.isdecimal() else options.lost_retries
    )


def _more_memory(server: ClearmlServer, options: RunOptions, step: str, task: dict[str, Any], limit: str) -> str:
    """Give a step's task more memory; return how much, or nothing where it may have no more."""
    queues_cap = str(pod_records.runtime_of(task).get(pod_records.MEMORY_CAP) or "")
    wanted = memory.more(limit, options.memory_cap, queues_cap)
    if not wanted:
        print(f"Step {step} ran out of memory with a limit of {limit}, and may have no more")
        return ""
    container = task.get("container") or {}
    arguments = memory.with_memory(str(container.get("arguments") or ""), wanted, limit)
    server.call("tasks.edit", task=task["id"], force=True, container={**container, "arguments": arguments})
    print(f"Step {step} ran out of memory with a limit of {limit}: it is run again with {wanted}")
    return wanted
