"""What the tests of `tasks.*` share: tasks in any status, queues, and what a worker reports."""

from __future__ import annotations

import base64
import json
from itertools import count
from typing import Any
from uuid import uuid4

from tests.api_client import ApiClient

Task = dict[str, Any]
NUMBER = count()


def unique(text: str = "thing") -> str:
    return f"{text} {next(NUMBER)} {uuid4().hex[:8]}"


def create(api: ApiClient, **fields: Any) -> str:
    return str(api("tasks.create", **{"name": unique("task"), "type": "training"} | fields)["id"])


def get(api: ApiClient, task: str) -> Task:
    found: Task = api("tasks.get_by_id", task=task)["task"]
    return found


def new_queue(api: ApiClient) -> str:
    return str(api("queues.create", name=unique("queue"))["id"])


def entries(api: ApiClient, queue: str) -> list[str]:
    return [entry["task"] for entry in api("queues.get_by_id", queue=queue)["queue"]["entries"]]


def report(api: ApiClient, task: str, worker: str | None = None) -> str:
    """Have a worker report that it runs the task."""
    worker = worker or unique("worker")
    api("workers.status_report", worker=worker, task=task, timestamp=0)
    return worker


def identity(api: ApiClient) -> dict[str, str]:
    """Return who the client is, as its token says."""
    payload = str(api.http.headers["Authorization"]).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return dict(claims["identity"])


STEPS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "created": [],
    "queued": [("tasks.enqueue", {})],
    "in_progress": [("tasks.started", {})],
    "stopped": [("tasks.started", {}), ("tasks.stopped", {})],
    "closed": [("tasks.started", {}), ("tasks.close", {"force": True})],
    "failed": [("tasks.started", {}), ("tasks.failed", {})],
    "completed": [("tasks.started", {}), ("tasks.completed", {})],
    "published": [("tasks.started", {}), ("tasks.completed", {"publish": True})],
}


def task_in(api: ApiClient, status: str, queue: str, **fields: Any) -> str:
    task = create(api, **fields)
    for endpoint, arguments in STEPS[status]:
        api(endpoint, task=task, **({"queue": queue} if endpoint == "tasks.enqueue" else arguments))
    assert get(api, task)["status"] == status
    return task


def body_of(action: str, queue: str) -> dict[str, Any]:
    return {
        "enqueue": {"queue": queue},
        "edit": {"comment": "c"},
        "update": {"comment": "c"},
        "set_requirements": {"requirements": {"pip": "a"}},
        "edit_hyper_params": {"hyperparams": [{"section": "Args", "name": "a", "value": "1"}]},
        "delete_hyper_params": {"hyperparams": [{"section": "Args", "name": "a"}]},
        "edit_configuration": {"configuration": [{"name": "a", "value": "1"}]},
        "delete_configuration": {"configuration": ["a"]},
        "add_or_update_artifacts": {"artifacts": [{"key": "a", "type": "custom", "uri": "u"}]},
        "delete_artifacts": {"artifacts": [{"key": "a"}]},
        "add_or_update_model": {"name": "m", "type": "output", "model": "nope"},
        "delete_models": {"models": [{"name": "m", "type": "output"}]},
    }.get(action, {})
