"""Operations on stored tasks: status changes, queues, clones, resets, deletions, with what depends on them.

Below the endpoints, above the rules: `tasks.*` and all else that starts, queues or removes tasks (pipelines, queues,
projects, the watchdog) call these functions. They talk to the store alone. Each checks everything before it writes.
"""

from __future__ import annotations

from clearml_localserver.lifecycle.actor import Actor
from clearml_localserver.lifecycle.archiving import archive_task, unarchive_task
from clearml_localserver.lifecycle.cloning import clone_task, create_task, new_task, require_references
from clearml_localserver.lifecycle.projects import ensure_project
from clearml_localserver.lifecycle.queueing import (
    dequeue_task,
    enqueue_task,
    leave_queue,
    note_handed_out,
    queues_with,
    requeue_lost,
)
from clearml_localserver.lifecycle.removal import Removal, delete_task, reset_task
from clearml_localserver.lifecycle.status_changes import change_status, publish_models, save, stop_task
from clearml_localserver.lifecycle.steps import included_steps, is_live, steps_of
from clearml_localserver.lifecycle.watchdog import Watch, look_after_tasks, stop_non_responsive

__all__ = [
    "Actor",
    "Removal",
    "Watch",
    "archive_task",
    "change_status",
    "clone_task",
    "create_task",
    "delete_task",
    "dequeue_task",
    "enqueue_task",
    "ensure_project",
    "included_steps",
    "is_live",
    "leave_queue",
    "look_after_tasks",
    "new_task",
    "note_handed_out",
    "publish_models",
    "queues_with",
    "requeue_lost",
    "require_references",
    "reset_task",
    "save",
    "steps_of",
    "stop_non_responsive",
    "stop_task",
    "unarchive_task",
]
