"""The cluster, through kubectl: what the agent asks of it, and what a refusal means for the task.

Outside system: kubectl. Nothing here knows of ClearML.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]

ANSWER_S = 15
"""The API server answers within this time, or counts as away."""


class KubectlError(Exception):
    """A call that failed; its text is the reason, as kubectl gave it."""


class AwayError(KubectlError):
    """The API server did not answer, or is not ready yet: whether it did what was asked is unknown."""


class NoRoomError(KubectlError):
    """A quota is full."""


class ExistsError(KubectlError):
    """An object of that name is there."""


class RefusedError(KubectlError):
    """The API server does not take this object."""


class UnclearError(KubectlError):
    """kubectl failed for another reason, which may pass or not."""


_ABOUT: tuple[tuple[type[KubectlError], tuple[str, ...]], ...] = (
    (NoRoomError, ("exceeded quota",)),
    (ExistsError, ("(alreadyexists)",)),
    (
        AwayError,
        (
            *("unable to connect", "connection refused", "was refused", "connection reset", "timed out", "timeout"),
            *("unexpected eof", ": eof", "etcdserver", "deadline exceeded", "connection lost", "http2:"),
            *("tls handshake", "(internalerror)", "(serviceunavailable)", "(toomanyrequests)"),
            "currently unable to handle",
            # An API server that has just started knows neither accounts nor roles; later it is not the task's fault.
            *("(unauthorized)", "you must be logged in", "cannot create resource", "no such host"),
            # Nor does it know what it serves.
            *("failed to download openapi", "server api group list", "complete list of server apis"),
            *("unable to recognize", "no matches for kind", "have a resource type"),
        ),
    ),
    (RefusedError, ("error from server", "is invalid", "validationerror", "unknown field", "strict decoding error")),
)
"""What kubectl says, in lower case, and what it means; the first that fits."""

_LOG_LINE = re.compile(r"^[EWI]\d{4} .*\n?", re.MULTILINE)
"""Of kubectl's own log; what it has to say follows."""


class Kubectl:
    """The task pods of one agent, in one namespace."""

    def __init__(self, namespace: str, selector: str) -> None:
        self._namespace = namespace
        self._selector = selector

    def create(self, manifest: Json) -> tuple[Json, list[str]]:
        """Create an object; return it as it is now, and the API server's warnings.

        Raises:
            KubectlError: By its type it says whose fault that is.
        """
        made, warnings = self._run(["create", "--filename=-", "--output=json"], json.dumps(manifest))
        return json.loads(made), [line for line in warnings.splitlines() if line.strip()]

    def pods(self) -> list[Json]:
        """Return this agent's task pods."""
        return list(json.loads(self._run(["get", "pods", "--selector", self._selector, "--output=json"])[0])["items"])

    def pod(self, name: str) -> Json | None:
        """Return one pod, whosever it is."""
        text, _ = self._run(["get", "pod", name, "--ignore-not-found", "--output=json"])
        return json.loads(text) if text.strip() else None

    def delete(self, pod: Json, grace_s: int) -> None:
        """Delete just this pod: not one that has got its name since."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_s}
        body = json.dumps({**options, "preconditions": {"uid": uid}})
        with contextlib.suppress(RefusedError):  # it is gone, or another one has its name
            self._run(["delete", f"--raw=/api/v1/namespaces/{self._namespace}/pods/{name}", "--filename=-"], body)

    def last_lines(self, name: str, count: int) -> list[str]:
        """Return the end of a pod's log; nothing where the agent's role does not include logs."""
        try:
            return self._run(["logs", name, f"--tail={count}"])[0].splitlines()
        except KubectlError:
            return []

    def events(self) -> Iterator[Json]:
        """Yield what happens to the pods, beginning with those that are there, until the API server ends the watch."""
        words = ["get", "pods", "--selector", self._selector, "--watch", "--output-watch-events", "--output=json"]
        argv = ["kubectl", "--namespace", self._namespace, *words]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watch:
            try:
                yield from documents(watch.stdout or ())
            finally:
                watch.kill()

    def _run(self, words: list[str], stdin: str = "") -> tuple[str, str]:
        # Not --request-timeout: with it, kubectl does not look for the account of the pod that it runs in.
        argv = ["kubectl", "--namespace", self._namespace, *words]
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=ANSWER_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise AwayError(f"kubectl {words[0]} got no answer within {ANSWER_S} s") from error
        if done.returncode:
            raise _error(
                _LOG_LINE.sub("", done.stderr).strip() or f"kubectl {words[0]} ended with exit code {done.returncode}"
            )
        return done.stdout, done.stderr


def _error(text: str) -> KubectlError:
    lowered = text.lower()
    for kind, marks in _ABOUT:
        if any(mark in lowered for mark in marks):
            return kind(text)
    return UnclearError(text)


def documents(lines: Iterable[str]) -> Iterator[Json]:
    """Yield the JSON objects of a stream: each on a line of its own, or over several as some kubectl write them."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip().endswith("}"):
            try:
                document = json.loads(text)
            except json.JSONDecodeError:
                continue  # an inner brace
            yield document
            text = ""
