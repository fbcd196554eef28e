"""The objects that fuzzed requests name: of every kind, in every status, with events; made anew while a run goes on."""

from __future__ import annotations

import random
from typing import Any

from tests.api_client import ApiClient

FIELDS = {
    **dict.fromkeys(("task", "tasks", "parent", "source", "model_task"), "task"),
    **dict.fromkeys(("project", "projects", "active_in_projects"), "project"),
    **dict.fromkeys(("model", "models"), "model"),
    **dict.fromkeys(("queue", "queues"), "queue"),
    **dict.fromkeys(("worker", "workers"), "worker"),
    **dict.fromkeys(("user", "users", "active_users"), "user"),
}
"""What a field of this name holds the id of. `id` and `ids` hold any."""

SERVICES = {"tasks": "task", "reports": "task", "pipelines": "task", "events": "task", "projects": "project"} | {
    "models": "model",
    "queues": "queue",
    "workers": "worker",
    "users": "user",
}

MOST = 40
"""So many ids of a kind are kept; the oldest make room."""


class World:
    """Ids by kind.

    Args:
        call: Calls the server.
        seed: Decides what the objects are like.
    """

    def __init__(self, call: ApiClient, seed: int) -> None:
        self._call = call
        self._random = random.Random(seed)
        self.ids: dict[str, list[str]] = {kind: [] for kind in {*FIELDS.values(), "report"}}
        self.learnt: dict[str, list[str]] = {"scroll_id": [], "prepare_id": []}
        self._number = 0

    def of(self, name: str, service: str) -> list[str]:
        """Return ids for a field of this name; mostly of the right kind, some of others; none for other fields."""
        everything = [id for ids in self.ids.values() for id in ids[-2:]]
        kind = SERVICES.get(service) if name in ("id", "ids") else FIELDS.get(name)
        kind = "report" if kind == "task" and service == "reports" else kind
        if kind:
            return self.ids[kind] * (1 + 10 * len(everything) // (1 + len(self.ids[kind]))) + everything
        return self.learnt.get(name, everything if name in ("", "id", "ids") else [])

    def learn(self, reply: dict[str, Any]) -> None:
        """Keep what a reply gives to go on with."""
        for name, values in self.learnt.items():
            if isinstance(value := reply.get(name), str):
                values.append(value)
                del values[:-MOST]

    def renew(self) -> None:
        """Make more objects: what a run has deleted or spoilt must not make the rest of it idle."""
        self._number += 1
        call, number = self._call, self._number
        project = self._keep("project", call("projects.create", name=f"fuzz {number}/below")["id"])
        queue = self._keep("queue", call("queues.create", name=f"queue {number}")["id"])
        parent = ""
        for status in ("created", "queued", "in_progress", "completed", "published", "failed"):
            task = call(
                "tasks.create",
                name=f"task {status}",
                type=self._random.choice(["training", "controller", "data_processing"]),
                project=project,
                parent=parent,
                tags=["a", "b"],
                hyperparams={"Args": {"a": {"section": "Args", "name": "a", "value": "1"}}},
                configuration={"c": {"name": "c", "value": "{}"}},
                execution={"artifacts": [{"key": "a", "type": "custom", "uri": "http://x/a", "mode": "output"}]},
            )["id"]
            parent = self._keep("task", task)
            self._report(task)
            self._bring(task, status, queue)
            model = call("models.create", name="model", uri="http://x/m", task=task, labels={"a": 1})["id"]
            self._keep("model", model)
        worker = self._keep("worker", f"worker-{number}")
        call("workers.status_report", worker=worker, task=parent, queues=[queue], timestamp=0, machine_stats={})
        self._keep("report", call("reports.create", name=f"report {number}", project=project)["id"])
        if not self.ids["user"]:
            self.ids["user"] = [user["id"] for user in call("users.get_all")["users"]]
            self.learnt["company"] = [call("users.get_current_user")["user"]["company"]["id"]]

    def _bring(self, task: str, status: str, queue: str) -> None:
        if status == "queued":
            self._call("tasks.enqueue", task=task, queue=queue)
        elif status != "created":
            self._call("tasks.started", task=task)
            if status in ("completed", "published"):
                self._call("tasks.completed", task=task, publish=status == "published")
            elif status == "failed":
                self._call("tasks.failed", task=task)

    def _report(self, task: str) -> None:
        def event(type: str, **fields: Any) -> dict[str, Any]:
            return {"task": task, "type": type, "timestamp": 1_700_000_000_000, **fields}

        events = [event("training_stats_scalar", metric="m", variant="v", iter=i, value=float(i)) for i in range(4)]
        events += [
            event("training_debug_image", metric="m", variant="i", iter=i, key="k", url="http://x/i") for i in (1, 2)
        ]
        events += [event("plot", metric="p", variant="v", iter=1, plot_str="{}"), event("log", msg="a line")]
        for each in events:
            self._call("events.add", **each)

    def _keep(self, kind: str, id: str) -> str:
        self.ids[kind] = [*self.ids[kind], id][-MOST:]
        return id
