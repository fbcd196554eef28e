"""Where something comes from and what became of it: dataset versions, steps between them, models, who serves them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import dag
from clearml_localserver.web.runs import is_pipeline
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.used import TASK_ID, datasets_of, models_of
from clearml_localserver.web.views.endpoints import Endpoint, find_endpoints
from clearml_localserver.web.views.lists import find_tasks
from clearml_localserver.web.views.tasks import is_dataset, read_struct

STRUCT = "Dataset Struct"
"""Configuration object in which the SDK keeps a dataset version's parents, and theirs."""

FIELDS = ["name", "type", "status", "system_tags", "runtime", "hyperparams.Datasets", "models", "parent"]
VERSION_FIELDS = [*FIELDS, f"configuration.{STRUCT}"]
MODEL_FIELDS = ["name", "task", "ready"]
DEPTH = 8
"""Steps and what they made that are followed, in each direction."""

MOST = 80
"""Items of a picture."""

SERVING = ("inference", "service")
"""Types of tasks that serve a model which they have as their input."""


@dataclass
class Item:
    """A dataset version, a model, a task or an endpoint of the picture."""

    id: str
    kind: str
    """`dataset`, `model`, `task`, `run` or `step` (of a pipeline), `serving` (a task that serves a model) or `endpoint`
    (where it is served)."""

    name: str
    status: str
    href: str
    task: Json
    """Its document; of an endpoint, what it serves and by which task."""

    version: str = ""
    """Of a dataset version, its number, which the line below its name shows: names are long."""

    parents: list[str] = field(default_factory=list)


@dataclass
class Picture:
    """What has been found so far."""

    visit: Visit
    items: dict[str, Item] = field(default_factory=dict)
    is_cut: bool = False
    """Whether there is more than the picture shows."""

    @cached_property
    def endpoints(self) -> list[Item]:
        """All endpoints of the server."""
        return [_of_endpoint(endpoint) for endpoint in find_endpoints(self.visit)]

    def tasks(self, query: Json) -> list[Item]:
        """Return tasks and dataset versions."""
        return [_of_task(task) for task in find_tasks(self.visit, query, size=MOST, fields=VERSION_FIELDS)]

    def models(self, query: Json) -> list[Item]:
        """Return models."""
        shown = {"page": 0, "page_size": MOST, "only_fields": MODEL_FIELDS}
        return [_of_model(model) for model in self.visit.call("models.get_all_ex", query | shown)["models"]]

    def steps(self, run: Item) -> list[Item]:
        """Return the steps of a pipeline's run, which read and make what the run does; nothing of any other item."""
        if run.kind != "run":
            return []
        return self.tasks({"parent": [run.id], "system_tags": ["-dataset", "-archived"], "order_by": ["created"]})

    def steps_among(self, items: list[Item]) -> set[str]:
        """Return the ids of the tasks that a pipeline's run has started: a clone has a parent too."""
        parents = {item.id: item.task["parent"]["id"] for item in items if item.kind == "task"}
        wanted = sorted({parent for parent in parents.values() if parent})
        query = {"id": wanted, "type": ["controller"]}
        runs = find_tasks(self.visit, query, size=len(wanted), fields=["name"]) if wanted else []
        return {id_ for id_, parent in parents.items() if parent in {run["id"] for run in runs}}

    def take(self, found: list[Item]) -> list[Item]:
        """Add items as far as there is room; return those that are new."""
        new = []
        for item in found:
            if item.id in self.items:
                continue
            if len(self.items) >= MOST:
                self.is_cut = True
                break
            self.items[item.id] = item
            new.append(item)
        return new

    def follow(self, front: list[Item], *, up: bool) -> None:
        """Add what items come from, or what became of them."""
        for _ in range(DEPTH):
            if not front:
                return
            front = self.take(self._above(front) if up else self._below(front))
        self.is_cut = self.is_cut or bool(front)

    def _above(self, front: list[Item]) -> list[Item]:
        sources = {source for item in front for source in _sources(item)}
        wanted = sorted(sources - set(self.items))[:MOST]
        return [*self.tasks({"id": wanted}), *self.models({"id": wanted})] if wanted else []

    def _below(self, front: list[Item]) -> list[Item]:
        found = []
        ids = {kind: [item.id for item in front if item.kind == kind] for kind in ("dataset", "model")}
        makers = [item.id for item in front if item.kind in ("run", "task", "serving")]
        if makers:
            found += self.models({"task": makers})
            found += self.tasks({"parent": makers, "system_tags": ["dataset"]})
        if ids["model"]:
            found += self.tasks({"models.input.model": ids["model"]})
        if served := {*makers, *ids["model"]}:
            found += [item for item in self.endpoints if served & set(_sources(item))]
        if versions := [id_ for id_ in ids["dataset"] if TASK_ID.fullmatch(id_)]:
            found += self.tasks({"_any_": {"fields": ["runtime.datasets"], "pattern": "|".join(versions)}})
            later = {"fields": [f"configuration.{STRUCT}.value"], "pattern": "|".join(versions)}
            mentioned = self.tasks({"system_tags": ["dataset"], "_any_": later})
            found += [item for item in mentioned if set(versions) & set(_sources(item))]
        return found


def lineage(visit: Visit) -> Response:
    """Show the lineage of a task, a dataset version, a model or an endpoint, which is named by its address."""
    id_, picture = visit.argument("item"), Picture(visit)
    named = [*picture.tasks({"id": [id_]}), *picture.models({"id": [id_]})]
    start = next((item for item in named or picture.endpoints if item.id == id_), None)
    if start is None:
        raise ApiError(404, 0, f"There is no task, dataset version or model with the id {id_[:200]}")
    roots = picture.steps(start) or [start]
    picture.take(roots)
    picture.follow(roots, up=True)
    picture.follow(roots, up=False)
    steps = picture.steps_among(list(picture.items.values()))
    for item in picture.items.values():
        item.kind = "step" if item.id in steps else item.kind
        item.parents = [source for source in _sources(item) if source in picture.items]
    return visit.render(
        "lineage_page.html",
        start=start,
        roots={item.id for item in roots},
        items=picture.items,
        is_cut=picture.is_cut,
        drawing=dag.layout({item.id: item.parents for item in picture.items.values()}),
    )


def _sources(item: Item) -> list[str]:
    """Return the ids of what an item was made of, or by."""
    if item.kind == "model":
        return [item.task["task"]["id"]] if item.task["task"]["id"] else []
    if item.kind == "endpoint":
        return [*item.task["models"], *item.task["tasks"]]
    if item.kind == "dataset":
        struct = item.task["configuration"].get(STRUCT, {}).get("value", "")
        earlier = read_struct(struct).get(item.id, {}).get("parents", [])
        return list(dict.fromkeys([*([item.task["parent"]["id"]] if item.task["parent"]["id"] else []), *earlier]))
    return [*datasets_of(item.task), *models_of(item.task, "input")]


def _of_task(task: Json) -> Item:
    href = f"/tasks/{quote(task['id'], safe='')}"
    if is_dataset(task):
        version = str(task["runtime"].get("version") or "")
        return Item(task["id"], "dataset", f"{task['name']} {version}".strip(), task["status"], href, task, version)
    if is_pipeline(task):
        return Item(task["id"], "run", task["name"], task["status"], href, task)
    serves = task["type"] in SERVING and bool(models_of(task, "input"))
    return Item(task["id"], "serving" if serves else "task", task["name"], task["status"], href, task)


def _of_model(model: Json) -> Item:
    status = "published" if model["ready"] else "created"
    return Item(model["id"], "model", model["name"], status, f"/models/{quote(model['id'], safe='')}", model)


def _of_endpoint(endpoint: Endpoint) -> Item:
    made_from = {"models": [model["id"] for model in endpoint.models], "tasks": endpoint.named("task")}
    name = endpoint.details["endpoint"] or endpoint.url
    return Item(endpoint.url, "endpoint", name, "in_progress", endpoint.href, made_from)
