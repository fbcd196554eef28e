"""The adapter for what pipelines ask a ClearML server beyond `clearml_access.api`: workers, datasets, models, plots.

It must not start pipelines (`pipeline.controllers.controller`) nor touch datasets' contents
(`pipeline.datasets.datasets`). Outside system: a ClearML server's API, by plain HTTP.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearml_access import credentials
from clearml_access.api import WORKER_SEEN_S, Api, Worker, literal
from clearml_access.credentials import Secret
from clearml_access.http import HttpSender
from clearml_access.tasks import FINAL

DATASET_TAG = "dataset"
NEWEST_TASKS = 100
RETURNED, VERSION_ID = "return", "dataset_id"
"""Section of a task with the values that it returned, and how the name of a returned dataset version's id ends."""


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


class ClearmlServer(Api):
    """A server that answers."""

    @classmethod
    def connect(cls) -> ClearmlServer:
        """Log in to the configured server.

        Raises:
            NoCredentialsError: No server or no access key is configured.
            ServerUnreachableError: It does not answer.
            CredentialsError: It refuses the access key.
        """
        server = credentials.find(os.environ)
        sender = HttpSender(server)
        if not server.token:
            sender.login()
        return cls(sender, server.web)

    @classmethod
    def of_task(cls, task: Any) -> ClearmlServer:
        """Return the server that an SDK task lives on, with the token that the SDK has already.

        The connection is not the SDK's: that one is shared with every process that the SDK forks.
        """
        server = replace(credentials.find(os.environ), token=Secret(task.session.token))
        return cls(HttpSender(server, patient=True), server.web)

    # Workers

    def workers_of(self, queue: str) -> list[str]:
        """Return the live workers that take tasks from `queue`, or would once they are free."""
        return sorted(worker.id for worker in self._live() if queue in worker.queues)

    def idle_workers_of(self, queue: str) -> list[str]:
        """Return the live workers that would take a task from `queue` now."""
        return sorted(worker.id for worker in self._live() if queue in worker.queues and not worker.task)

    def live_workers(self) -> set[str]:
        """Return the ids of all live workers."""
        return {worker.id for worker in self._live()}

    def last_tasks_of(self, workers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the last task that each worker has ended, as far as it is among the newest of the server."""
        if not workers:
            return {}
        found = self.call(
            "tasks.get_all",
            status=["completed", "failed", "published"],
            order_by=["-last_update"],
            only_fields=["id", "status", "last_worker"],
            search_hidden=True,
            page=0,
            page_size=NEWEST_TASKS,
        )
        tasks = {task["last_worker"]: task for task in reversed(found["tasks"]) if task.get("last_worker") in workers}
        return {worker: tasks[worker] for worker in sorted(tasks)}

    def _live(self) -> list[Worker]:
        return self.workers(seen_s=WORKER_SEEN_S)

    def plots(self, task_id: str) -> list[dict[str, Any]]:
        """Return the task's plots: events with `metric`, `variant` and `plot_str`."""
        found: list[dict[str, Any]] = self.call("events.get_task_plots", task=task_id, iters=1)["plots"]
        return found

    # Products of a task

    def lost_products(self, task_id: str, *, has_model: bool = False) -> list[str]:
        """Return what a task has made and somebody has deleted since: models and dataset versions, in words.

        Args:
            task_id: The task.
            has_model: Whether it made a model. A task that is not published loses the entry with the model.
        """
        task = self.task(task_id, ["models.output", f"hyperparams.{RETURNED}"]) or {}
        models = [str(item["model"]) for item in (task.get("models") or {}).get("output") or [] if item.get("model")]
        returned = (task.get("hyperparams") or {}).get(RETURNED) or {}
        versions = [str(item["value"]) for name, item in returned.items() if name.endswith(VERSION_ID)]
        kept = {row["id"] for row in self.models(models)} if models else set()
        kept |= {row["id"] for row in self.tasks(["id"], id=versions)} if versions else set()
        return [
            *(["its model"] if has_model and not models else []),
            *(f"model {id}" for id in models if id not in kept),
            *(f"dataset version {id}" for id in versions if id not in kept),
        ]

    # Models

    def models(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return models: name, project, tags, and whether they are published (`ready`)."""
        return list(self.pages("models", id=list(ids), only_fields=["id", "name", "ready", "project", "tags"]))

    def newest_model(self, project: str, name: str) -> str | None:
        """Return the id of the published model of a project that was made last; None if there is none.

        Args:
            project: Its project.
            name: How its name begins.
        """
        projects = self.pages("projects", name=f"^{literal(project)}$", only_fields=["id"])
        found = self.call(
            "models.get_all",
            project=[row["id"] for row in projects] or ["none"],
            name=f"^{literal(name)}",
            ready=True,
            system_tags=["__$not", "archived"],
            order_by=["-created"],
            only_fields=["id"],
            page=0,
            page_size=1,
        )["models"]
        return str(found[0]["id"]) if found else None

    def model_page(self, project: str, model_id: str) -> str:
        """Return the address of a model's page."""
        return f"{self.web_url}/projects/{project or '*'}/models/{model_id}"

    # Datasets

    def add_facts(self, version: str, facts: Mapping[str, object]) -> None:
        """Record `section/name` → value on the task of a dataset version under construction."""
        items = []
        for key, value in facts.items():
            section, _, item = key.partition("/")
            items.append({"section": section, "name": item, "value": str(value), "description": "", "type": "str"})
        self.call("tasks.edit_hyper_params", task=version, hyperparams=items, force=True)

    def datasets(self, project: str) -> list[str]:
        """Return the names of the datasets in `project`."""
        prefix = f"{project}/.datasets/"
        found = self.pages(
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
        projects = self.pages("projects", name=f"^{re.escape(path)}$", search_hidden=True, only_fields=["id"])
        return self.versions_in([row["id"] for row in projects])

    def versions_in(self, ids: Sequence[str]) -> list[DatasetVersion]:
        """Return every dataset version in the projects of these ids, unfinished ones included, oldest first."""
        if not ids:
            return []
        rows = self.tasks(
            ["runtime", "status", "created", "parent", "hyperparams"],
            project=list(ids),
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
