"""The one-machine set-up: a `localserver` process and its `clearml-agent` workers, started and stopped by pid.

    services queue ──> worker "controllers"       one pipeline controller at a time
    steps queue    ──> workers "steps-1" to "-3"  two steps at a time, and a worker that has not noticed its step's end

Why one single-task daemon per slot, and not `--services-mode N`: a services-mode daemon looks at the queue again only
when the task before it has started (a 5 s look), so two parallel steps would start 5 s apart, and every task would
pay for one more agent process. Why controllers have a worker of their own: a controller on the steps' queue holds a
slot while it waits for its steps, and with one slot both wait for ever.

`workers up` starts the same workers on another server, the configured one (`configured`).

The agents are unmodified; everything is said to them by their own settings (`pipeline.local_stack.configuration`).
This package starts processes and asks the server's API; it must not know what a pipeline or a dataset is.
"""

from __future__ import annotations

from pipeline.local_stack.configured import Started, WorkersStatus, workers_down, workers_status, workers_up
from pipeline.local_stack.lifecycle import Machine, Status, down, in_hand, status, up
from pipeline.local_stack.settings import LOOPBACK, MachineSettings

__all__ = [
    "LOOPBACK",
    "Machine",
    "MachineSettings",
    "Started",
    "Status",
    "WorkersStatus",
    "down",
    "in_hand",
    "status",
    "up",
    "workers_down",
    "workers_status",
    "workers_up",
]
