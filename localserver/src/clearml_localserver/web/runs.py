"""A pipeline run, read from its controller task and its steps' tasks. Pure; calls no API.

The SDK keeps the graph as JSON in the controller's configuration object `Pipeline` and rewrites it whenever a step
changes hands. Between two writes the steps' own tasks know better, so their status wins. A cloned controller carries
the graph of the run it was cloned from, with that run's task ids: these count only once the copy itself has started.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearml_localserver.web.outcome import sentences
from clearml_localserver.web.shapes import MAX_JSON, read_json, record, reference, text, texts
from clearml_localserver.web.text import moment

Json = dict[str, Any]

GRAPH = "Pipeline"
"""The configuration object in which a controller keeps its graph."""

STARTED_MARK = "_pipeline_hash"
"""Runtime property that the SDK sets when a controller starts; cloning and resetting remove it."""

OF_TASK = {
    "created": "pending",
    "queued": "queued",
    "in_progress": "running",
    "stopped": "aborted",
    "failed": "failed",
    "completed": "completed",
    "closed": "completed",
    "published": "completed",
    "publishing": "completed",
}
NODE = record(parents=texts, job_id=text, status=text, queue=text)
STATUSES = frozenset({"pending", "queued", "running", "completed", "cached", "failed", "aborted", "skipped"})
MAX_NODES = 5_000
ENDED = frozenset({"completed", "cached", "failed", "aborted", "skipped"})
URGENCY = ("failed", "aborted", "running", "queued", "pending", "skipped", "cached", "completed")
"""Which status a square of the strip shows that stands for several steps: a failed one must never hide."""

MAX_SQUARES = 20
"""What a column of a list has room for."""

STEP_FIELDS = ["name", "status", "parent", "created", "started", "completed", "status_changed", "status_reason",
               "status_message", "last_worker", "execution.queue", "project", "type", "system_tags"]  # fmt: skip
GRAPH_FIELDS = ["status", "runtime", "configuration.Pipeline"]
"""What `step_ids` reads."""


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    name: str
    status: str
    """`pending`, `queued`, `running`, `completed`, `cached`, `failed`, `aborted` or `skipped`."""

    parents: list[str]
    task_id: str | None = None
    queue: str = ""
    """Name, where the pipeline itself names one."""

    queue_id: str = ""
    """The queue that the step's task was put on."""

    message: str = ""
    """Of a failed or aborted step, why and by whom, as sentences."""

    is_pipeline: bool = False
    """Whether its task is the controller of a pipeline within this one."""

    worker: str = ""
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None

    def seconds(self, now: datetime) -> float | None:
        """Return how long the step ran or has been running; a cached step did not run in this run."""
        if self.started is None or self.status == "cached":
            return None
        return max(0.0, ((self.ended or now) - self.started).total_seconds())

    def waited(self, now: datetime) -> float | None:
        """Return how long the step's task existed before it ran."""
        if self.created is None or self.status == "cached":
            return None
        return max(0.0, ((self.started or now) - self.created).total_seconds())


@dataclass(frozen=True)
class Square:
    """A part of the strip that shows a run in lists: one step, or several that follow each other."""

    status: str
    """The most urgent one of its steps."""

    title: str


@dataclass(frozen=True)
class Run:
    """A pipeline run."""

    steps: list[Step]
    begun: bool
    """False for a controller that has not started: its graph is a plan."""

    problem: str = ""
    """What is wrong with the stored graph, as text for the page."""

    @property
    def counts(self) -> dict[str, int]:
        """How many steps have each status."""
        result: dict[str, int] = {}
        for step in self.steps:
            result[step.status] = result.get(step.status, 0) + 1
        return result

    @property
    def completed_steps(self) -> int:
        """How many steps have a result: they completed, or an earlier one is reused."""
        return sum(step.status in ("completed", "cached") for step in self.steps)

    @property
    def squares(self) -> list[Square]:
        """All steps in their order, at most `MAX_SQUARES` squares."""
        number = min(MAX_SQUARES, len(self.steps))
        cuts = [n * len(self.steps) // number for n in range(number + 1)] if number else [0]
        return [_square(self.steps[start:end]) for start, end in itertools.pairwise(cuts)]


def _square(steps: list[Step]) -> Square:
    """Return the square of one step or more."""
    if len(steps) == 1:
        return Square(steps[0].status, f"{steps[0].name}: {steps[0].status}")
    statuses = [step.status for step in steps]
    found = [status for status in URGENCY if status in statuses]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in found)
    return Square(found[0], f"{steps[0].name} to {steps[-1].name}: {counts}")


UNREAD = Run([], True, "The graph is too large to be read for a list; the run's own page shows it.")


def is_pipeline(task: Json) -> bool:
    """Return whether a task is a pipeline's controller."""
    return "pipeline" in (task.get("system_tags") or []) and task.get("type") == "controller"


@dataclass(frozen=True)
class Graph:
    """The graph that a controller holds."""

    nodes: dict[str, Json]
    """Step name → what the SDK stores of it."""

    problem: str = ""
    """What is wrong with it, as text for the page; empty for a graph as the SDK writes it and for a missing one."""


def stored_graph(task: Json) -> str:
    """Return the text in which a controller keeps its graph."""
    return text(((task.get("configuration") or {}).get(GRAPH) or {}).get("value"))


def read_graph(task: Json) -> Graph:
    """Return the graph that a controller holds, as far as it can be read."""
    stored = stored_graph(task)
    if not stored.strip():
        return Graph({})
    if len(stored) > MAX_JSON:
        return Graph({}, f"The stored graph is too large to be shown: {len(stored):,} characters.")
    found = read_json(stored)
    if not isinstance(found, dict):
        return Graph({}, "The stored graph cannot be read.")
    odd = next((name for name, node in found.items() if not _is_node(node)), None)
    problem = "" if odd is None else f"The stored graph is not as the SDK writes it, e.g. the step {odd[:80]!r}."
    if len(found) > MAX_NODES:
        problem = f"The stored graph has {len(found):,} steps, of which the first {MAX_NODES:,} are shown."
    return Graph({name: NODE(found[name]) for name in itertools.islice(found, MAX_NODES)}, problem)


def _is_node(node: Any) -> bool:
    parents = node.get("parents") if isinstance(node, dict) else 0
    return parents is None or (isinstance(parents, list) and all(isinstance(parent, str) for parent in parents))


def has_begun(task: Json) -> bool:
    """Return whether the task ids in a controller's graph are its own."""
    if task.get("status") in ("created", "queued") and STARTED_MARK not in (task.get("runtime") or {}):
        return False
    return STARTED_MARK in (task.get("runtime") or {}) or task.get("status") != "in_progress"


def step_ids(task: Json) -> list[str]:
    """Return the ids of the step tasks that a controller knows."""
    if not has_begun(task):
        return []
    return [node["job_id"] for node in read_graph(task).nodes.values() if node["job_id"]]


def read_run(task: Json, step_tasks: Iterable[Json]) -> Run:
    """Return the run of a controller task.

    Args:
        task: The controller, with `configuration`, `runtime` and `status`.
        step_tasks: Tasks named by `step_ids` and the controller's children, fields `STEP_FIELDS`, in any order.
    """
    begun = has_begun(task)
    over = task.get("status") not in ("created", "queued", "in_progress")
    by_id = {child["id"]: child for child in step_tasks}
    own = sorted(
        (c for c in by_id.values() if reference(c.get("parent"))["id"] == task["id"]),
        key=lambda c: text(c.get("created")),
    )
    by_name = {child["name"]: child for child in own}
    graph = read_graph(task)
    return Run(
        [_step(name, node, task["id"], begun, over, by_id, by_name) for name, node in graph.nodes.items()],
        begun,
        graph.problem,
    )


def _step(
    name: str, node: Json, run_id: str, begun: bool, over: bool, by_id: dict[str, Json], by_name: dict[str, Json]
) -> Step:
    fixed: Json = {"parents": node["parents"], "queue": node["queue"]}
    stored = node["status"] if begun and node["status"] in STATUSES else "pending"
    job = node["job_id"] if begun else ""
    child = by_id.get(job) or (by_name.get(name) if begun and not job else None)
    if child is None:
        # Named by the graph, but deleted since; or never made.
        status = stored if job or stored == "skipped" else ("skipped" if over else "pending")
        return Step(name, status, task_id=None, **fixed)
    own = status = OF_TASK.get(child.get("status") or "", stored)
    # Until the controller has noted it, a step of another run that is done already was taken from the cache.
    foreign = reference(child.get("parent"))["id"] != run_id and own == "completed"
    if stored == "cached" or (foreign and stored not in ENDED):
        status = "cached"
    if own == "pending" and stored == "skipped":
        status = "skipped"
    # A task that was put into a queue once more keeps the moments of its earlier run.
    started = moment(child.get("started")) if own not in ("pending", "queued") else None
    ended = (
        None if started is None or own == "running" else moment(child.get("completed") or child.get("status_changed"))
    )
    return Step(
        name,
        status,
        task_id=child["id"],
        message=sentences(child) if status in ("failed", "aborted") else "",
        is_pipeline=is_pipeline(child),
        worker=child.get("last_worker") or "",
        queue_id=reference((child.get("execution") or {}).get("queue"))["id"],
        created=moment(child.get("created")),
        started=started,
        ended=ended,
        **fixed,
    )
