"""Proves from inside a pod: that the image is there and the server is reached, and that a served model answers.

Short-lived pods of the serving image, like the serving ones but without keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from clearml_access.errors import ServerUnreachableError, UserFacingError
from clearml_access.registered import Registered
from deploy import planned_pods
from deploy.errors import DeadlineError, PodError, ServedAnswerError
from deploy.kubernetes.pods import OUT_OF_MEMORY, Json, State, Verdict, classify_pod
from deploy.serving.manifest import KEYS, Manifest
from deploy.session import Session
from deploy.verification import probe
from deploy.verification.rollout import evidence, pod_error, selector

ASK = """
import json, sys, time, urllib.error, urllib.request
asked = json.loads(sys.argv[1])
end = time.monotonic() + asked["seconds"]
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
answer = {}
for url in asked["urls"]:
    while True:
        final = False
        try:
            body = json.dumps(asked["request"]).encode()
            message = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with open_url(message, timeout=20) as reply:
                found = json.load(reply)
            first = found["predictions"][0]
            seen = [first["label"], first["probability"], found["model_id"]]
            wrong = "" if seen == asked["expected"] else "answers %s (%s) by model %s" % tuple(seen)
        except urllib.error.HTTPError as error:
            wrong = "HTTP %d: %s" % (error.code, error.read()[:300].decode(errors="replace"))
            final = error.code == 422  # the model's file cannot be read
        except Exception as error:
            wrong = "no answer: %s" % (getattr(error, "reason", None) or error)
        if not wrong:
            break
        if final or time.monotonic() > end:
            answer = {"url": url, "wrong": wrong}
            break
        time.sleep(0.5)
    if answer:
        break
print("PROBE " + json.dumps(answer or {"ok": True}))
"""

SYNC_S = 45
"""How long the process may take to work by a change: it looks every 3 s, fetches the model, and loads it."""

HINTS = {
    OUT_OF_MEMORY: "give it more memory: --set resources.limits.memory=4Gi",
    **dict.fromkeys(
        ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"),
        "build the image (./task build-image -- serving) and give it to the nodes, or push it to a registry and name "
        "it: --set image=REGISTRY/NAME:TAG",
    ),
}

UNREACHED = (
    "bind the server to an address of this machine that pods reach (localserver --host …), allow it in the namespace's "
    "NetworkPolicies (./task doctor shows them), or name the address that pods should use: --set server.api=URL"
)
UNTRUSTED = (
    "mount the company's certificates (volumes and volumeMounts of helm/values-serving.yaml), and set "
    "REQUESTS_CA_BUNDLE to their file (env)"
)


def pods(release: str) -> tuple[str, str]:
    """Return the names of the pods that ask: for the server, and for an answer."""
    return f"{release}-probe-server", f"{release}-probe-request"


def require_reachable(session: Session, manifest: Manifest) -> str:
    """Refuse an image that is not there, or a server that a pod does not reach; return the image's Python.

    Raises:
        PodError: The image cannot be pulled.
        ServerUnreachableError: With what the pod saw.
    """
    name, _ = pods(manifest.release)
    urls = {"api": f"{manifest.urls['api']}/debug.ping"}
    command = ["python3", "-c", probe.SCRIPT, json.dumps(urls)]
    probe.remove(session, name)  # one that a command which was killed has left
    try:
        probe.make(session, name, _spec(session, manifest, command, session.settings.deadlines.probe))
        seen = probe.finish(session, name, manifest.image)
    except PodError as error:
        raise _with_hint(error) from None
    finally:
        probe.remove(session, name)
    try:
        probe.require_reachable(seen, manifest.urls["api"])
    except ServerUnreachableError as error:
        error.hint = UNTRUSTED if "certificate" in error.message else UNREACHED
        raise
    return seen.python


def require_answer(session: Session, manifest: Manifest, model: Registered) -> float:
    """Ask the served model from a pod, at each of its addresses; return the seconds.

    Raises:
        ServedAnswerError: It does not answer as the model itself does.
        PodError: The process was killed, or the asking pod cannot run.
    """
    _, name = pods(manifest.release)
    asked = {
        "urls": [f"{manifest.host}/serve/{path}" for path in model.paths],
        "request": model.request,
        "expected": model.expected,
        "seconds": SYNC_S,
    }
    seconds = session.settings.deadlines.probe + SYNC_S
    probe.remove(session, name)  # one that a command which was killed has left
    try:
        probe.make(session, name, _spec(session, manifest, ["python3", "-c", ASK, json.dumps(asked)], seconds))
        answer, took = probe.answer_of(session, name, manifest.image, seconds)
    finally:
        probe.remove(session, name)
    if answer.get("ok"):
        return took
    raise _cause(session, manifest, model, answer)


def ready_error(error: UserFacingError, session: Session, manifest: Manifest) -> UserFacingError:
    """Return the error of a rollout, with what to do about it here."""
    if isinstance(error, DeadlineError):
        return next(_killed(session, manifest), error)
    return _with_hint(error) if isinstance(error, PodError) else error


def _cause(session: Session, manifest: Manifest, model: Registered, answer: Mapping[str, Any]) -> UserFacingError:
    """Return why a served model does not answer: what became of its process, or what it said."""
    for killed in _killed(session, manifest):
        return killed
    wrong = str(answer.get("wrong") or "the pod printed no answer")
    hint = "./task deploy-serve -- --status; kubectl -n {} logs deployment/{}"
    if wrong.startswith("no answer"):
        hint = "does a NetworkPolicy keep pods from each other (./task doctor shows them)? " + hint
    pods = session.cluster.pods(",".join(f"{key}={value}" for key, value in manifest.selector.items()))
    return ServedAnswerError(
        f"a pod asked {answer.get('url', manifest.host)} for model {model.model_id}: {session.redact(wrong)}",
        hint=hint.format(manifest.namespace, manifest.release),
        evidence=tuple(line for pod in pods[:1] for line in evidence(session, pod)),
    )


def _killed(session: Session, manifest: Manifest) -> Iterator[PodError]:
    """Yield an error for each pod whose process has ended: a restarted one is Ready again."""
    deployment = session.cluster.deployment(manifest.release)
    for pod in session.cluster.pods(selector(deployment)) if deployment else []:
        if not manifest.is_new(pod) or pod["metadata"].get("deletionTimestamp"):
            continue
        verdict = classify_pod(pod, session.now())
        (status, *_) = (pod.get("status") or {}).get("containerStatuses") or [{}]
        last = (status.get("lastState") or {}).get("terminated") or {}
        if verdict.state != State.FAILED and last:
            reason = OUT_OF_MEMORY if last.get("reason") == OUT_OF_MEMORY else "Error"
            verdict = Verdict(State.FAILED, reason, "", str(status["name"]), str(status["image"]), last.get("exitCode"))
        if verdict.state == State.FAILED:
            yield _with_hint(pod_error(session, pod, verdict, "serving pod"))


def _with_hint(error: PodError) -> PodError:
    error.hint = next((hint for reason, hint in HINTS.items() if reason in error.message), error.hint)
    return error


def _spec(session: Session, manifest: Manifest, command: list[str], seconds: float) -> Json:
    """Return a pod that runs a command, like the serving one."""
    container = {"name": "probe", "image": manifest.image, "command": command, "imagePullPolicy": "IfNotPresent"}
    limits = [limit for item in session.cluster.rules("limitranges") or [] for limit in item["spec"]["limits"]]
    kept = [item for item in limits if item["type"] == "Container"]
    return {
        **planned_pods.probe(manifest.pod_spec(), frozenset(), container, kept, KEYS),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "activeDeadlineSeconds": int(seconds) + 60,
    }
