"""The adapter for questions to the ClearML server: is it there, its queues and workers, the tasks of a run.

Reads the SDK's own configuration, so it asks the server that the SDK will use; replies are plain dictionaries of the
API, parsed in `pipeline.run_records`. It must not start pipelines (`pipeline.controllers.controller`) nor touch
datasets' contents (`pipeline.datasets.datasets`). Outside system: a ClearML server's API. Every call ends within
`ANSWER_TIMEOUT_S`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clearml_access.errors import CallRefusedError, CredentialsError, NoCredentialsError, ServerUnreachableError
from pipeline.run_records import is_on_its_way

ANSWER_TIMEOUT_S = 10.0
WORKER_SEEN_S = 120
"""A worker that has not been heard of for longer is dead: a stock agent reports every 30 s at most."""

DATASET_TAG = "dataset"
FINAL = ("completed", "published", "closed")
_PAGE = 500
_CONSOLE_PAGE = 1_000


@dataclass(frozen=True)
class DatasetVersion:
    """A dataset version as the server lists it."""

    id: str
    version: str
    status: str
    created: str
    parent: str
    """The task that made it, if any."""

    facts: dict[str, str]
    """What was recorded on it: `section/name` → value."""

    @property
    def final(self) -> bool:
        """Whether it is finished and can be read."""
        return self.status in FINAL


class ClearmlServer:
    """A server that answers.

    Attributes:
        api_url: Address of its API; likewise `web_url`.
    """

    def __init__(self, session: Any, api_url: str, web_url: str) -> None:
        self._session = session
        self.api_url = api_url
        self.web_url = web_url.rstrip("/")

    @classmethod
    def connect(cls) -> ClearmlServer:
        """Log in to the configured server.

        Raises:
            ServerUnreachableError: It does not answer within ten seconds.
            CredentialsError: It refuses the access key.
            NoCredentialsError: None is configured.
        """
        # Imported here: it takes half a second, and reads the configuration that the caller may have set just before.
        import requests
        from clearml.backend_api.session import Session
        from clearml.backend_api.session.defs import MissingConfigError
        from clearml.backend_api.session.session import LoginError

        api_url = str(Session.get_api_server_host()).rstrip("/")
        hint = f"curl {api_url}/debug.ping, or without a server of your own: task server-up"
        try:
            ping = requests.get(f"{api_url}/debug.ping", timeout=(3.0, 5.0))
        except requests.RequestException as error:
            raise ServerUnreachableError(
                f"ClearML server {api_url} does not answer: {_cause(error)}", hint=hint
            ) from error
        if not ping.ok:
            raise ServerUnreachableError(
                f"{api_url} is not a ClearML API server: it answers {ping.status_code} to debug.ping", hint=hint
            )
        try:
            with _quiet("clearml"):
                session = Session(http_retries_config={"total": 2, "backoff_factor": 0.2, "backoff_max": 1.0})
        except MissingConfigError as error:
            message = "no ClearML access key is configured"
            raise NoCredentialsError(message, hint="clearml-init, or task server-up") from error
        except LoginError as error:
            raise CredentialsError(
                f"ClearML server {api_url} refuses the access key: {error}",
                hint="make a new key on its web page (settings, workspace), then: clearml-init",
            ) from error
        except (requests.RequestException, ValueError) as error:
            raise ServerUnreachableError(
                f"ClearML server {api_url} does not answer as one: {_cause(error)}", hint=hint
            ) from error
        return cls(session, api_url, str(Session.get_app_server_host()))

    @classmethod
    def of_task(cls, task: Any) -> ClearmlServer:
        """Return the server that an SDK task lives on, through the connection that the SDK has already."""
        return cls(task.session, str(task.session.host), str(task.session.get_app_server_host()))

    def call(self, endpoint: str, **data: Any) -> dict[str, Any]:
        """Return the data of the reply.

        Raises:
            ServerUnreachableError: No answer.
            CallRefusedError: An error answer.
        """
        import requests

        service, action = endpoint.split(".", 1)
        try:
            with _quiet("urllib3.connectionpool"):
                reply = self._session.send_request(service, action, json=data)
            body = reply.json()
        except (requests.RequestException, ValueError) as error:
            raise ServerUnreachableError(
                f"ClearML server {self.api_url} does not answer {endpoint}: {_cause(error)}", hint="task server-status"
            ) from error
        meta = body.get("meta") or {}
        if reply.status_code != 200:
            raise CallRefusedError(
                f"{endpoint} was refused: {meta.get('result_msg') or reply.reason}",
                subcode=int(meta.get("result_subcode") or 0),
            )
        found: dict[str, Any] = body.get("data") or {}
        return found

    # Queues and workers

    def queues(self) -> dict[str, str]:
        """Return the queues, those of the Kubernetes glue too: name → id."""
        found = self.call("queues.get_all", only_fields=["id", "name"], search_hidden=True)["queues"]
        return {queue["name"]: queue["id"] for queue in found}

    def workers_of(self, queue: str) -> list[str]:
        """Return the live workers that take tasks from `queue`, or would once they are free."""
        workers = self.call("workers.get_all", last_seen=WORKER_SEEN_S)["workers"]
        return sorted(
            worker["id"] for worker in workers if any(item.get("name") == queue for item in worker.get("queues") or [])
        )

    def idle_workers_of(self, queue: str) -> list[str]:
        """Return the live workers that would take a task from `queue` now."""
        workers = self.call("workers.get_all", last_seen=WORKER_SEEN_S)["workers"]
        idle = [worker for worker in workers if not (worker.get("task") or {}).get("id")]
        return sorted(
            worker["id"] for worker in idle if any(item.get("name") == queue for item in worker.get("queues") or [])
        )

    def live_workers(self) -> set[str]:
        """Return the ids of all live workers."""
        return {worker["id"] for worker in self.call("workers.get_all", last_seen=WORKER_SEEN_S)["workers"]}

    def tasks_in_hand(self) -> set[str]:
        """Return the tasks that live workers run, or whose end they have not seen yet."""
        workers = self.call("workers.get_all", last_seen=WORKER_SEEN_S)["workers"]
        return {str(worker["task"]["id"]) for worker in workers if (worker.get("task") or {}).get("id")}

    # Tasks

    def tasks(self, only_fields: Sequence[str], **query: Any) -> list[dict[str, Any]]:
        """Return the tasks that match, hidden ones included; references are ids.

        A task on its way to a pod is queued here, as it is for a person: the k8s glue stops each one for a moment.
        """
        fields = {"id", *only_fields, *(("status_reason", "status_changed") if "status" in only_fields else ())}
        found = list(self._pages("tasks", only_fields=sorted(fields), search_hidden=True, **query))
        now = time.time()
        return [task | {"status": "queued"} if is_on_its_way(task, now) else task for task in found]

    def _pages(self, service: str, **query: Any) -> Iterator[dict[str, Any]]:
        page = 0
        while True:
            rows = self.call(f"{service}.get_all", page=page, page_size=_PAGE, **query)[service]
            yield from rows
            if len(rows) < _PAGE:
                return
            page += 1

    def console(self, task_id: str, lines: int) -> list[str]:
        """Return the last lines that the task's console shows."""
        events = self.call("events.get_task_log", task=task_id, batch_size=lines, order="asc")["events"]
        text = "".join(str(event.get("msg") or "").rstrip("\n") + "\n" for event in events)
        return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]

    def console_events(self, task_id: str, after: float | None = None) -> tuple[list[dict[str, Any]], int]:
        """Return the task's console events after a moment (ms since 1970), oldest first, and how many there are in all.

        The server orders them by the moments that their writers gave them, not by their arrival.
        """
        found: list[dict[str, Any]] = []
        while True:
            since = {} if after is None else {"from_timestamp": after}
            reply = self.call(
                "events.get_task_log",
                task=task_id,
                batch_size=_CONSOLE_PAGE,
                navigate_earlier=False,
                order="asc",
                **since,
            )
            found += reply["events"]
            if len(reply["events"]) < _CONSOLE_PAGE:
                return found, int(reply.get("total") or 0)
            after = reply["events"][-1]["timestamp"]  # a page holds all events of its last moment

    def plots(self, task_id: str) -> list[dict[str, Any]]:
        """Return the task's plots: events with `metric`, `variant` and `plot_str`."""
        found: list[dict[str, Any]] = self.call("events.get_task_plots", task=task_id, iters=1)["plots"]
        return found

    # Models

    def models(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return models: name, project, tags, and whether they are published (`ready`)."""
        return list(self._pages("models", id=list(ids), only_fields=["id", "name", "ready", "project", "tags"]))

    def model_page(self, project: str, model_id: str) -> str:
        """Return the address of a model's page."""
        return f"{self.web_url}/projects/{project or '*'}/models/{model_id}"

    # Datasets

    def datasets(self, project: str) -> list[str]:
        """Return the names of the datasets in `project`."""
        prefix = f"{project}/.datasets/"
        found = self._pages(
            "projects",
            name=f"^{re.escape(prefix)}",
            search_hidden=True,
            only_fields=["id", "name"],
            shallow_search=False,
        )
        return sorted(row["name"].removeprefix(prefix) for row in found)

    def dataset_versions(self, project: str, name: str) -> list[DatasetVersion]:
        """Return every version of a dataset, unfinished ones included, oldest first."""
        path = f"{project}/.datasets/{name}"
        projects = self._pages("projects", name=f"^{re.escape(path)}$", search_hidden=True, only_fields=["id"])
        ids = [row["id"] for row in projects]
        if not ids:
            return []
        rows = self.tasks(
            ["runtime", "status", "created", "parent", "hyperparams"],
            project=ids,
            system_tags=["__$all", DATASET_TAG, "__$not", "archived"],
            order_by=["created"],
        )
        return [
            DatasetVersion(
                id=row["id"],
                version=str((row.get("runtime") or {}).get("version") or ""),
                status=row["status"],
                created=str(row.get("created") or ""),
                parent=str(row.get("parent") or ""),
                facts={
                    f"{section}/{item}": str(value.get("value"))
                    for section, items in (row.get("hyperparams") or {}).items()
                    for item, value in items.items()
                },
            )
            for row in rows
        ]

    # Pages

    def task_page(self, project: str, task_id: str) -> str:
        """Return the address of a task's page."""
        return f"{self.web_url}/projects/{project or '*'}/experiments/{task_id}"


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Keep the SDK from printing what our own error says better."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        found.setLevel(level)


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a network error, without the library's wrapping."""
    text = str(error)
    found = re.search(r"(Connection refused|Name or service not known|No route to host|timed out)", text)
    return found[1] if found else text.splitlines()[0][:200] if text else type(error).__name__
