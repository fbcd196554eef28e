"""The Kubernetes API, as the agent's pod sees it: task pods, and what a refusal means for the task.

Plain HTTP with the account that Kubernetes mounts into the pod. A kubectl process for each call costs ten times the
CPU of the call itself, and on a busy node that is what tasks wait for. Nothing here knows of ClearML.

Outside system: the API server of the cluster that this pod runs in.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

Json = dict[str, Any]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the account's token, which changes from time to time, and the cluster's certificate."""

ANSWER_S = 15.0
"""The API server answers within this time, or counts as away."""

WATCH_S = 300
"""The API server ends a watch after this time; the next one begins at once."""

KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""A watch whose API server is gone ends after 35 s, though nobody closed the connection."""

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')

_STARTING = ("cannot create resource", "cannot list resource", "cannot get resource", "cannot watch resource")
"""An API server that has just started knows no roles; later it is not the task's fault either."""


class ClusterError(Exception):
    """A call that failed; its text is the reason, in the API server's words."""


class AwayError(ClusterError):
    """The API server did not answer, or is not ready yet: whether it did what was asked is unknown."""


class NoRoomError(ClusterError):
    """A quota is full."""


class ExistsError(ClusterError):
    """An object of that name is there."""


class RefusedError(ClusterError):
    """The API server does not take this object."""


class NotThereError(ClusterError):
    """There is no such object."""


class UnclearError(ClusterError):
    """The API server refused for another reason, which may pass or not."""


class PodApi:
    """The task pods of one agent, in one namespace. Safe to use from several threads."""

    def __init__(self, namespace: str, selector: str) -> None:
        self._path = f"/api/v1/namespaces/{quote(namespace)}/pods"
        self._selector = f"labelSelector={quote(selector)}"
        self._url = address(os.environ)
        self._http: urllib3.PoolManager | None = None

    def create(self, manifest: Json) -> tuple[Json, list[str]]:
        """Create a pod; return it as it is now, and the API server's warnings.

        Raises:
            ClusterError: By its type it says whose fault that is.
        """
        answer = self._call("POST", f"{self._path}?fieldValidation=Strict", manifest)
        warnings = [line for header in answer.headers.getlist("Warning") for line in _WARNING.findall(header)]
        return json.loads(answer.data), [f"Warning: {line}".replace('\\"', '"') for line in warnings]

    def pods(self) -> list[Json]:
        """Return this agent's task pods."""
        return list(json.loads(self._call("GET", f"{self._path}?{self._selector}").data)["items"])

    def pod(self, name: str) -> Json | None:
        """Return one pod, whosever it is."""
        try:
            return dict(json.loads(self._call("GET", f"{self._path}/{quote(name)}").data))
        except NotThereError:
            return None

    def delete(self, pod: Json, grace_s: int) -> None:
        """Delete just this pod: not one that has got its name since."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_s}
        body = {**options, "preconditions": {"uid": pod["metadata"]["uid"]}}
        try:
            self._call("DELETE", f"{self._path}/{quote(pod['metadata']['name'])}", body)
        except (NotThereError, UnclearError):
            return  # it is gone, or another one has its name

    def last_lines(self, name: str, count: int) -> list[str]:
        """Return the end of the log of a task's container; nothing where the agent's role does not include logs."""
        words = f"container={quote(name)}&tailLines={count}"
        try:
            log: bytes = self._call("GET", f"{self._path}/{quote(name)}/log?{words}").data
        except ClusterError:
            return []
        return log.decode(errors="replace").splitlines()

    def events(self) -> Iterator[Json]:
        """Yield what happens to the pods, beginning with those that are there, until the API server ends the watch.

        Raises:
            ClusterError: The watch was refused, or broke off.
        """
        path = f"{self._path}?{self._selector}&watch=true&timeoutSeconds={WATCH_S}"
        watch = self._call("GET", path, stream=True, read_s=WATCH_S + ANSWER_S)
        try:
            for event in documents(watch.stream()):
                if event.get("type") == "ERROR":
                    raise UnclearError(str((event.get("object") or {}).get("message")))
                yield event
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise AwayError(f"the watch of the pods broke off: {error}") from error
        finally:
            watch.close()

    def _call(
        self, method: str, path: str, body: Json | None = None, *, stream: bool = False, read_s: float = ANSWER_S
    ) -> Any:
        headers = {"Accept": "application/json, */*"} | ({"Content-Type": "application/json"} if body else {})
        try:
            headers["Authorization"] = f"Bearer {(ACCOUNT / 'token').read_text(encoding='ascii').strip()}"
            answer = self._pool().request(
                method,
                self._url + path,
                body=json.dumps(body).encode() if body else None,
                headers=headers,
                preload_content=not stream,
                timeout=urllib3.Timeout(connect=ANSWER_S, read=read_s),
            )
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise AwayError(f"{self._url} does not answer: {error}") from error
        if answer.status >= 300:
            raise refusal(answer.status, answer.data)
        return answer

    def _pool(self) -> urllib3.PoolManager:
        # The API server is asked directly: neither proxies nor .netrc of the environment count inside the cluster.
        if self._http is None:
            self._http = urllib3.PoolManager(
                maxsize=4,
                retries=False,
                cert_reqs="CERT_REQUIRED",
                ca_certs=str(ACCOUNT / "ca.crt"),
                socket_options=KEEPALIVE,
            )
        return self._http


def address(environ: Mapping[str, str]) -> str:
    """Return where the API server is, as Kubernetes tells each pod."""
    host = environ.get("KUBERNETES_SERVICE_HOST") or "kubernetes.default.svc"
    port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def refusal(status: int, body: bytes) -> ClusterError:
    """Return what a refusal means."""
    try:
        found = json.loads(body)
        reason, text = str(found.get("reason")), str(found["message"])
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ):  # not of the API server itself, or of one that is not ready
        return AwayError(f"the API server answered {status}: {body[:200].decode(errors='replace')}")
    return _kind(status, reason, text)(text)


def _kind(status: int, reason: str, text: str) -> type[ClusterError]:
    if "exceeded quota" in text:
        return NoRoomError
    if reason == "AlreadyExists":
        return ExistsError
    if "request is too large" in text:  # a 500 of the API server: the store behind it takes 1.5 MB
        return RefusedError
    if status in (401, 408, 429) or status >= 500 or any(mark in text for mark in _STARTING):
        return AwayError
    if status == 404:
        return NotThereError
    # A conflict at a creation is that of several pods that are counted against a quota at once.
    return UnclearError if status == 409 else RefusedError


def documents(chunks: Iterable[bytes]) -> Iterator[Json]:
    """Yield the JSON objects of a stream, one a line, however it is cut."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
