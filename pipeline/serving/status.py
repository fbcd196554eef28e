"""What this machine serves: the process, and the models at their addresses. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from clearml_access.errors import UserFacingError
from clearml_access.tasks import is_pipeline
from pipeline.clearml_server import ClearmlServer
from pipeline.serving import process, service
from pipeline.serving.client import ask
from pipeline.serving.service import Endpoint, Service
from pipeline.serving.settings import ENDPOINT, ServingSettings

STATUS_TIMEOUT_S = 20.0
"""How long a process may take for an answer; a large request keeps it busy for seconds."""


@dataclass(frozen=True)
class ServedModel:
    """A model at its address."""

    url: str
    version: str
    model_id: str
    share: float = 0.0
    """Of the requests to the address without a version."""

    name: str = ""
    page: str = ""
    task_id: str = ""
    """The task that trained it."""

    run_id: str = ""
    """The pipeline run that this task was a step of; nothing where it was none."""

    datasets: Mapping[str, str] = field(default_factory=dict)
    """`train` and `test` → version of the dataset."""

    since: str = ""
    """Since when it is served at this address; nothing before its first request, which loads it."""

    is_deleted: bool = False
    """From the server: what has loaded it goes on, and what starts now cannot."""


@dataclass(frozen=True)
class Status:
    """What this machine serves."""

    pid: int | None
    answers: bool
    address: str
    since: str | None
    """When the process started."""

    server: str
    problem: str | None
    """Why the server could not be asked; None if it could."""

    service_id: str | None
    page: str | None
    auto_update: bool
    models: tuple[ServedModel, ...]
    log: str

    @property
    def complete(self) -> bool:
        """Whether something is served."""
        return self.answers

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"complete": self.complete}


def status(settings: ServingSettings, server: Callable[[], ClearmlServer]) -> Status:
    """Return what is served, without changing anything."""
    running, noted = process.find(settings), process.facts(settings)
    address = process.address(settings)
    found, problem, page = None, None, None
    models: tuple[ServedModel, ...] = ()
    try:
        connected = server()
        found = service.find(connected)
        if found is not None:
            models = models_of(connected, found, address)
            page = connected.task_page(found.project, found.id)
    except UserFacingError as error:
        problem = error.message
    return Status(
        pid=running.pid if running else None,
        answers=running is not None and ask(f"{address}/{ENDPOINT}", {}, timeout_s=STATUS_TIMEOUT_S).status == 422,
        address=address,
        since=datetime.fromtimestamp(running.create_time(), UTC).isoformat(timespec="seconds") if running else None,
        server=noted.get("server", ""),
        problem=problem,
        service_id=found.id if found else None,
        page=page,
        auto_update=found.auto_update if found else False,
        models=models,
        log=str(settings.log),
    )


@dataclass(frozen=True)
class Origin:
    """Where a model comes from."""

    name: str
    created: str
    run_id: str
    """The pipeline run that made it; nothing where a task of its own did."""


def origin_of(server: ClearmlServer, model_id: str) -> Origin:
    """Return where a model comes from."""
    row = next(server.pages("models", id=[model_id], only_fields=["id", "name", "created", "task"]), {})
    maker = str(row.get("task") or "")
    runs = _runs_of(server, [maker] if maker else [])
    return Origin(str(row.get("name") or ""), str(row.get("created") or ""), runs.get(maker, ""))


def _runs_of(server: ClearmlServer, tasks: list[str]) -> dict[str, str]:
    """Return the pipeline run of each task that was a step: the parent of another one is the draft that it copies."""
    if not tasks:
        return {}
    parents = {task["id"]: str(task.get("parent") or "") for task in server.tasks(["parent"], id=tasks)}
    known = sorted({*parents.values()} - {""})
    found = server.tasks(["type", "system_tags"], id=known) if known else []
    pipelines = {parent["id"] for parent in found if is_pipeline(parent)}
    return {task: parent for task, parent in parents.items() if parent in pipelines}


def models_of(server: ClearmlServer, found: Service, address: str) -> tuple[ServedModel, ...]:
    """Return the models of a service, at an address."""
    ids = sorted({endpoint.model_id for endpoint in found.endpoints.values() if endpoint.model_id})
    rows = {}
    if ids:
        wanted = ["id", "name", "project", "task", "metadata"]
        rows = {row["id"]: row for row in server.pages("models", id=ids, only_fields=wanted)}
    makers = sorted({str(row.get("task") or "") for row in rows.values()} - {""})
    runs = _runs_of(server, makers)
    since = server.served_since() if found.endpoints else {}
    return tuple(
        replace(
            _served(server, endpoint, rows.get(endpoint.model_id) or {}, runs, f"{address}/{endpoint.url}"),
            share=round(found.shares.get(endpoint.url, 0.0), 6),
            since=moment.isoformat(timespec="seconds") if (moment := since.get(f"{address}/{endpoint.url}")) else "",
        )
        for endpoint in found.endpoints.values()
    )


def _served(
    server: ClearmlServer, endpoint: Endpoint, row: Mapping[str, Any], runs: Mapping[str, str], url: str
) -> ServedModel:
    metadata = row.get("metadata") or {}
    maker = str(row.get("task") or "")
    return ServedModel(
        url=url,
        version=endpoint.version,
        model_id=endpoint.model_id,
        name=str(row.get("name") or ""),
        page=server.model_page(str(row.get("project") or "*"), endpoint.model_id),
        task_id=maker,
        run_id=runs.get(maker, ""),
        datasets={
            part: str(metadata[f"{part}_version"].get("value"))
            for part in ("train", "test")
            if f"{part}_version" in metadata
        },
        is_deleted=not row,
    )
