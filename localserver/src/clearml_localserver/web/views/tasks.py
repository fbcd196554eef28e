"""The task page: its header, and the tabs that read the task document."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import runs
from clearml_localserver.web.shapes import lines, map_of, number, read_json, record, text, texts
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.text import LIVE, pretty, size
from clearml_localserver.web.views.failures import failure_of
from clearml_localserver.web.views.lists import TASK_ROW, all_tasks, find_tasks, task_page
from clearml_localserver.web.views.personal import preferences

HEADER = [*TASK_ROW, "parent.name", "runtime", "comment"]
TABS = {
    "pipeline": "Pipeline",
    "dataset": "Dataset",
    "overview": "Overview",
    "parameters": "Parameters",
    "console": "Console",
    "scalars": "Scalars",
    "plots": "Plots",
    "samples": "Debug samples",
    "artifacts": "Artifacts",
}
ATTEMPTS = "hyperparams.properties.earlier_attempts"
MAX_INNER = 5
"""Pipelines within pipelines that are looked at."""

DRAWN = 24
"""Versions of which the lineage is drawn; more would be a wall."""
STRUCT = map_of(record(job_id=text, name=text, version=text, status=text, job_size=number, parents=texts))
MAX_VALUE = 200_000
"""Longest configuration text that a page shows."""

MAX_CONFIGURATION = 4 * MAX_VALUE
"""Characters of all configuration texts that a page shows."""


@dataclass(frozen=True)
class DatasetFile:
    """A file of a dataset version, as the SDK lists it on the task."""

    name: str
    size: int | None
    hash: str


def load(visit: Visit, fields: list[str] | None = None) -> Json:
    """Return the task that the address names.

    Raises:
        ApiError: 400/101 for an id that no task has.
    """
    id_ = visit.argument("task")
    found = find_tasks(visit, {"id": [id_]}, size=1, fields=[*HEADER, *(fields or [])])
    if not found:
        raise ApiError(400, 101, f"There is no task with the id {id_}")
    return found[0]


def is_dataset(task: Json) -> bool:
    """Return whether a task is a dataset version."""
    return "dataset" in (task.get("system_tags") or [])


def tabs_of(task: Json) -> dict[str, str]:
    """Return a task's tabs: the first one is what its plain address shows."""
    left_out = {
        name for name, shown in (("pipeline", runs.is_pipeline(task)), ("dataset", is_dataset(task))) if not shown
    }
    return {name: title for name, title in TABS.items() if name not in left_out}


def is_live(visit: Visit, task: Json, steps: Collection[Json] | None = None) -> bool:
    """Return whether a task's pages will change: it is not done, or a step of its run or of an inner run's is not.

    Args:
        visit: The visit.
        task: The task.
        steps: The tasks of its steps, where the view has read them already.
    """
    if task["status"] in LIVE:
        return True
    if not runs.is_pipeline(task):
        return False
    front, seen = [task["id"]], {task["id"]}
    for _ in range(MAX_INNER):
        found = _steps_of(visit, front) if steps is None else steps
        if any(step["status"] in LIVE for step in found):
            return True
        front = [step["id"] for step in found if runs.is_pipeline(step) and step["id"] not in seen]
        if not front:
            break
        seen.update(front)
        steps = None
    return False


def _steps_of(visit: Visit, controllers: list[str]) -> list[Json]:
    """Return the tasks of pipeline runs' steps: the runs' children, and those that their graphs name besides."""
    named = [
        id_
        for controller in find_tasks(visit, {"id": controllers}, size=len(controllers), fields=runs.GRAPH_FIELDS)
        for id_ in runs.step_ids(controller)
    ]
    steps = all_tasks(visit, {"parent": controllers}, runs.STEP_FIELDS)
    known = {step["id"] for step in steps}
    missing = [id_ for id_ in named if id_ not in known]
    if missing:
        steps += find_tasks(visit, {"id": missing}, size=len(missing), fields=runs.STEP_FIELDS)
    return steps


def render_tab(
    visit: Visit, task: Json, tab: str, *, step_tasks: Collection[Json] | None = None, **values: Any
) -> Response:
    """Return the task page with one tab open; `step_tasks` are those of a run, where the view has read them."""
    return visit.render(
        f"task_{tab}.html",
        task=task,
        tab=tab,
        tabs=tabs_of(task),
        section="/pipelines" if runs.is_pipeline(task) else "/datasets" if is_dataset(task) else "/projects",
        live=is_live(visit, task, step_tasks),
        followed=task["id"] in preferences(visit)["followed"],
        **values,
    )


def overview(visit: Visit) -> Response:
    """Show what the task is, where it ran and what it ran."""
    shown = ["script", "container", "execution.queue", "output", "last_worker_report", "models", ATTEMPTS]
    task = load(visit, shown)
    queue_id = task["execution"]["queue"]["id"]
    children = task_page(visit, {"parent": [task["id"]], "order_by": ["created"]})
    queue = _queue(visit, queue_id)
    singles = visit.call("events.get_task_single_value_metrics", {"tasks": [task["id"]]})
    values: list[Json] = next((item["values"] for item in singles["tasks"]), [])
    failures = [failure_of(visit, task)] if task["status"] == "failed" else []
    return render_tab(
        visit,
        task,
        "overview",
        children=children,
        queue=queue,
        singles=values,
        failures=failures,
        attempts=_attempts(task),
    )


def _attempts(task: Json) -> list[str]:
    """Return why each earlier attempt of a step ended; a pipeline of this project notes that as a user property."""
    noted: Any = task
    for name in ATTEMPTS.split("."):
        noted = noted.get(name) if isinstance(noted, dict) else None
    found: list[str] = lines(read_json(str(noted.get("value") or "")) if isinstance(noted, dict) else None)
    return found


def parameters(visit: Visit) -> Response:
    """Show hyperparameters by section, and configuration objects."""
    task = load(visit, ["hyperparams", "configuration"])
    sections = sorted(task["hyperparams"].items(), key=lambda item: (item[0] != "Args", item[0]))
    told = {
        name: {kind for item in items.values() for kind in ("type", "description") if item[kind]}
        for name, items in sections
    }
    return render_tab(
        visit,
        task,
        "parameters",
        sections=sections,
        told=told,
        configuration=shown_configuration(task),
    )


def shown_configuration(task: Json) -> list[tuple[str, Json]]:
    """Return the configuration objects with the text to be shown: indented, cut where there is no more room."""
    found, room = [], MAX_CONFIGURATION
    for name, item in sorted(task["configuration"].items()):
        value = item["value"]
        shown = value if len(value) > MAX_VALUE else pretty(value)
        shown = shown[: min(MAX_VALUE, room)]
        room -= len(shown)
        found.append((name, item | {"shown": shown, "cut": len(shown) < len(value)}))
    return found


def artifacts(visit: Visit) -> Response:
    """Show artifacts and models with links to their files."""
    task = load(visit, ["execution.artifacts", "models"])
    models = task.get("models") or {}
    ids = [item["model"]["id"] for kind in ("input", "output") for item in models.get(kind) or []]
    details: dict[str, Json] = {}
    if ids:
        query = {"id": ids, "only_fields": ["name", "uri", "framework", "ready"], "page": 0, "page_size": len(ids)}
        details = {model["id"]: model for model in visit.call("models.get_all_ex", query)["models"]}
    found = task["execution"]["artifacts"]
    found.sort(key=lambda artifact: (artifact["mode"] != "input", artifact["key"]))
    return render_tab(
        visit,
        task,
        "artifacts",
        artifacts=found,
        models=models,
        details=details,
        model_id=lambda item: item["model"]["id"],
    )


def file_lines(text: str) -> Iterator[str]:
    """Yield the lines of files in the configuration object `Dataset Content`, which begins with a header line."""
    end = text.find("\n")
    while end >= 0:
        start, end = end + 1, text.find("\n", end + 1)
        line = (text[start:end] if end >= 0 else text[start:]).rstrip("\r")
        if line.strip():
            yield line


def read_file(line: str) -> DatasetFile:
    """Return the file of a line of CSV whose names are not quoted, so that they may hold the separator."""
    name, size, digest = ([""] * 3 + line.rsplit(", ", 2))[-3:]
    if not name:
        return DatasetFile(line.strip(), None, "")
    return DatasetFile(name, int(size) if size.isdecimal() and len(size) < 20 else None, digest)


def read_struct(text: str) -> dict[str, Json]:
    """Return the versions in the configuration object `Dataset Struct`: task id → name, version, size, parent ids."""
    stored = STRUCT(read_json(text))
    ids = {key: node["job_id"] for key, node in stored.items()}
    return {
        node["job_id"]: node | {"parents": [ids[parent] for parent in node["parents"] if parent in ids]}
        for node in stored.values()
        if node["job_id"]
    }


def nearest(versions: dict[str, Json], ids: list[str]) -> dict[str, Json]:
    """Return the versions to draw: `ids` in their order, then their parents, then theirs, as far as there is room."""
    chosen: set[str] = set()
    front = [id_ for id_ in ids if id_ in versions]
    while front and len(chosen) < DRAWN:
        chosen.update(front[: DRAWN - len(chosen)])
        parents = [parent for id_ in front for parent in versions[id_]["parents"]]
        front = [parent for parent in dict.fromkeys(parents) if parent in versions and parent not in chosen]
    return {id_: version for id_, version in versions.items() if id_ in chosen}


def label_versions(versions: dict[str, Json], own_name: str, statuses: dict[str, str]) -> dict[str, Json]:
    """Return versions ready to be drawn: with a line of text, and the status of today where it is known.

    The SDK writes a version's structure while the version is still being made.
    """
    labelled = {}
    for id_, version in versions.items():
        words = [size(version["job_size"])] if version.get("job_size") else []
        if version.get("name") != own_name:
            words.append(str(version.get("name") or ""))
        line = " · ".join(words) or "empty"
        labelled[id_] = version | {"line": line, "status": statuses.get(id_, version.get("status"))}
    return labelled


def _queue(visit: Visit, id_: str) -> Json | None:
    if not id_:
        return None
    found = visit.call("queues.get_all", {"id": [id_], "only_fields": ["id", "name"]})["queues"]
    return next(iter(found), {"id": id_, "name": id_})
