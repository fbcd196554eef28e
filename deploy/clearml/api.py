"""The ClearML API by plain HTTP: who we are, queues, workers, tasks, console. The only module that talks to it.

It must not wait for anything to happen; every call has a deadline of its own.
Outside system: a ClearML server, genuine or `localserver`.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearml_access.credentials import Secret, Server
from clearml_access.errors import CredentialsError, ServerError, ServerUnreachableError

TIMEOUT_S = 10.0
TRIES = 2
RETRY_S = 0.5

_UNSET = "python -m deploy doctor"


@dataclass(frozen=True)
class Worker:
    """What the server knows of a worker."""

    id: str
    queues: tuple[str, ...]
    """Names of the queues that it polls."""

    last_seen: datetime | None
    task: str | None

    def age_s(self, now: datetime) -> float:
        """Return how long it has been silent."""
        return (now - self.last_seen).total_seconds() if self.last_seen else float("inf")


@dataclass(frozen=True)
class Queue:
    """A queue and what waits in it."""

    id: str
    name: str
    tasks: tuple[str, ...]


class ClearmlApi:
    """One server, one pair of keys."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._token: Secret | None = None

    @property
    def url(self) -> str:
        """Address of the API."""
        return self._server.api

    # -- the server and we

    def ping(self) -> None:
        """Ask whether the server is there.

        Raises:
            ServerUnreachableError: It is not, or is something else.
        """
        self._post("debug.ping", {}, authorization=None)

    def login(self) -> dict[str, Any]:
        """Log in and return the token's claims.

        Raises:
            CredentialsError: The server refuses the keys.
        """
        pair = f"{self._server.access_key}:{self._server.secret_key}"
        basic = "Basic " + base64.b64encode(pair.encode()).decode()
        self._token = Secret(self._post("auth.login", {}, authorization=basic)["token"])
        return claims(self._token)

    def server_version(self) -> str:
        """Return the server's version; empty if it does not say."""
        return str(self.call("server.info").get("version") or "")

    def call(self, endpoint: str, **body: Any) -> dict[str, Any]:
        """Call an endpoint and return its data.

        Raises:
            ServerError: The server answered with an error, or not at all.
        """
        if self._token is None:
            self.login()
        try:
            return self._post(endpoint, body, authorization=f"Bearer {self._token!s}")
        except CredentialsError:
            self.login()  # a token ages; the keys may still be good
            return self._post(endpoint, body, authorization=f"Bearer {self._token!s}")

    # -- queues and workers

    def queue(self, name: str) -> Queue | None:
        """Return a queue by its exact name."""
        found = self.call("queues.get_all", name=f"^{_literal(name)}$").get("queues") or []
        return next((_queue(item) for item in found if item.get("name") == name), None)

    def queues(self) -> list[Queue]:
        """Return all queues, those of the Kubernetes glue too, which a server lists only when asked to."""
        return [_queue(item) for item in self.call("queues.get_all", search_hidden=True).get("queues") or []]

    def ensure_queue(self, name: str) -> bool:
        """Make a queue if there is none; return whether it was made."""
        if self.queue(name):
            return False
        self.call("queues.create", name=name)
        return True

    def delete_queue(self, name: str) -> bool:
        """Delete a queue if there is one."""
        queue = self.queue(name)
        if queue is None:
            return False
        self.call("queues.delete", queue=queue.id, force=True)
        return True

    def workers(self) -> list[Worker]:
        """Return the workers that the server counts as alive."""
        return [
            Worker(
                id=str(item.get("id", "")),
                queues=tuple(str(queue.get("name", "")) for queue in item.get("queues") or []),
                last_seen=parse_time(item.get("last_activity_time")),
                task=(item.get("task") or {}).get("id"),
            )
            for item in self.call("workers.get_all").get("workers") or []
        ]

    # -- tasks

    def task(self, task_id: str, fields: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """Return a task's record, or the named fields of it."""
        body: dict[str, Any] = {"id": [task_id]}
        if fields:
            body["only_fields"] = [*fields, "id"]
        found = self.call("tasks.get_all", **body).get("tasks") or []
        return dict(found[0]) if found else None

    def children(self, task_id: str) -> list[dict[str, Any]]:
        """Return the tasks of a pipeline: those whose parent it is, oldest first."""
        fields = ["id", "name", "status", "status_reason", "status_message", "execution.queue", "created", "type"]
        body = {"parent": task_id, "only_fields": fields, "order_by": ["created"]}
        return [dict(task) for task in self.call("tasks.get_all", **body).get("tasks") or []]

    def find_tasks(self, text: str) -> list[dict[str, Any]]:
        """Return tasks and pipelines by name, newest first; the SDK numbers a pipeline's later runs: `name #2`."""
        fields = ["id", "name", "status", "type", "created"]
        body = {"name": f"^{_literal(text)}( #[0-9]+)?$", "only_fields": fields, "order_by": ["-created"], "page": 0}
        body |= {"page_size": 5, "system_tags": ["__$any", "pipeline", "-archived"]}
        found = self.call("tasks.get_all", **body).get("tasks") or []
        if not found:
            body.pop("system_tags")
            found = self.call("tasks.get_all", **body).get("tasks") or []
        return [dict(task) for task in found]

    def create_task(self, name: str, project: str, code: str, tags: list[str]) -> str:
        """Make a task that runs `code`, a Python script that needs nothing."""
        projects = self.call("projects.get_all", name=f"^{_literal(project)}$").get("projects") or []
        exact = [item["id"] for item in projects if item.get("name") == project]
        made = exact[0] if exact else self.call("projects.create", name=project, description="")["id"]
        body = {
            "name": name,
            "project": made,
            "type": "testing",
            "tags": tags,
            "script": {
                "repository": "",
                "entry_point": "canary.py",
                "working_dir": ".",
                "diff": code,
                "requirements": {"pip": ""},
            },
        }
        return str(self.call("tasks.create", **body)["id"])

    def enqueue(self, task_id: str, queue_id: str) -> None:
        """Put a task into a queue."""
        self.call("tasks.enqueue", task=task_id, queue=queue_id)

    def delete_task(self, task_id: str) -> None:
        """Delete a task whatever its state."""
        self.call("tasks.delete", task=task_id, force=True)

    def console(self, task_id: str) -> list[str]:
        """Return a task's whole console, line by line."""
        lines: list[str] = []
        body: dict[str, Any] = {"task": task_id, "order": "asc", "batch_size": 5000, "navigate_earlier": False}
        seen: set[str] = set()
        while True:
            page = self.call("events.get_task_log", **body)
            fresh = [event for event in page.get("events") or [] if str(event.get("_id", event)) not in seen]
            seen |= {str(event.get("_id", event)) for event in fresh}
            for event in fresh:
                lines += str(event.get("msg", "")).splitlines()
            if not fresh or len(seen) >= int(page.get("total") or 0):
                return lines
            body["from_timestamp"] = fresh[-1]["timestamp"]

    def record(self, task_id: str, worker: str, line: str, runtime: dict[str, Any]) -> None:
        """Write a fact about a task onto its record: its console, its message, its runtime."""
        self.call(
            "events.add",
            type="log",
            task=task_id,
            worker=worker,
            level="error",
            msg=line,
            timestamp=int(time.time() * 1000),
        )
        before = (self.task(task_id, ("runtime",)) or {}).get("runtime") or {}
        self.call("tasks.edit", task=task_id, force=True, runtime={**before, **runtime})

    # -- HTTP

    def _post(self, endpoint: str, body: dict[str, Any], *, authorization: str | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "X-ClearML-Client": "clearml-pods-deploy"}
        if authorization:
            headers["Authorization"] = authorization
        url = f"{self._server.api.rstrip('/')}/{endpoint}"
        try:
            request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310
        except ValueError as error:
            raise ServerUnreachableError(f"{self._server.api!r} is not an address: {error}", hint=_UNSET) from error
        for attempt in range(TRIES):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  # http(s) by setting
                    return dict(json.loads(response.read()).get("data") or {})
            except urllib.error.HTTPError as error:
                raise self._refused(endpoint, error.code, error.read()) from error
            except (urllib.error.URLError, OSError, ValueError) as error:
                if attempt + 1 < TRIES:
                    time.sleep(RETRY_S)
                    continue
                reason = getattr(error, "reason", error)
                raise ServerUnreachableError(
                    f"ClearML server {self._server.api} does not answer: {reason}",
                    hint=f"curl {self._server.api}/debug.ping; task server-status",
                ) from error
        raise AssertionError("unreachable")

    def _refused(self, endpoint: str, code: int, raw: bytes) -> ServerError:
        try:
            message = str((json.loads(raw).get("meta") or {}).get("result_msg") or "")
        except (ValueError, AttributeError):
            message = raw.decode(errors="replace")[:200]
        if code == 401:
            return CredentialsError(
                f"ClearML server {self._server.api} refuses the access key {self._server.access_key[:4]}… "
                f"from {self._server.source}: {message}",
                hint="make new keys in the server's web pages (Settings, Workspace) and put them into clearml.conf",
            )
        return ServerError(f"ClearML server answered {code} to {endpoint}: {message}", hint=_UNSET)


ENDS = ("completed", "failed", "stopped", "closed", "published")
ON_ITS_WAY = "k8s pending"
"""In the reason of the stop by which the agent moves a task from its queue to the one for pods that start."""


def is_over(record: dict[str, Any]) -> bool:
    """Return whether a task has ended, and is not only stopped for a moment on its way to a pod."""
    return record.get("status") in ENDS and ON_ITS_WAY not in str(record.get("status_reason") or "")


def claims(token: str) -> dict[str, Any]:
    """Return what a token says, unverified: it is the server's word to us about itself."""
    try:
        middle = token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))
    except (IndexError, ValueError):
        return {}


def is_open_source(token_claims: dict[str, Any]) -> bool:
    """Return whether the server is one without ClearML's paid features."""
    return token_claims.get("feature_set") in (None, "basic")


def parse_time(text: Any) -> datetime | None:
    """Return a server's time."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
    except ValueError:
        return None


def _queue(item: dict[str, Any]) -> Queue:
    tasks = tuple(str(entry.get("task")) for entry in item.get("entries") or [])
    return Queue(str(item["id"]), str(item.get("name", "")), tasks)


def _literal(text: str) -> str:
    """Escape a text for the server's regular expressions."""
    return "".join(f"\\{char}" if char in r".^$*+?{}[]\|()" else char for char in text)
