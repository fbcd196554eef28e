"""What an install, its canary and `logs` ask a ClearML server beyond `clearml_access.api`: keys, canaries, records.

It must not wait for anything to happen; every call has a deadline of its own.
Outside system: a ClearML server, genuine or `localserver`.
"""

from __future__ import annotations

import re
import time
from typing import Any

from clearml_access.api import Api, claims, literal
from clearml_access.credentials import Server
from clearml_access.http import HttpSender
from clearml_access.run_records import RUN_FIELDS, step_task_ids
from clearml_access.tasks import is_pipeline


class ClearmlApi(Api):
    """One server, one access key."""

    def __init__(self, server: Server) -> None:
        self._http = HttpSender(server)
        super().__init__(self._http, server.web)

    # -- the server and its user

    def ping(self) -> None:
        """Ask whether the server is there.

        Raises:
            ServerUnreachableError: It is not, or is something else.
        """
        self._http.post("debug.ping", {}, None)

    def login(self) -> dict[str, Any]:
        """Log in and return the token's claims.

        Raises:
            CredentialsError: The server refuses the keys.
        """
        return claims(self._http.login())

    def server_version(self) -> str:
        """Return the server's version; empty if it does not say."""
        return str(self.call("server.info").get("version") or "")

    def delete_queue(self, name: str) -> bool:
        """Delete a queue if there is one."""
        queue = self.queue(name)
        if queue is None:
            return False
        self.call("queues.delete", queue=queue.id, force=True)
        return True

    # -- tasks

    def steps(self, controller_id: str) -> list[dict[str, Any]]:
        """Return the tasks of a pipeline's steps, oldest first.

        Copies of the pipeline (*New run*, the SDK's clones) have it as their parent, too, and are left out: a step that
        is a pipeline itself is in the graph of its controller.
        """
        controller = self.task(controller_id, RUN_FIELDS)
        own = step_task_ids(controller) if controller else []
        fields = ("name", "status", "created", "type", "system_tags")
        found = self.tasks(fields, parent=controller_id, order_by=["created"])
        return [task for task in found if not is_pipeline(task) or task["id"] in own]

    def find_tasks(self, text: str) -> list[dict[str, Any]]:
        """Return tasks and pipelines by name, newest first; the SDK numbers a pipeline's later runs: `name #2`."""
        fields = ["id", "name", "status", "type", "created"]
        body = {"name": f"^{literal(text)}( #[0-9]+)?$", "only_fields": fields, "order_by": ["-created"], "page": 0}
        body |= {"page_size": 5, "system_tags": ["__$any", "pipeline", "-archived"]}
        found = self.call("tasks.get_all", **body).get("tasks") or []
        if not found:
            body.pop("system_tags")
            found = self.call("tasks.get_all", **body).get("tasks") or []
        return [dict(task) for task in found]

    def taken_by(self, task_id: str) -> str:
        """Return the agent that took a task last, as it wrote on the task's console; empty if none did."""
        found = re.findall(rf"task {task_id} pulled from \S+ by worker (\S+)", "\n".join(self.console(task_id)))
        return found[-1] if found else ""

    def create_task(self, name: str, project: str, code: str, tags: list[str]) -> str:
        """Make a task that runs `code`, a Python script that needs nothing."""
        projects = self.call("projects.get_all", name=f"^{literal(project)}$").get("projects") or []
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


def is_open_source(token_claims: dict[str, Any]) -> bool:
    """Return whether the server is one without ClearML's paid features."""
    return token_claims.get("feature_set") in (None, "basic")
