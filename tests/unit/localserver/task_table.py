"""The specification's table of the task status machine, read from its own text.

Rows are actions, columns the status before. A cell says what comes of it without force, and after `; F:` with force
where that differs: a status, `same`, `gone`, `no-op`, `enqueue_status` (what the task was before it was enqueued) or
the subcode of a 400. `110 even F` refuses both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

STATUSES = ("created", "queued", "in_progress", "stopped", "closed", "failed", "completed", "published")

TEXT = """
enqueue | queued | 706 | 110; F:queued | queued | 110; F:queued | queued | 110; F:queued | 110; F:queued
dequeue | no-op | enqueue_status | enqueue_status | no-op | no-op | no-op | no-op | no-op
started | in_progress | in_progress | same | in_progress | 110; F:in_progress | 110; F:in_progress | in_progress | 110; F:in_progress
stop | 110; F:stopped | stopped | stopped | same | stopped | stopped | 110; F:stopped | 110; F:stopped
stopped | 110; F:stopped | stopped | stopped | same | stopped | stopped | 110; F:stopped | 110; F:stopped
failed | 110; F:failed | 110; F:failed | failed | failed | failed | same | 110; F:failed | 110; F:failed
completed | 110; F:completed | 110; F:completed | completed | completed | 110; F:completed | 110; F:completed | same | 110; F:completed
close | 110; F:closed | 110; F:closed | 110; F:closed | closed | same | 110; F:closed | 110; F:closed | 110; F:closed
publish | 110; F:published | 110; F:published | 110; F:published | published | published | published | published | 110; F:published
reset | created | created | created | created | created | created | created | 110; F:created
delete | gone | 123; F:gone | 123; F:gone | 123; F:gone | 123; F:gone | 123; F:gone | 123; F:gone | 123; F:gone
edit | same | 110; F:same | 110; F:same | 110; F:same | 110; F:same | 110; F:same | 110; F:same | 110; F:same
update | same | same | same | same | same | same | same | same
set_requirements | same | same | same | same | same | same | same | same
ping | same | same | same | same | same | same | same | same
clone | same | same | same | same | same | same | same | same
edit_hyper_params | same | 110; F:same | 110; F:same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
delete_hyper_params | same | 110; F:same | 110; F:same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
edit_configuration | same | 110; F:same | 110; F:same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
delete_configuration | same | 110; F:same | 110; F:same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
add_or_update_artifacts | same | same | same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
delete_artifacts | same | same | same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
add_or_update_model | same | same | same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
delete_models | same | same | same | 110 even F | 110 even F | 110 even F | 110 even F | 110 even F
"""  # noqa: E501  the specification's own lines


class Case(NamedTuple):
    action: str
    status: str
    force: bool
    outcome: str


def _cases() -> Iterator[Case]:
    for line in TEXT.strip().splitlines():
        action, *cells = (part.strip() for part in line.split(" | "))
        for status, cell in zip(STATUSES, cells, strict=True):
            plain, _, forced = cell.removesuffix(" even F").partition("; F:")
            yield Case(action, status, False, plain)
            yield Case(action, status, True, forced or plain)


CASES = list(_cases())


def text_of(subcode: str, action: str, status: str, task: str) -> str:
    """Return the specification's message for a refusal."""
    new_status = {"enqueue": "queued", "started": "in_progress", "stop": "stopped", "close": "closed"}
    if subcode == "706":
        return f"Failed adding task to queue since task is already queued: task={task}"
    if action == "delete":
        where = f"task={task}, expected=created, current={status}"
        return f"Task cannot be deleted (due to status, use force=True): {where}"
    if action == "reset":
        return f"Invalid task status: task_id={task}, status={status}"
    if action in ("enqueue", "started", "stop", "stopped", "failed", "completed", "close", "publish"):
        to = new_status.get(action, "published" if action == "publish" else action)
        return f"Invalid task status (Invalid status change): current_status={status}, new_status={to}"
    return f"Invalid task status: expected=created, status={status}"
