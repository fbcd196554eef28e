"""Checks of one task that will not start: queued, served, a free slot, its pod, a controller in the way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from clearml_access import pod_records
from clearml_access.errors import UserFacingError
from clearml_access.tasks import (
    CONTROLLER_TYPE,
    ON_ITS_WAY,
    PODS_QUEUE,
    USER_PROPERTIES,
    earlier_attempts,
    reason_of,
)
from deploy.checks.check import Check, Finding, Level, fail, ok, warn
from deploy.errors import PodError, TaskNotFoundError, WorkerError
from deploy.kubernetes.pods import TASK_POD_PREFIX, State, classify_pod, is_live, task_id
from deploy.session import Session
from deploy.verification import rollout
from deploy.worker_names import ALIVE_S

FIELDS = (
    "name",
    "status",
    "status_reason",
    "status_message",
    "execution.queue",
    "parent",
    "type",
    "container",
    "runtime",
    f"hyperparams.{USER_PROPERTIES}",
)


def record(session: Session, task: str) -> dict[str, Any]:
    """Return the task's record.

    Raises:
        TaskNotFoundError: There is none.
    """
    found = session.api.task(task, FIELDS)
    if found is None:
        raise TaskNotFoundError(
            f"there is no task {task} on {session.api.api_url}", hint="the id is in the task's page"
        )
    return found


def exists(session: Session, task: str) -> Finding:
    """Is there such a task, and what became of it."""
    found = record(session, task)
    text = f"task {task} ({found.get('name')}) is {found.get('status')}"
    said = reason_of(found)
    before = "".join(f"; attempt {number}: {why}" for number, why in enumerate(earlier_attempts(found), 1))
    phases = pod_records.phases_as_text(pod_records.phases_of(found))
    return ok(text + (f": {said}" if said else "") + before + (f"; its last pod: {phases}" if phases else ""))


def queued(session: Session, task: str) -> Finding:
    """Is it in a queue."""
    found = record(session, task)
    status = found.get("status")
    if status in ("created", "stopped", "failed"):
        return fail(
            f"task is {status}: it waits in no queue", "enqueue it (web page, or Task.enqueue)", WorkerError.exit_code
        )
    if status != "queued":
        return ok(f"task is {status}: it was taken from its queue")
    if found.get(ON_ITS_WAY):
        return ok("an agent has just taken the task, and is about to make its pod")
    queue = _queue(session, found)
    if queue is None:
        return fail("the task is marked as queued, but is in no queue", "reset and enqueue it", WorkerError.exit_code)
    position = queue.tasks.index(task) + 1 if task in queue.tasks else 0
    return ok(f"task is number {position} of {len(queue.tasks)} in queue {queue.name}")


def waits_for(session: Session, task: str) -> str:
    """Return what a task that has not started waits for: its place in its queue, and who serves that."""
    found, where = record(session, task), queued(session, task)
    findings = [where]
    if where.level == Level.OK and found.get("status") == "queued" and not found.get(ON_ITS_WAY):
        findings.append(served(session, task))
    texts = (f"{item.evidence} ({item.fix})" if item.level == Level.FAIL else item.evidence for item in findings)
    return "; ".join(texts)


def served(session: Session, task: str) -> Finding:
    """Does a live worker serve its queue."""
    queue = _queue(session, record(session, task))
    if queue is None:
        return ok("task waits in no queue")
    if queue.name == PODS_QUEUE:
        return ok(f"{PODS_QUEUE}: an agent has taken the task and waits for its pod")
    workers = [item for item in session.api.workers() if queue.name in item.queues]
    alive = [item.id for item in workers if item.age_s(session.now()) < ALIVE_S]
    if alive:
        return ok(f"queue {queue.name} is served by {', '.join(alive)}")
    silent = f"; silent: {', '.join(item.id for item in workers)}" if workers else ""
    other = sorted({name for item in session.api.workers() for name in item.queues if name})
    return fail(
        f"no live worker serves queue {queue.name}{silent}; served are: {', '.join(other) or 'none'}",
        f"a file in helm/queues with agentk8sglue.queue: {queue.name}, then ./task deploy-agent; "
        "or enqueue to a served queue",
        WorkerError.exit_code,
    )


def slot(session: Session, task: str) -> Finding:
    """Is there room for one more task pod."""
    limit = session.installed.max_pods
    running = _running(session)
    if limit is None:
        return ok(f"{len(running)} task pods, no limit (K8S_GLUE_MAX_PODS is not set)")
    if task in running or len(running) < limit:
        return ok(f"{len(running)} of {limit} slots are taken")
    return warn(f"all {limit} slots are taken: {', '.join(running)}", "wait, or raise K8S_GLUE_MAX_PODS")


def deadlock(session: Session, task: str) -> Finding:
    """Do controllers hold all slots that their own steps wait for."""
    limit = session.installed.max_pods
    running = _running(session)
    if limit is None or len(running) < limit or task in running:
        return ok("controllers leave a slot for their steps")
    types = {held: (session.api.task(held, ("type",)) or {}).get("type") for held in running}
    if all(kind == CONTROLLER_TYPE for kind in types.values()):
        return fail(
            f"{', '.join(running)} {'is a controller' if len(running) == 1 else 'are controllers'} and hold "
            f"{'the last slot' if limit == 1 else f'all {limit} slots'}: their steps wait for ever",
            f"raise K8S_GLUE_MAX_PODS above {limit} (agentk8sglue.extraEnvs), or run controllers on another queue",
            WorkerError.exit_code,
        )
    return ok("not all slots are held by controllers")


def pod(session: Session, task: str) -> Finding:
    """Is its pod there, and what does it wait for."""
    found = session.cluster.pod(TASK_POD_PREFIX + task)
    status = record(session, task).get("status")
    if found is None:
        if status == "queued" and _is_taken(session, task):
            if other := taken_elsewhere(session, task):
                return ok(f"no pod here: agent {other}, which is not of this release, has taken the task")
            return fail(
                "an agent took the task and made no pod (it died in between, or kubectl failed)",
                "reset the task and enqueue it again; kubectl logs of the agent tells why",
                PodError.exit_code,
            )
        if status == "in_progress" and (record(session, task).get("container") or {}).get("image"):
            return fail(
                "the task is marked as in_progress, but has no pod here: it was deleted, or another kind of worker "
                "runs the task",
                "abort or reset the task (web page), and enqueue it again",
                PodError.exit_code,
            )
        died = ((record(session, task).get("runtime") or {}).get("pod") or "") if status != "queued" else ""
        return ok(f"its last pod: {died}" if died else f"no pod (task is {status})")
    verdict = classify_pod(found, session.now())
    if verdict.state == State.FAILED:
        lines = "; ".join(rollout.evidence(session, found, verdict)[-3:])
        return fail(
            f"{found['metadata']['name']}: {verdict.reason} {verdict.message}; {lines}",
            verdict.hint(found),
            PodError.exit_code,
        )
    return ok(f"{found['metadata']['name']} is {verdict.reason or verdict.state} {verdict.message}".strip())


def image(session: Session, task: str) -> Finding:
    """Which image will it run in, and why."""
    wanted = ((record(session, task).get("container") or {}).get("image") or "").strip()
    default = session.installed.task_image
    if not wanted:
        return ok(f"{default} (the release's default)")
    return ok(f"{wanted} (named by the task" + (")" if wanted == default else f", not the default {default})"))


def checks(session: Session, task: str) -> list[Check]:
    """Return what `doctor --task` asks."""
    return [
        Check("task", "task", lambda: exists(session, task), ("keys",)),
        Check("task-queued", "task is queued", lambda: queued(session, task), ("task",)),
        Check("task-served", "its queue is served", lambda: served(session, task), ("task",)),
        Check("task-slot", "a slot is free", lambda: slot(session, task), ("task", "values", "kubernetes")),
        Check("task-deadlock", "no controller deadlock", lambda: deadlock(session, task), ("task-slot",)),
        Check("task-pod", "its pod", lambda: pod(session, task), ("task", "kubernetes")),
        Check("task-image", "its image", lambda: image(session, task), ("task", "values", "kubernetes")),
    ]


def release_of(releases: Sequence[Session], task: str) -> Session:
    """Return the release whose agent took a task, or else serves its queue; the first one where neither is known."""
    first = releases[0]
    with suppress(UserFacingError):
        queue = _queue(first, record(first, task)) if len(releases) > 1 else None
        for session in releases:
            if queue is None or queue.name == PODS_QUEUE:
                found = not taken_elsewhere(session, task)
            else:
                found = queue.name in session.installed.queues
            if found:
                return session
    return first


def _queue(session: Session, found: dict[str, Any]) -> Any:
    wanted = (found.get("execution") or {}).get("queue")
    wanted = wanted.get("id") if isinstance(wanted, dict) else wanted
    if found.get("status") != "queued":
        return None
    return next((item for item in session.api.queues() if item.id == wanted or found["id"] in item.tasks), None)


def taken_elsewhere(session: Session, task: str) -> str:
    """Return the agent that took a task, if it is another release's: all agents of a server share one pending queue."""
    worker = session.api.taken_by(task)
    return "" if not worker or session.agent.is_worker(worker) else worker


def _is_taken(session: Session, task: str) -> bool:
    pending = session.api.queue(PODS_QUEUE)
    return pending is not None and task in pending.tasks


def _running(session: Session) -> list[str]:
    """Return the tasks whose pods take a slot."""
    return [task for task in map(task_id, filter(is_live, session.cluster.task_pods())) if task]
