"""Removes the agent and everything that an install made; says what before it does it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from clearml_access.errors import UserFacingError
from deploy.errors import DeadlineError
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.ownership import Owner
from deploy.kubernetes.pods import Json, task_id
from deploy.session import Session
from deploy.verification import prove, rollout


@dataclass
class Leaving:
    """What is there to be removed, or was."""

    release: str
    namespace: str
    revision: int | None
    task_pods: list[str]
    objects: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to remove."""
        return self.revision is None and not self.objects

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def look(session: Session) -> Leaving:
    """Return what an uninstall would remove."""
    settings = session.settings
    if not session.cluster.has_namespace():
        return Leaving(settings.release, settings.namespace, None, [])
    revision = session.revision
    pods = [str(pod["metadata"]["name"]) for pod in session.cluster.task_pods()]
    objects = session.cluster.leftovers()
    return Leaving(settings.release, settings.namespace, revision.number if revision else None, pods, objects)


def uninstall(session: Session, leaving: Leaving, *, queue: bool = False, namespace: bool = False) -> Leaving:
    """Remove the release, its Secrets and its task pods, and the queue and the namespace if asked.

    Raises:
        DeadlineError: Something is still there at the end; it is named.
    """
    settings, cluster = session.settings, session.cluster
    if session.settings.dry_run or leaving.nothing:
        return leaving
    queues = _queues(session) if queue else ()
    agent = session.agent  # of the release's values, which are gone later
    with cluster.exclusive(settings.fullname):
        _stop_agent(session, leaving)
        session.helm.uninstall()
        leaving.removed.append(f"release {settings.release}")
        for name in (settings.keys_secret, settings.config_secret):
            if cluster.delete("secrets", name):
                leaving.removed.append(f"Secret {name}")
        if cluster.delete("serviceaccounts", settings.task_account):
            leaving.removed.append(f"ServiceAccount {settings.task_account}")
        for pod in cluster.task_pods():
            _stop_task(session, pod)
            leaving.removed.append(f"pod {pod['metadata']['name']}")
    _forget(session, leaving, queues, agent)
    _wait_until_gone(session, cluster)
    if namespace and not _is_shared(session) and cluster.delete_namespace_if_ours():
        wait = session.wait(60.0)
        while cluster.is_namespace_ending():
            if not wait.again():
                raise DeadlineError(
                    f"namespace {settings.namespace} is still ending after {wait.seconds:.0f} s",
                    hint=f"kubectl get namespace {settings.namespace} -o yaml",
                )
        leaving.removed.append(f"namespace {settings.namespace}")
    return leaving


def _stop_agent(session: Session, leaving: Leaving) -> None:
    """End the agent first, so that it takes no task while its surroundings vanish."""
    if session.cluster.deployment(session.settings.fullname) is None:
        return
    session.cluster.scale(session.settings.fullname, 0)
    wait = session.wait(session.settings.deadlines.old_agent)
    while rollout.agent_pods(session.cluster, session.settings.fullname):
        if not wait.again():
            for pod in rollout.agent_pods(session.cluster, session.settings.fullname):
                session.cluster.delete("pods", pod["metadata"]["name"], grace_s=0)
            break
    leaving.removed.append(f"agent pod (ended after {wait.seconds:.1f} s)")


def _stop_task(session: Session, pod: Json) -> None:
    """Stop a task before its pod goes, so that its record does not say `in progress` for ever."""
    task = task_id(pod)
    with suppress(UserFacingError):
        record = session.api.task(str(task), ("status",)) or {}
        if record.get("status") in ("queued", "in_progress"):
            session.api.call("tasks.stop", task=task, force=True, status_reason="the agent was uninstalled")
    session.cluster.delete("pods", str(pod["metadata"]["name"]), grace_s=5)


def _queues(session: Session) -> tuple[str, ...]:
    try:
        return session.installed.queues
    except UserFacingError as error:
        session.say(f"no queue is removed: {error.message}")
        return ()


def _forget(session: Session, leaving: Leaving, queues: tuple[str, ...], agent: Owner) -> None:
    """Tell the server, if it is there: it need not wait for a worker that will not return."""
    try:
        worker = prove.find_worker(session, agent)
        if worker:
            session.api.call("workers.unregister", worker=worker.id)
            leaving.removed.append(f"worker {worker.id}")
        for name in queues:
            others = prove.other_workers(session, [name], agent)
            if others:
                session.say(f"queue {name} stays: {', '.join(others)} takes tasks from it")
            elif session.api.delete_queue(name):
                leaving.removed.append(f"queue {name}")
    except UserFacingError as error:
        session.say(f"the ClearML server was not told: {error.message}")


def _is_shared(session: Session) -> bool:
    """Return whether the namespace holds something of others, and say so."""
    others = session.cluster.objects_of_others()
    if others:
        session.say(
            f"namespace {session.settings.namespace} stays, it holds what is not this release's: {_few(others)}"
        )
    return bool(others)


def _few(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _wait_until_gone(session: Session, cluster: Cluster) -> None:
    wait = session.wait(60.0)
    while left := cluster.leftovers():
        if not wait.again():
            raise DeadlineError(
                f"still there {wait.seconds:.0f} s after the uninstall: {', '.join(left)}",
                hint=f"kubectl -n {session.settings.namespace} get {left[0]} -o yaml (finalizers?)",
            )
