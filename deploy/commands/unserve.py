"""What is served in the cluster, and its end."""

from __future__ import annotations

from typing import Any

from clearml_access.errors import UserFacingError
from deploy.commands.serve import require_ours
from deploy.helm import values as v
from deploy.kubernetes.ownership import RELEASE
from deploy.kubernetes.pods import Json, classify_pod
from deploy.serving import registration
from deploy.serving.manifest import DEPLOYMENTS, service_task
from deploy.serving.removal import remove
from deploy.session import Session
from deploy.verification import rollout


def present(session: Session) -> list[str]:
    """Return what `down` would remove, as kind/name."""
    if not session.cluster.has_namespace():
        return []
    names = [f"{live['kind'].lower()}/{session.settings.release}" for live in require_ours(session).values()]
    name = f"{session.settings.release}-keys"
    secret = session.cluster.object("secrets", name)
    ours = secret and (secret["metadata"].get("labels") or {}).get(RELEASE) == session.settings.release
    return names + ([f"secret/{name}"] if ours else [])


def down(session: Session) -> list[str]:
    """Remove what `up` made in the cluster; the service stays on the server, stopped. Return what was removed.

    Raises:
        DeadlineError: Its pods do not end.
    """
    settings, cluster = session.settings, session.cluster
    removed = present(session)
    if not removed:
        return []
    deployment = cluster.deployment(settings.release)
    service = service_task(deployment) if deployment else ""
    address = _environment(deployment).get("CLEARML_DEFAULT_BASE_SERVE_URL") if deployment else None
    with cluster.exclusive(settings.release):
        remove(session)
    if address and service:
        try:
            session.api.end_serving(address, service, "./task undeploy-serve")
        except UserFacingError as error:  # its pages show the addresses until they have been silent for a while
            session.say(f"the ClearML server was not told: {error.message}")
    return removed


def status(session: Session) -> dict[str, Any]:
    """Return what is there: the pods, and the models of the service.

    A ready pod says nothing of its models: one that was deleted is answered by a process that has loaded it, and is
    not by one that starts now.
    """
    settings, cluster = session.settings, session.cluster
    body: dict[str, Any] = {
        "release": settings.release,
        "namespace": settings.namespace,
        "context": cluster.access.context,
        "installed": False,
        "ready": 0,
        "problem": "",
        "pods": [],
        "models": [],
        "models_problem": "",
        "auto_update": False,
    }
    deployment = cluster.deployment(settings.release) if cluster.has_namespace() else None
    if deployment is None or DEPLOYMENTS not in require_ours(session):
        return body
    pods = cluster.pods(rollout.selector(deployment))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    state = deployment.get("status") or {}
    failed = (item for item in state.get("conditions") or [] if item.get("type") == "ReplicaFailure")
    body |= {
        "installed": True,
        "image": container["image"],
        "replicas": deployment["spec"].get("replicas"),
        "ready": int(state.get("readyReplicas") or 0),
        "address": _environment(deployment).get("CLEARML_DEFAULT_BASE_SERVE_URL"),
        "service_id": service_task(deployment),
        "problem": next((str(item.get("message")) for item in failed if item.get("status") == "True"), ""),
        "pods": [_pod(session, pod) for pod in pods if (pod["metadata"].get("labels") or {}).get(RELEASE)],
    }
    return body | _models(session, body["service_id"], str(body["address"] or ""))


def _models(session: Session, service: str, address: str) -> dict[str, Any]:
    """Return the models that the service has, or why they are not known: the pods are shown also then."""
    try:
        found = registration.models(session, service, address)
    except UserFacingError as error:
        return {"models_problem": session.redact(error.message)}
    return {"models": found["models"], "auto_update": found["auto_update"]}


def _environment(deployment: Json) -> dict[str, str | None]:
    return v.environment(deployment["spec"]["template"]["spec"]["containers"][0], "env")


def _pod(session: Session, pod: Json) -> dict[str, Any]:
    verdict = classify_pod(pod, session.now())
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    ended = (statuses[0].get("lastState") or {}).get("terminated") or {}
    return {
        "name": pod["metadata"]["name"],
        "state": str(verdict.state),
        "reason": verdict.reason,
        "message": session.redact(verdict.message),
        "restarts": int(statuses[0].get("restartCount") or 0),
        "last_end": f"{ended.get('reason') or 'Error'} (exit code {ended.get('exitCode')})" if ended else "",
    }
