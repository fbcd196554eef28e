"""Writes why a task's pod died onto the task's record, where it is found after the pod is gone (helm-charts#319).

The agent of our own image does the same as it sees pods end; this is for whoever watches from outside.
"""

from __future__ import annotations

from contextlib import suppress

from clearml_access import pod_records
from clearml_access.errors import ServerError
from clearml_access.tasks import ON_ITS_WAY
from deploy.kubernetes.pods import Json, PostMortem, post_mortem, task_id
from deploy.session import Session

FINE = ("completed", "closed", "published")


def record_end(session: Session, pod: Json, *, deleted: bool = False) -> PostMortem | None:
    """Write down how a task pod ended, once; return it, or nothing if it lives or ended as it should."""
    task = task_id(pod)
    found = post_mortem(pod, session.now(), deleted=deleted)
    if task is None or found is None:
        return None
    with suppress(ServerError):
        task_record = session.api.task(task, ("runtime", "status")) or {}
        if deleted and task_record.get("status") in FINE:
            return None  # its agent deleted the pod after its end, before we saw that
        if task_record and found.pod not in str((task_record.get("runtime") or {}).get(pod_records.END) or ""):
            session.api.record(task, session.settings.fullname, found.text(), {pod_records.END: found.text()})
        if task_record.get("status") in ("queued", "in_progress") and not task_record.get(ON_ITS_WAY):
            # Nobody runs it any more, and nobody else will say so before the server's watchdog does.
            session.api.call(
                "tasks.failed", task=task, force=True, status_reason=f"pod: {found.reason}", status_message=found.text()
            )
    return found
