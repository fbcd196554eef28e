"""Keeps a number of small pipelines running on a deployed agent: clones of one draft, as "New run" on a web page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.api_client import ApiClient
from tests.e2e.deployer import Deployer

ENDED = ("completed", "failed", "stopped", "closed", "published")
DRAFT_TIMEOUT_S = 300
_FIELDS = ["id", "name", "parent", "type", "status", "status_reason", "status_message", "runtime", "execution.queue"]
_SOURCE = Path(__file__).with_name("small_pipeline.py")


def make_draft(deploy: Deployer, address: str) -> str:
    """Write the pipeline to the server as a draft; return its task id."""
    text, count = re.subn(
        r"^ADDRESS, QUEUE = .*$", f"ADDRESS, QUEUE = {address!r}, {deploy.queue!r}", _SOURCE.read_text(), flags=re.M
    )
    assert count == 1
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / _SOURCE.name).write_text(text)
        env = {key: value for key, value in os.environ.items() if not key.startswith("CLEARML_")}
        done = subprocess.run(
            [sys.executable, _SOURCE.name],
            cwd=folder,
            env=env | {"CLEARML_CONFIG_FILE": deploy.env["CLEARML_CONFIG_FILE"]},
            capture_output=True,
            text=True,
            timeout=DRAFT_TIMEOUT_S,
            check=False,
        )
    found = re.search(r"^draft: (\w+)$", done.stdout, flags=re.M)
    assert found, done.stdout + done.stderr
    return found[1]


class Load:
    """Pipelines of one draft."""

    def __init__(self, api: ApiClient, deploy: Deployer, draft: str) -> None:
        self._api = api
        self._queue = api("queues.get_all", name=f"^{re.escape(deploy.queue)}$")["queues"][0]["id"]
        self._draft = draft
        self.runs: list[str] = []

    def start(self) -> None:
        """Enqueue one more pipeline."""
        run = str(self._api("tasks.clone", task=self._draft, new_task_name=f"small {len(self.runs) + 1}")["id"])
        self._api("tasks.enqueue", task=run, queue=self._queue)
        self.runs.append(run)

    def refill(self, at_once: int) -> None:
        """Start pipelines until so many are not at their end."""
        running = sum(task["status"] not in ENDED for task in self._get(id=self.runs))
        for _ in range(at_once - running):
            self.start()

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return the records of all controllers and steps, by id."""
        found = self._get(id=self.runs) + self._get(parent=self.runs)
        return {task["id"]: task for task in found}

    def unfinished(self) -> dict[str, dict[str, Any]]:
        """Return those that are neither at their end nor a step that its controller never enqueued."""
        return {key: task for key, task in self.tasks().items() if task["status"] not in (*ENDED, "created")}

    def _get(self, **query: Any) -> list[dict[str, Any]]:
        if not next(iter(query.values())):
            return []
        words = {"search_hidden": True, "only_fields": _FIELDS, "page_size": 500, **query}
        found, page = list[dict[str, Any]](), 0
        while rows := self._api("tasks.get_all", page=page, order_by=["created"], **words)["tasks"]:
            found += rows
            page += 1
        return found
