"""A task's record on the ClearML server, as the agent reads and writes it.

What is said of a task may quote what its pod printed, so credentials in addresses are hidden in it.
Outside system: the ClearML server, through the glue's session.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clearml_access import pod_records, url_credentials

Json = dict[str, Any]

GIVEN_UP = "Forced stop (non-responsive)"
"""The reason that a ClearML server gives where it has heard nothing of a running task for minutes."""

CLUSTER_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
"""In every pod with an account; each cluster has its own."""

UNFINISHED = ("queued", "in_progress")

_FIELDS = ["id", "status", "status_reason", "status_message", "status_changed", "runtime", "execution.queue"]
_PAGE = 500


class ServerError(Exception):
    """The ClearML server refused a call."""


class TaskRecords:
    """The tasks of one agent."""

    def __init__(self, session: Any, worker: str) -> None:
        self._session = session
        self._worker = worker

    def call(self, service: str, action: str, body: Json) -> Json:
        """Call the server.

        Raises:
            ServerError: It refused.
        """
        answer = self._session.send_request(service, action, json=body, method="post")
        if not answer.ok:
            raise ServerError(f"{service}.{action} answered {answer.status_code}: {answer.text[:500]}")
        return dict(answer.json().get("data") or {})

    def states(self, tasks: Iterable[str]) -> dict[str, Json]:
        """Return what is recorded of tasks, by id; a deleted task is left out."""
        ids, found = sorted(tasks), dict[str, Json]()
        for at in range(0, len(ids), _PAGE):
            page = {"id": ids[at : at + _PAGE], "only_fields": _FIELDS, "search_hidden": True, "page_size": _PAGE}
            found.update({task["id"]: task for task in self.call("tasks", "get_all", page).get("tasks") or []})
        return found

    def state(self, task: str) -> Json | None:
        """Return what is recorded of one task."""
        return self.states([task]).get(task)

    def running_under(self, agent: str) -> dict[str, Json]:
        """Return the tasks that run in a pod that this agent made."""
        query = {"status": ["in_progress"], "only_fields": _FIELDS, "search_hidden": True, "order_by": ["-last_update"]}
        found = self.call("tasks", "get_all", {**query, "page_size": _PAGE}).get("tasks") or []
        return {task["id"]: task for task in found if (task.get("runtime") or {}).get(pod_records.AGENT) == agent}

    def given_up_under(self, agent: str) -> dict[str, Json]:
        """Return the tasks of this agent's pods that the server ended for their silence, unexplained."""
        query = {"status": ["failed", "stopped"], "only_fields": _FIELDS, "search_hidden": True}
        page = {"order_by": ["-last_change"], "page_size": _PAGE}
        found = self.call("tasks", "get_all", {**query, **page}).get("tasks") or []
        return {
            task["id"]: task
            for task in found
            if task.get("status_reason") == GIVEN_UP
            and (runtime := task.get("runtime") or {}).get(pod_records.AGENT) == agent
            and pod_records.END not in runtime
        }

    def say(self, task: str, text: str, level: str = "info") -> None:
        """Write to the task's console."""
        now = int(time.time() * 1000)
        said = {"msg": url_credentials.hide(text), "level": level}
        self.call("events", "add", {"type": "log", "task": task, "worker": self._worker, "timestamp": now, **said})

    def note(self, state: Json, values: Json) -> None:
        """Add to the task's runtime section."""
        hidden = {
            key: url_credentials.hide(value) if isinstance(value, str) else value for key, value in values.items()
        }
        runtime = {**(state.get("runtime") or {}), **hidden}
        state["runtime"] = runtime
        self.call("tasks", "edit", {"task": state["id"], "force": True, "runtime": runtime})

    def fail(self, task: str, reason: str, text: str) -> None:
        """End a task that nobody runs as failed."""
        words = {"status_reason": reason, "status_message": url_credentials.hide(text)}
        self.call("tasks", "failed", {"task": task, "force": True, **words})

    def give_up(self, task: str, reason: str, text: str) -> None:
        """End a task as failed that never began, and say why on its console and in the agent's log."""
        print(f"Task {task}: {url_credentials.hide(text)}", flush=True)
        self.say(task, text, "error")
        self.fail(task, reason, text)


def identity(worker: str, namespace: str) -> str:
    """Return what tells this agent from one of the same name in another namespace or cluster, on the same server."""
    cluster = CLUSTER_CA.read_bytes() if CLUSTER_CA.is_file() else b""
    return f"{worker}/{namespace}/{hashlib.sha256(cluster).hexdigest()[:8]}"


def queue_of(state: Json) -> str | None:
    """Return the queue that a task is in, or was taken from."""
    queue = (state.get("execution") or {}).get("queue")
    return queue.get("id") if isinstance(queue, dict) else queue


def is_stopping(state: Json) -> bool:
    """Return whether somebody has aborted a running task, and its agent has not stopped it yet."""
    return state.get("status") == "in_progress" and state.get("status_message") == "stopping"


def callback_s(state: Json) -> float:
    """Return how long the task's own code may take to end, where it has asked for time (an abort callback)."""
    runtime = state.get("runtime") or {}
    try:
        return sum(float(runtime.get(key) or 0.0) for key in ("_abort_callback_timeout", "_abort_poll_freq"))
    except ValueError:
        return 0.0
