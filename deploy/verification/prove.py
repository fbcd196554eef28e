"""Proves that an agent works: its worker is registered and serves the queue, and a canary task goes through as a pod.

Ready means only that a process runs. An agent whose queue is gone or whose keys were revoked is Ready for ever.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearml_access.api import Worker
from clearml_access.errors import UserFacingError
from clearml_access.tasks import has_ended, reason_of
from deploy.errors import CanaryError, ClusterError, ClusterUnreachableError, WorkerError
from deploy.kubernetes.ownership import Owner
from deploy.kubernetes.pods import TASK_POD_PREFIX, State, classify_pod
from deploy.session import Session
from deploy.verification import rollout
from deploy.verification.rollout import Patience, agent_pods, evidence, pod_error
from deploy.worker_names import ALIVE_S

PROJECT = "clearml-pods/canary"
CODE = """\
import json, os, platform
print("CANARY " + json.dumps({{
    "nonce": "{nonce}",
    "python": platform.python_version(),
    "host": platform.node(),
    "uid": os.getuid(),
}}), flush=True)
"""
MARK = "CANARY "

ROUND_END = "sleeping for"

LOG_CAUSES = (
    ("Invalid queue id", "its queue was deleted", "./task deploy-agent (makes the queue again and restarts the agent)"),
    ("Unauthorized", "the server refuses its keys", "make new keys, put them into clearml.conf, ./task deploy-agent"),
    (r"\b401\b", "the server refuses its keys", "make new keys, put them into clearml.conf, ./task deploy-agent"),
    ("Could not find queue", "its queue does not exist", "./task deploy-agent makes it"),
    ("unrecognized arguments", "its image is older than the chart", "take the image of helm/values-agent.yaml"),
    (
        r"is forbidden: User .* cannot \w+ resource",
        "the cluster refuses its account what it does",
        "./task deploy-agent (makes its Role and RoleBinding again)",
    ),
    ("Connection refused", "the server does not answer it", "./task doctor"),
    ("Name or service not known", "it cannot resolve the server's name", "./task doctor"),
    ("Max retries exceeded", "the server does not answer it", "./task doctor"),
)
"""What a glue that works for nobody writes (a regular expression: an id may hold "401") → what that means → what fixes
it. The most telling ones come first."""


@dataclass(frozen=True)
class Canary:
    """A canary that came through, with its times."""

    task: str
    pod_s: float
    """From enqueue until its pod was there."""

    started_s: float
    completed_s: float
    python: str


def find_worker(session: Session, agent: Owner | None = None) -> Worker | None:
    """Return the release's agent among the server's workers, by default the installed one: what was seen last."""
    agent = agent or session.agent
    found = [worker for worker in session.api.workers() if agent.is_agent(worker.id)]
    return max(found, key=lambda worker: worker.last_seen.timestamp() if worker.last_seen else 0.0, default=None)


def other_workers(session: Session, queues: Iterable[str], agent: Owner | None = None) -> list[str]:
    """Return the live workers of others than the agent, by default the installed one, that serve these queues."""
    wanted, agent = set(queues), agent or session.agent
    return [
        worker.id
        for worker in session.api.workers()
        if wanted & set(worker.queues) and worker.age_s(session.now()) < ALIVE_S and not agent.is_worker(worker.id)
    ]


def log_cause(lines: list[str]) -> tuple[str, str, str] | None:
    """Return what in the last round of an agent's log says why it works for nobody: line, meaning and fix.

    Every round ends with "sleeping for …", also one in which the server refused the question.
    """
    rounds = [index for index, line in enumerate(lines) if ROUND_END in line]
    last = lines[rounds[-2] + 1 :] if len(rounds) > 1 else lines
    for line in reversed(last):
        for text, meaning, fix in LOG_CAUSES:
            if re.search(text, line):
                return line.strip(), meaning, fix
    return None


def wait_for_worker(session: Session, since: datetime, queues: Sequence[str], agent: Owner) -> tuple[float, float]:
    """Wait until an agent's worker is registered, and until it serves all of `queues`; return the seconds of both.

    Raises:
        WorkerError: It does not, in time; the evidence is the agent's log.
        PodError: Its pod fails meanwhile.
    """
    wait = session.wait(session.settings.deadlines.worker)
    patience = Patience(wait)
    wanted = set(queues)
    registered = None
    seen = "no worker of that name"
    while True:
        worker = find_worker(session, agent)
        fresh = worker is not None and worker.last_seen is not None and worker.last_seen >= since
        if worker is not None and fresh:
            registered = wait.seconds if registered is None else registered
            if wanted <= set(worker.queues):
                return registered, wait.seconds
            seen = f"worker {worker.id} serves {', '.join(worker.queues) or 'nothing'}"
        elif worker is not None:
            seen = f"worker {worker.id} was last seen {worker.last_seen}, before this agent pod"
        with suppress(ClusterUnreachableError):  # it may restart; the deadline counts on
            rollout.require_alive(session, patience)
        if not wait.again():
            break
    raise worker_error(session, queues, f"after {wait.seconds:.0f} s: {seen}")


def worker_error(session: Session, queues: Sequence[str], seen: str) -> WorkerError:
    """Return the error of an agent that does not serve its queues, with what its log says."""
    pods = agent_pods(session.cluster, session.settings.fullname)
    lines = session.cluster.log(pods[0]["metadata"]["name"], "k8s-glue", tail=40) if pods else []
    cause = log_cause(lines)
    message = f"agent {session.settings.fullname} does not serve queue {', '.join(queues)} {seen}"
    return WorkerError(
        message + (f"; {cause[1]}" if cause else ""),
        hint=cause[2] if cause else "./task doctor",
        evidence=tuple(session.redact(f"log: {line}") for line in lines[-10:]),
    )


def canary(session: Session, queue_name: str) -> Canary:
    """Send a task through a queue and wait until it has come through as a pod.

    Raises:
        CanaryError: It failed, or took too long.
        PodError: Its pod cannot run.
    """
    nonce = secrets.token_hex(8)
    queue = session.api.queue(queue_name)
    if queue is None:
        raise WorkerError(f"queue {queue_name} is gone", hint="./task deploy-agent makes it")
    code = CODE.format(nonce=nonce)
    task = session.api.create_task(f"canary {nonce[:6]}", PROJECT, code, ["clearml-pods-canary"])
    try:
        session.api.enqueue(task, queue.id)
        seen = _follow(session, task, nonce, queue_name)
    except BaseException:
        _drop(session, task, keep_record=True)
        raise
    _drop(session, task, keep_record=False)
    return seen


def _follow(session: Session, task: str, nonce: str, queue_name: str) -> Canary:
    wait = session.wait(session.settings.deadlines.canary, poll_s=0.4)
    patience = Patience(wait)
    pod_s = started_s = 0.0
    pod: dict[str, Any] | None = None
    traces: tuple[str, ...] = ()
    while True:
        record = session.api.task(task, ("status", "started")) or {}
        status = str(record.get("status"))
        latest = _pod(session, task)
        if latest is not None:
            pod, pod_s = latest, pod_s or wait.seconds
            verdict = classify_pod(pod, session.now())
            if verdict.state == State.FAILED:
                traces = evidence(session, pod, verdict) or traces
                if patience.over(task, verdict):
                    raise pod_error(session, pod, verdict, "canary pod")
        if status == "in_progress":
            started_s = started_s or wait.seconds
        if status == "completed":
            return Canary(task, pod_s, started_s or wait.seconds, wait.seconds, _python(session, task, nonce))
        if has_ended(record):
            raise CanaryError(
                f"canary task {task} ended as {status}: {reason_of(record)}",
                hint=f"./task logs -- {task}",
                evidence=traces or tuple(session.redact(line) for line in session.api.console(task)[-12:]),
            )
        if not wait.again():
            break
    where = f"its pod is {classify_pod(pod, session.now()).reason}" if pod else "no pod was made for it"
    raise CanaryError(
        f"canary task {task} is {status} after {wait.seconds:.0f} s, {where}",
        hint=f"./task doctor -- --task {task}",
        evidence=evidence(session, pod) if pod else worker_error(session, (queue_name,), "").evidence,
    )


def _pod(session: Session, task: str) -> dict[str, Any] | None:
    with suppress(ClusterError):
        return session.cluster.pod(TASK_POD_PREFIX + task)
    return None


def _python(session: Session, task: str, nonce: str) -> str:
    """Return the Python that the canary ran in, from its console, which may come a moment after its end."""
    wait = session.wait(10.0)
    while True:
        for line in session.api.console(task):
            if MARK in line and nonce in line:
                return str(json.loads(line.partition(MARK)[2])["python"])
        if not wait.again():
            raise CanaryError(
                f"canary task {task} completed, but its console does not contain what it printed",
                hint=f"./task logs -- {task}",
            )


def _drop(session: Session, task: str, *, keep_record: bool) -> None:
    """Leave no canary behind: not in the queue, not as a pod; a failed one's record stays to be read."""
    with suppress(UserFacingError):
        if keep_record:
            if not has_ended(session.api.task(task, ("status",)) or {}):
                session.api.call("tasks.stop", task=task, force=True, status_reason="canary given up")
            session.cluster.delete("pods", TASK_POD_PREFIX + task, grace_s=0)
        else:
            session.api.delete_task(task)


def parse_start(pod: dict[str, Any]) -> datetime:
    """Return when a pod's containers could first have run."""
    return datetime.fromisoformat(str(pod["status"].get("startTime") or pod["metadata"]["creationTimestamp"]))
