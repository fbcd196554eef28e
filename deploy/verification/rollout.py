"""Waits for the agent's pods, and stops early with the cause when they cannot become ready.

Every wait is bounded, gets its clock handed, survives an API server that restarts meanwhile, and ends with evidence:
cause, events, last log lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deploy.errors import ClusterUnreachableError, DeadlineError, PodError
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.pods import Json, State, Verdict, classify_pod
from deploy.session import Session
from deploy.waiting import Wait

EVENTS = 4


class Patience:
    """Remembers since when a failure lasts: some causes go away within their grace."""

    def __init__(self, wait: Wait) -> None:
        self._wait = wait
        self._since: dict[tuple[str, str], float] = {}

    def over(self, pod: str, verdict: Verdict) -> bool:
        """Return whether this failure lasts longer than its grace."""
        key = (pod, verdict.reason)
        self._since = {known: at for known, at in self._since.items() if known[0] != pod or known == key}
        began = self._since.setdefault(key, self._wait.seconds)
        return self._wait.seconds - began >= verdict.grace_s


def selector(deployment: Json) -> str:
    """Return a Deployment's pods as a label selector."""
    labels: Mapping[str, str] = deployment["spec"]["selector"]["matchLabels"]
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def agent_pods(cluster: Cluster, fullname: str) -> list[Json]:
    """Return the agent's pods, ending ones too."""
    deployment = cluster.deployment(fullname)
    return cluster.pods(selector(deployment)) if deployment else []


def wait_until_ready(
    session: Session,
    wait: Wait | None = None,
    *,
    name: str = "",
    what: str = "agent pod",
    is_new: Callable[[Json], bool] = lambda _: True,
) -> float:
    """Wait until the pods of a Deployment are the new ones and ready, and no other is left; return the seconds.

    Args:
        session: The run.
        wait: How long; default: the deadline for pods.
        name: The Deployment; default: the agent's.
        what: What a pod of it is called.
        is_new: Whether a pod is one that the Deployment makes now. How others fare does not matter.

    Raises:
        PodError: The pod cannot become ready; the message has cause, evidence and command.
        DeadlineError: It did not become ready in time.
    """
    wait = wait or session.wait(session.settings.deadlines.pods)
    patience = Patience(wait)
    name = name or session.settings.fullname
    last = "nothing was seen yet"
    while True:
        try:
            deployment = session.cluster.deployment(name)
            pods = session.cluster.pods(selector(deployment)) if deployment else []
            last = _look(session, name, deployment, pods, patience, what, is_new)
        except ClusterUnreachableError as error:
            last = error.message
        if not last:
            return wait.seconds
        if not wait.again():
            break
    raise DeadlineError(
        f"{what} of {name} is not ready after {wait.seconds:.0f} s: {last}",
        hint=f"kubectl -n {session.settings.namespace} describe deployment {name}",
        evidence=_last_words(session, name),
    )


def _look(
    session: Session,
    name: str,
    deployment: Json | None,
    pods: list[Json],
    patience: Patience,
    what: str,
    is_new: Callable[[Json], bool],
) -> str:
    """Return what is still missing; nothing when all is well."""
    if deployment is None:
        return f"Deployment {name} is not there"
    status, wanted = deployment.get("status") or {}, int(deployment["spec"].get("replicas") or 0)
    if int(status.get("observedGeneration") or 0) < int(deployment["metadata"]["generation"]):
        return "the Deployment was changed a moment ago"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            raise PodError(
                f"no {what} can be made: {condition.get('message')}",
                hint=f"kubectl -n {session.settings.namespace} describe deployment {name}",
            )
    ending = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
    still = f"the old pod {ending[0]['metadata']['name']} is still ending" if ending else ""
    if any(map(is_new, ending)):
        return still
    for pod in filter(is_new, pods):
        verdict = classify_pod(pod, session.now())
        if verdict.state == State.FAILED and patience.over(pod["metadata"]["name"], verdict):
            raise pod_error(session, pod, verdict)
        if verdict.state != State.READY:
            return f"pod {pod['metadata']['name']}: {verdict.reason} {verdict.message}".strip()
    if ending:
        return still
    if int(status.get("updatedReplicas") or 0) != wanted or len(pods) != wanted:
        return f"{len(pods)} of {wanted} pods are there"
    return ""


def require_alive(session: Session, patience: Patience) -> None:
    """Refuse an agent pod that was ready and fails since.

    Raises:
        PodError: With cause, evidence and command.
    """
    for pod in agent_pods(session.cluster, session.settings.fullname):
        verdict = classify_pod(pod, session.now())
        if verdict.state == State.FAILED and patience.over(pod["metadata"]["name"], verdict):
            raise pod_error(session, pod, verdict)


def pod_error(session: Session, pod: Json, verdict: Verdict, what: str = "pod") -> PodError:
    """Return the error for a pod that failed, with its events and last lines."""
    name = str(pod["metadata"]["name"])
    code = "" if verdict.exit_code is None else f" (exit code {verdict.exit_code})"
    image = f" (image {verdict.image})" if "Image" in verdict.reason or "Pull" in verdict.reason else ""
    message = f"{what} {name} cannot run: {verdict.reason}{code}{image}"
    return PodError(
        message + (f": {verdict.message}" if verdict.message else ""),
        hint=verdict.hint(pod),
        evidence=evidence(session, pod, verdict),
    )


def evidence(session: Session, pod: Json, verdict: Verdict | None = None) -> tuple[str, ...]:
    """Return a pod's last events and log lines, without secrets."""
    name, uid = str(pod["metadata"]["name"]), str(pod["metadata"].get("uid") or "")
    lines = [f"event: {text}" for text in session.cluster.events(name, uid)[-EVENTS:]]
    container = verdict.container if verdict else ""
    logs = session.cluster.log(name, container) or session.cluster.log(name, container, previous=True)
    lines += [f"log: {line}" for line in logs[-12:]]
    return tuple(session.redact(line) for line in lines)


def _last_words(session: Session, name: str) -> tuple[str, ...]:
    try:
        pods: list[Any] = agent_pods(session.cluster, name)
        return tuple(line for pod in pods[:1] for line in evidence(session, pod))
    except ClusterUnreachableError as error:
        return (error.message,)
