"""How a process is told which task it is, as the SDK tells a step that is a process of this machine. Pure."""

from __future__ import annotations

SIMULATED = "CLEARML_SIMULATE_REMOTE_TASK"
"""Set for a task's process that a controller on this machine has started."""


def variables_of(task_id: str) -> dict[str, str]:
    """Return the environment variables by which `Task.init` joins a task in place of making one."""
    return {
        "CLEARML_TASK_ID": task_id,
        "TRAINS_TASK_ID": task_id,
        "CLEARML_LOG_TASK_TO_BACKEND": "1",
        SIMULATED: "1",
    }
