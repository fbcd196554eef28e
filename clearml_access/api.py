"""A ClearML server as all commands know it: its queues, workers and tasks.

Replies are the API's own documents. What only one package asks for is in that package's adapter
(`pipeline.clearml_server`, `deploy.clearml.api`), which builds on this one.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from clearml_access import tasks, url_credentials
from clearml_access.credentials import Server
from clearml_access.errors import CallRefusedError
from clearml_access.http import HttpSender

WORKER_SEEN_S = 120
"""A worker that has not been heard of for longer is dead: a stock agent reports every 30 s at most."""

ALREADY_EXISTS = 801
PAGE = 500
CONSOLE_PAGE = 1_000


class Sender(Protocol):
    """What brings calls to a server: plain HTTP, or the connection that the SDK has already."""

    @property
    def url(self) -> str:
        """Address of the API."""

    def send(self, endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the answer's status and body, or raise `ServerUnreachableError` or `CredentialsError`."""


@dataclass(frozen=True)
class Queue:
    """A queue and what waits in it."""

    id: str
    name: str
    tasks: tuple[str, ...]


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


class Api:
    """Calls to one server.

    Attributes:
        api_url: Address of its API; likewise `web_url`.
    """

    def __init__(self, sender: Sender, web_url: str) -> None:
        self._sender = sender
        self.api_url = sender.url.rstrip("/")
        self.web_url = web_url.rstrip("/")

    @classmethod
    def of(cls, server: Server, *, direct: bool = False) -> Self:
        """Return the calls to a server with its key; `direct` leaves proxies out."""
        return cls(HttpSender(server, direct=direct), server.web)

    def call(self, endpoint: str, **body: Any) -> dict[str, Any]:
        """Call an endpoint and return its data.

        Raises:
            ServerUnreachableError: No answer.
            CredentialsError: The server refuses the access key.
            CallRefusedError: An error answer.
        """
        status, answer = self._sender.send(endpoint, body)
        if status != 200:
            meta = answer.get("meta") or {}
            raise CallRefusedError(
                f"{endpoint} was refused by {self.api_url}: {meta.get('result_msg') or status}",
                subcode=int(meta.get("result_subcode") or 0),
                hint="./task doctor",
            )
        return dict(answer.get("data") or {})

    def pages(self, service: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield what a service's `get_all` finds, page by page."""
        page = 0
        while True:
            rows = self.call(f"{service}.get_all", page=page, page_size=PAGE, **query).get(service) or []
            yield from rows
            if len(rows) < PAGE:
                return
            page += 1

    # -- queues and workers

    def queues(self) -> list[Queue]:
        """Return all queues, those of the Kubernetes glue too, which a server lists only when asked to."""
        return [_queue(item) for item in self.call("queues.get_all", search_hidden=True).get("queues") or []]

    def queue_names(self) -> set[str]:
        """Return the names of all queues."""
        return {queue.name for queue in self.queues()}

    def queue(self, name: str) -> Queue | None:
        """Return a queue by its exact name."""
        found = self.call("queues.get_all", name=f"^{literal(name)}$", search_hidden=True).get("queues") or []
        return next((_queue(item) for item in found if item.get("name") == name), None)

    def ensure_queue(self, name: str) -> bool:
        """Make a queue if there is none; return whether it was made.

        Agents could do it themselves (`--create-queue`), but two that start at once race, and the loser ends.
        """
        if self.queue(name):
            return False
        try:
            self.call("queues.create", name=name)
        except CallRefusedError as error:
            if error.subcode != ALREADY_EXISTS:
                raise
            return False
        return True

    def workers(self, *, seen_s: float | None = None) -> list[Worker]:
        """Return the registered workers.

        Args:
            seen_s: Only those that were heard of within this time; by default all that the server remembers.
        """
        body = {} if seen_s is None else {"last_seen": seen_s}
        return [
            Worker(
                id=str(item.get("id", "")),
                queues=tuple(str(queue.get("name") or "") for queue in item.get("queues") or []),
                last_seen=tasks.parse_time(item.get("last_activity_time")),
                task=(item.get("task") or {}).get("id"),
            )
            for item in self.call("workers.get_all", **body).get("workers") or []
        ]

    def tasks_in_hand(self) -> set[str]:
        """Return the tasks that live workers run, or whose end they have not seen yet."""
        return {worker.task for worker in self.workers(seen_s=WORKER_SEEN_S) if worker.task}

    # -- tasks

    def tasks(self, only_fields: Sequence[str] = (), **query: Any) -> list[dict[str, Any]]:
        """Return the tasks that match, hidden ones included, each as it is seen (`clearml_access.tasks.as_seen`)."""
        wanted = {"only_fields": tasks.fields(only_fields)} if only_fields else {}
        now = time.time()
        return [tasks.as_seen(task, now) for task in self.pages("tasks", search_hidden=True, **wanted, **query)]

    def task(self, task_id: str, only_fields: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return a task, or the named fields of it."""
        found = self.tasks(only_fields, id=[task_id])
        return found[0] if found else None

    def task_page(self, project: str, task_id: str) -> str:
        """Return the address of a task's page."""
        return f"{self.web_url}/projects/{project or '*'}/experiments/{task_id}"

    def console_events(self, task_id: str, after: float | None = None) -> tuple[list[dict[str, Any]], int]:
        """Return a task's console events after a moment (ms since 1970), oldest first, and how many there are in all.

        The server orders them by the moments that their writers gave them, not by their arrival.
        """
        found: list[dict[str, Any]] = []
        while True:
            since = {} if after is None else {"from_timestamp": after}
            reply = self.call(
                "events.get_task_log",
                task=task_id,
                batch_size=CONSOLE_PAGE,
                navigate_earlier=False,
                order="asc",
                **since,
            )
            events = reply.get("events") or []
            found += map(_without_credentials, events)
            if len(events) < CONSOLE_PAGE and not reply.get("more"):
                return found, int(reply.get("total") or 0)
            after = events[-1]["timestamp"]  # a page holds all events of its last moment

    def console(self, task_id: str, lines: int | None = None) -> list[str]:
        """Return a task's whole console line by line, or the last lines of it that are not blank."""
        if lines is None:
            events, _ = self.console_events(task_id)
            return [line for event in events for line in str(event.get("msg") or "").splitlines()]
        reply = self.call("events.get_task_log", task=task_id, batch_size=lines, order="asc")
        shown = map(_without_credentials, reply.get("events") or [])
        text = "".join(str(event.get("msg") or "").rstrip("\n") + "\n" for event in shown)
        return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]

    # -- served models

    def served_since(self) -> dict[str, datetime]:
        """Return since when something answers at each address, as the containers report it: what the web pages show."""
        found = {}
        for row in self.call("serving.get_endpoints").get("endpoints") or []:
            last = tasks.parse_time(row.get("last_update"))
            if last is not None and row.get("uptime_sec") is not None:
                found[str(row.get("url") or "")] = last - timedelta(seconds=float(row["uptime_sec"]))
        return found

    def end_serving(self, address: str, service: str, reason: str) -> None:
        """Tell the server that no model answers below an address any more, and that the service is not at work.

        Where another address answers for the same models, the service goes on.

        Args:
            address: Of all endpoints of one process, or of one cluster.
            service: The task of the service. The next process that serves it starts it again.
            reason: Why it is stopped.
        """
        urls = [str(row.get("url") or "") for row in self.call("serving.get_endpoints").get("endpoints") or []]
        gone = {url for url in urls if url.startswith(f"{address}/")}
        for url in sorted(gone):
            for container in self.call("serving.get_endpoint_details", endpoint_url=url).get("instances") or []:
                self.call("serving.unregister_container", container_id=container["id"])
        paths = tuple(url.removeprefix(address) for url in gone)
        goes_on = any(url.endswith(paths) for url in urls if url not in gone)
        if not goes_on and self.tasks(["status"], id=[service], status=["in_progress"]):
            self.call("tasks.stopped", task=service, force=True, status_reason=reason, status_message=reason)


def _without_credentials(event: dict[str, Any]) -> dict[str, Any]:
    """Return a console event as it may be shown: agents print addresses of packages with their passwords."""
    return event | {"msg": url_credentials.hide(event["msg"])} if isinstance(event.get("msg"), str) else event


def claims(token: str) -> dict[str, Any]:
    """Return what a token says, unverified: it is the server's word to us about itself."""
    try:
        middle = token.split(".")[1]
        return dict(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))
    except (IndexError, ValueError):
        return {}


def literal(text: str) -> str:
    """Escape a text for the server's regular expressions."""
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", text)


def _queue(item: dict[str, Any]) -> Queue:
    waiting = tuple(str(entry.get("task")) for entry in item.get("entries") or [])
    return Queue(str(item["id"]), str(item.get("name") or ""), waiting)
