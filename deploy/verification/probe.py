"""Asks from inside a pod what only a pod can know: is the image there, which Python is in it, is the server reachable.

A short-lived pod is made from each image and removed again. It gets no keys: that they are good is seen from here, and
that pods have them is proved by the worker that registers.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clearml_access.errors import ServerUnreachableError, UserFacingError
from deploy import planned_pods
from deploy.errors import ClusterError, DeadlineError
from deploy.kubernetes.pods import Json, State, classify_pod
from deploy.pod_values import POD_KEYS
from deploy.session import Session
from deploy.verification.admission import create_pod
from deploy.verification.rollout import Patience, pod_error

# Runs in any Python 3.6: the chart's own image has no newer one. Proxies and certificates are those of the pod's
# environment, as for the SDK.
SCRIPT = """
import json, os, ssl, sys, time, urllib.request
answer = {"python": sys.version.split()[0]}
trust = ssl.create_default_context()
for own in filter(None, map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))):
    trust.load_verify_locations(**{"capath" if os.path.isdir(own) else "cafile": own})
if os.environ.get("CLEARML_API_HOST_VERIFY_CERT", "").lower() in ("0", "false", "no"):
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
for name, url in json.loads(sys.argv[1]).items():
    began = time.time()
    try:
        answer[name] = urllib.request.urlopen(url, timeout=8, context=trust).status
    except Exception as error:
        answer[name] = getattr(error, "code", None) or str(getattr(error, "reason", error))
    answer[name + "_s"] = round(time.time() - began, 2)
try:
    from importlib.metadata import version
    answer["agent"] = version("clearml-agent")
except Exception:
    answer["agent"] = None
print("PROBE " + json.dumps(answer))
"""
MARK = "PROBE "


@dataclass(frozen=True)
class Seen:
    """What a pod of one image saw."""

    image: str
    python: str
    api: Any
    """HTTP status of the API's ping, or what went wrong."""

    web: Any
    files: Any
    seconds: float


def name(session: Session, role: str) -> str:
    """Return the name of the pod that asks for the image of a role."""
    return f"{session.settings.fullname}-probe-{role}"


def start(session: Session, role: str, image: str) -> None:
    """Make the pod that asks, like the agent's pod or like a task's."""
    plan, pod = session.plan, name(session, role)
    session.cluster.delete("pods", pod, grace_s=0)
    urls = {"api": f"{plan.urls['api']}/debug.ping", "web": f"{plan.urls['web']}/", "files": f"{plan.urls['files']}/"}
    container = {
        "name": "probe",
        "image": image,
        # The name python3 is in every image that can run a task.
        "command": ["python3", "-c", SCRIPT, json.dumps(urls)],
        "imagePullPolicy": "IfNotPresent",
    }
    coming = planned_pods.made(session.objects, plan.makes)
    like = planned_pods.spec(session.objects, role, plan.task_account)
    limits = [limit for item in session.cluster.rules("limitranges") or [] for limit in item["spec"]["limits"]]
    spec = {
        **planned_pods.probe(
            like, coming, container, [item for item in limits if item["type"] == "Container"], POD_KEYS
        ),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "activeDeadlineSeconds": int(session.settings.deadlines.probe) + 60,
    }
    make(session, pod, spec)


def make(session: Session, pod: str, spec: Json) -> None:
    """Make a pod in place of one of that name that may still be ending."""
    wait = session.wait(session.settings.deadlines.probe)
    while True:
        try:
            create_pod(session, pod, spec)
            return
        except ClusterError:  # the last one is still going
            if session.cluster.pod(pod) is None or not wait.again():
                raise


def finish(session: Session, name: str, image: str) -> Seen:
    """Wait for the pod's answer.

    Raises:
        PodError: The image cannot be pulled, or the pod cannot run.
        DeadlineError: No answer in time.
    """
    answer, seconds = answer_of(session, name, image, session.settings.deadlines.probe)
    return Seen(
        image=image,
        python=str(answer.get("python", "?")),
        api=answer.get("api", "no answer"),
        web=answer.get("web", "no answer"),
        files=answer.get("files", "no answer"),
        seconds=seconds,
    )


def answer_of(session: Session, name: str, image: str, deadline_s: float) -> tuple[Json, float]:
    """Wait until a pod has ended; return what it printed behind `MARK`, and the seconds.

    Raises:
        PodError: The image cannot be pulled, or the pod cannot run.
        DeadlineError: It does not end in time.
    """
    wait = session.wait(deadline_s, poll_s=0.4)
    patience = Patience(wait)
    while True:
        pod: Json = session.cluster.pod(name) or {"metadata": {"name": name}}
        verdict = classify_pod(pod, session.now())
        if verdict.state == State.DONE:
            lines = session.cluster.log(name, tail=None)
            found = (json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK))
            return next(found, {}), wait.seconds
        if verdict.state == State.FAILED and patience.over(name, verdict):
            raise pod_error(session, pod, verdict, "probe pod")
        if not wait.again():
            raise DeadlineError(
                f"probe pod {name} of image {image} did not end within {wait.seconds:.0f} s: "
                f"{verdict.reason} {verdict.message}",
                hint=f"kubectl -n {session.settings.namespace} get events; give the node the image beforehand",
                evidence=tuple(session.cluster.events(name, str(pod["metadata"].get("uid") or ""))[-4:]),
            )


def remove(session: Session, name: str) -> None:
    """Delete the pod, if the cluster can be asked for it."""
    with suppress(UserFacingError):
        session.cluster.delete("pods", name, grace_s=0)


def require_reachable(seen: Seen, url: str) -> None:
    """Refuse a server that a pod cannot reach.

    Raises:
        ServerUnreachableError: With what the pod saw.
    """
    if seen.api != 200:
        if "certificate" in str(seen.api).lower():
            raise ServerUnreachableError(
                f"a pod of image {seen.image} does not trust ClearML server {url}: {seen.api}",
                hint="mount the company's certificates (volumes and volumeMounts of agentk8sglue and of its "
                "basePodTemplate), and set REQUESTS_CA_BUNDLE to their file (extraEnvs, basePodTemplate.env)",
            )
        raise ServerUnreachableError(
            f"ClearML server {url} cannot be reached from a pod: {seen.api}",
            hint="bind the server to an address of this machine that pods reach (localserver --host …), open the "
            "firewall (./task doctor shows NetworkPolicies), or set agentk8sglue.apiServerUrlReference to the address "
            "that pods should use",
        )
