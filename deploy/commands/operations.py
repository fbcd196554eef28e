"""The smaller commands: status, render, diff, rollback."""

from __future__ import annotations

from typing import Any

from clearml_access.errors import UserFacingError
from deploy import applied
from deploy.commands import install
from deploy.errors import ClusterError, ReleaseNotFoundError
from deploy.helm import documents
from deploy.helm.release import Capabilities
from deploy.kubernetes.pods import classify_pod
from deploy.plan import Plan
from deploy.session import Session
from deploy.verification import prove, rollout


def status(session: Session) -> dict[str, Any]:
    """Return what is there, as far as it can be seen."""
    settings = session.settings
    body: dict[str, Any] = {"release": settings.release, "namespace": settings.namespace, "revision": None}
    body |= {"context": session.cluster.access.context, "kubernetes": session.cluster.version()}
    body["applied"] = None
    body |= {"agent_pods": [], "task_pods": [], "worker": None, "queues": {}, "server": None, "unknown": []}
    body |= {"tasks": None, "is_wanted": settings.is_wanted}
    if not session.cluster.has_namespace():
        return body
    revision = session.revision
    if revision:
        known = {"number": revision.number, "status": revision.status, "chart": revision.chart}
        body["revision"] = known | {"updated": revision.updated}
        body["tasks"] = session.installed.tasks()
    elif deployment := session.cluster.deployment(settings.fullname):
        body["applied"] = {"by": applied.applied_by(deployment), "chart": applied.chart_of(deployment)}
    agents = rollout.agent_pods(session.cluster, settings.fullname)
    body["agent_pods"] = [_pod(session, pod) for pod in agents]
    body["task_pods"] = [_pod(session, pod) for pod in session.cluster.task_pods()]
    try:
        _from_server(session, body, set(session.installed.queues) if revision or body["applied"] else set())
    except UserFacingError as error:
        body["unknown"].append(error.message)
    return body


def _from_server(session: Session, body: dict[str, Any], queues: set[str]) -> None:
    worker = prove.find_worker(session)
    body["server"] = session.api.api_url
    if worker:
        seen = round(worker.age_s(session.now()), 1)
        body["worker"] = {"id": worker.id, "serves": list(worker.queues), "silent_s": seen}
    wanted = set(worker.queues if worker else ()) | queues
    waiting = {queue.name: len(queue.tasks) for queue in session.api.queues()}
    body["queues"] = {name: waiting.get(name) for name in sorted(wanted)}


def _pod(session: Session, pod: dict[str, Any]) -> dict[str, Any]:
    verdict = classify_pod(pod, session.now())
    return {
        "name": pod["metadata"]["name"],
        "state": str(verdict.state),
        "reason": verdict.reason,
        "message": session.redact(verdict.message),
        "node": pod["spec"].get("nodeName"),
    }


def render(session: Session, plan: Plan) -> str:
    """Return what the chart makes of a plan for the cluster, or for what helm assumes where none answers."""
    cluster: Capabilities | None = None
    try:
        cluster = session.capabilities
    except ClusterError as error:
        session.say(f"rendered without a cluster, for the Kubernetes version that helm assumes ({error.message})")
    return documents.text(session.helm.render(session.chart, plan.values, cluster))


def diff(session: Session) -> str:
    """Return what an upgrade would change in the release's objects; empty if nothing."""
    before = session.helm.manifest() if session.revision else []
    return documents.difference(before, session.objects if session.settings.is_wanted else [])


def rollback(session: Session, to: int | None) -> dict[str, Any]:
    """Go back to an earlier revision, and prove that it works: by that revision's own values.

    Raises:
        ReleaseNotFoundError: There is no such revision.
    """
    settings = session.settings
    history = session.helm.history()
    if not history:
        raise install.no_release(session)
    good = [item.number for item in history[:-1] if item.status in ("superseded", "deployed")]
    wanted = to if to is not None else (good[-1] if good else None)
    target = next((item for item in history if item.number == wanted), None)
    if target is None:
        known = ", ".join(f"{item.number} ({item.status})" for item in history)
        raise ReleaseNotFoundError(f"there is no revision {wanted or 'to go back to'}; there are {known}")
    if settings.dry_run:
        return {"release": settings.release, "from": history[-1].number, "would_go_back_to": target.number}
    outcome = install.Outcome(
        "rolled back", settings.release, settings.namespace, queues=session.plan_of(target).queues
    )
    with session.cluster.exclusive(settings.fullname):
        session.cluster.recreate_on_change(settings.fullname)
        for name in outcome.queues:
            if session.api.ensure_queue(name):
                session.say(f"queue {name} is made")
        install.ensure_account(session, session.plan_of(target))
        session.helm.rollback(target.number)
        install.adjust(session, session.plan_of(target))
        try:
            install.prove_agent(session, outcome, session.plan_of(target))
        except UserFacingError as error:
            done = f"release {settings.release} was rolled back to revision {target.number}; its agent was not proved"
            error.evidence = (*error.evidence, done)
            raise
    current = session.helm.revision()
    outcome.revision = current.number if current else None
    return outcome.as_json() | {"from": history[-1].number, "to": target.number}
