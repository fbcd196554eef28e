"""What a process would take over from a ClearML task that it is started from. Pure."""

from __future__ import annotations

from collections.abc import Mapping

OF_A_TASK = frozenset(("CLEARML_TASK_ID", "TRAINS_TASK_ID", "CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID"))
"""Variables by which the SDK takes a process for part of the task that started it."""


def without_task(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a process makes, or is given, a task of its own."""
    return {name: value for name, value in environ.items() if name not in OF_A_TASK}
