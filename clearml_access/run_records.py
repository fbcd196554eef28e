"""A run as data: from the server's documents to the state of every step, its times, and the JSON that scripts read.

Pure. `clearml_access.api` fetches the documents, `pipeline.runs` shows the state. A step's truth is its
task's status; the controller's own view is used only to know which task a step became, and what became of a step whose
task was deleted since. A cloned controller carries the view of the run that it was cloned from, which counts only once
the copy itself has started.

localserver's pages read the same documents with code of their own (`clearml_localserver.web.runs`):
`tests/unit/test_run_readers.py` compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from clearml_access import pod_records
from clearml_access.tasks import (
    CONTROLLER_TYPE,
    LAUNCHED_PROPERTY,
    POD_PREFIX,
    TIMELINE_PROPERTY,
    USER_PROPERTIES,
    earlier_attempts,
    json_property,
    moment,
    reason_of,
)

PENDING, QUEUED, RUNNING, COMPLETED = "pending", "queued", "running", "completed"
FAILED, ABORTED, CACHED, SKIPPED = "failed", "aborted", "cached", "skipped"

_FROM_TASK = {
    "created": PENDING,
    "queued": QUEUED,
    "in_progress": RUNNING,
    "completed": COMPLETED,
    "publishing": COMPLETED,
    "published": COMPLETED,
    "closed": COMPLETED,
    "failed": FAILED,
    "stopped": ABORTED,
}

ENDED = {COMPLETED, CACHED, FAILED, ABORTED, SKIPPED}
STATUSES = {PENDING, QUEUED, RUNNING, *ENDED}
GOOD = {COMPLETED, CACHED}

DAG_CONFIGURATION = "Pipeline"
STARTED_MARK = "_pipeline_hash"
"""Runtime property that the SDK sets when a controller starts; cloning and resetting remove it."""
TASK_FIELDS = (
    "name",
    "type",
    "status",
    "status_reason",
    "status_message",
    "status_changed",
    "project",
    "parent",
    "created",
    "started",
    "completed",
    "last_worker",
    "hyperparams",
)
RUN_FIELDS = (*TASK_FIELDS, "runtime", f"configuration.{DAG_CONFIGURATION}")
"""Of any task of a run: a step may be a pipeline itself."""


class Graph(Protocol):
    """What a pipeline declares of its steps."""

    @property
    def graph(self) -> Mapping[str, tuple[str, ...]]:
        """Step → the steps that it waits for."""

    @property
    def parts(self) -> Mapping[str, Graph]:
        """Those of its steps that are pipelines themselves."""


@dataclass(frozen=True)
class StepState:
    """One step of a run. Moments are seconds since 1970, `None` while unknown."""

    name: str
    task_id: str | None = None
    status: str = PENDING
    cached: bool = False
    parents: tuple[str, ...] = ()
    reason: str = ""
    worker: str = ""
    launched: float | None = None
    """Put into its queue."""
    started: float | None = None
    """Taken by a worker."""
    process: float | None = None
    """Its script's first line ran."""
    function: float | None = None
    """The SDK is there, inputs are fetched: the step's function is called."""
    work: float | None = None
    """Its imports are done."""
    returned: float | None = None
    completed: float | None = None
    results: Mapping[str, str] = field(default_factory=dict)
    """What it returned as values: names of dataset ids to ids."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Datasets that it read: alias → id."""

    earlier_attempts: tuple[str, ...] = ()
    """Why each attempt before this one ended, where the controller ran it again."""

    pod_phases: Mapping[str, int] = field(default_factory=dict)
    """The seconds of each phase of its last pod; nothing where it ran in no pod of our agent."""

    inner: tuple[StepState, ...] = ()
    """Its own steps, where it is a pipeline."""

    def family(self) -> Iterator[StepState]:
        """Yield it and the steps inside it, which are called `<this name>.<their name>`."""
        yield self
        for step in self.inner:
            for member in step.family():
                parents = tuple(f"{self.name}.{parent}" for parent in member.parents)
                yield replace(member, name=f"{self.name}.{member.name}", parents=parents)

    @property
    def pod(self) -> str:
        """Name of the pod that runs it, or has run it; nothing where its worker is not a pod."""
        return _pod(self.task_id or "", self.worker)

    @property
    def queue_wait_s(self) -> float | None:
        """From its queue to a worker."""
        return _between(self.launched, self.started)

    @property
    def startup_s(self) -> float | None:
        """From the worker to the first line of its own work."""
        return _between(self.started, self.work)

    @property
    def run_s(self) -> float | None:
        """Its own work, storing results included."""
        return _between(self.work if self.work is not None else self.started, self.completed)

    def phases(self) -> dict[str, float | None]:
        """Return the seconds of each phase, in order."""
        return {
            "queue wait": self.queue_wait_s,
            "process start": _between(self.started, self.process),
            "imports": _between(self.process, self.work),
            "user code": _between(self.work, self.returned),
            "exit": _between(self.returned, self.completed),
        }


@dataclass(frozen=True)
class RunState:
    """One run of the pipeline."""

    run_id: str
    name: str = ""
    project: str = ""
    status: str = PENDING
    """The controller's own status."""
    reason: str = ""
    worker: str = ""
    """The agent that runs the controller, if one does."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepState, ...] = ()
    created: float | None = None
    started: float | None = None
    completed: float | None = None

    @property
    def pod(self) -> str:
        """Name of the controller's pod; nothing where its worker is not a pod."""
        return _pod(self.run_id, self.worker)

    @property
    def all_steps(self) -> tuple[StepState, ...]:
        """Its steps, and behind each one that is a pipeline the steps of that, called `outer.inner`."""
        return tuple(member for step in self.steps for member in step.family())

    @property
    def ended(self) -> bool:
        """Whether nothing of it will go on: the controller has ended, and so has every step that it started."""
        return self.status in ENDED and all(step.status in ENDED or step.status == PENDING for step in self.all_steps)

    @property
    def outcome(self) -> str:
        """`completed` only if every step is; else what went wrong, or `running`."""
        steps = self.all_steps
        if any(step.status == FAILED for step in steps) or self.status == FAILED:
            return FAILED if self.ended else RUNNING
        if not self.ended:
            return RUNNING
        good = self.status == COMPLETED and bool(steps) and all(step.status in GOOD for step in steps)
        return COMPLETED if good else ABORTED if ABORTED in {self.status, *(step.status for step in steps)} else FAILED

    @property
    def failed_steps(self) -> list[StepState]:
        """The steps that failed or were aborted; of a pipeline that did so for its steps' sake, those steps."""
        bad = [step for step in self.all_steps if step.status in (FAILED, ABORTED)]
        return [step for step in bad if not any(other.name.startswith(f"{step.name}.") for other in bad)]


def _pod(task_id: str, worker: str) -> str:
    """Return the pod's name as the k8s glue gives it; it also calls each pod's worker `<its own name>:<task id>`."""
    return f"{POD_PREFIX}{task_id}" if task_id and worker.endswith(f":{task_id}") else ""


def read_run(controller: Mapping[str, Any], tasks: Iterable[Mapping[str, Any]], graph: Graph | None = None) -> RunState:
    """Build the state of a run.

    Args:
        controller: The controller's document.
        tasks: Those of its steps' tasks, cached ones and those of pipelines inside it included.
        graph: Which steps there are while the controller has not written them down.
    """
    by_id = {task["id"]: task for task in tasks}
    return RunState(
        run_id=controller["id"],
        name=str(controller.get("name") or ""),
        project=str(controller.get("project") or ""),
        status=status_of(controller),
        reason=reason_of(controller),
        worker=str(controller.get("last_worker") or ""),
        parameters={name: str(item.get("value")) for name, item in _section(controller, "Args").items()},
        steps=_read_steps(controller, by_id, graph),
        created=moment(controller.get("created")),
        started=moment(controller.get("started")),
        completed=moment(controller.get("completed")),
    )


def _read_steps(
    controller: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]], declared: Graph | None
) -> tuple[StepState, ...]:
    nodes = read_dag(controller)
    begun = has_begun(controller)
    own = [task for task in tasks.values() if begun and task.get("parent") == controller["id"]]
    children = {task["name"]: task for task in sorted(own, key=lambda task: str(task.get("created") or ""))}
    graph = {name: tuple((node or {}).get("parents") or ()) for name, node in nodes.items()}
    graph = graph or dict(declared.graph if declared else {})
    parts = declared.parts if declared else {}
    ended = status_of(controller) in ENDED
    steps = []
    for name, parents in graph.items():
        noted = (nodes.get(name) or {}) if begun else {}
        job = noted.get("job_id") or ""
        task = tasks.get(job) or (None if job else children.get(name))
        state = StepState(name, parents=parents)
        if task is not None:
            # Until the controller has noted it, a step of another run that is done already was taken from the cache.
            foreign = task.get("parent") != controller["id"] and status_of(task) == COMPLETED
            cached = noted.get("status") == CACHED or (foreign and noted.get("status") not in ENDED)
            state = _read_step(state, task, cached=cached)
            if task.get("type") == CONTROLLER_TYPE:
                state = replace(state, inner=_read_steps(task, tasks, parts.get(name)))
        elif noted.get("status") in (STATUSES if job else {SKIPPED}):  # its task was deleted since, or never made
            state = replace(state, status=noted["status"], cached=noted["status"] == CACHED)
        elif ended:
            state = replace(state, status=SKIPPED)
        steps.append(state)
    return tuple(steps)


def status_of(task: Mapping[str, Any]) -> str:
    """Return the status of a controller or step."""
    return _FROM_TASK.get(task["status"], RUNNING)


def read_dag(controller: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes that the controller has written down, by step; nothing before it has."""
    item = (controller.get("configuration") or {}).get(DAG_CONFIGURATION) or {}
    try:
        nodes = json.loads(item.get("value") or "{}")
    except ValueError:
        return {}
    return nodes if isinstance(nodes, dict) else {}


def has_begun(controller: Mapping[str, Any]) -> bool:
    """Return whether the controller has started: only then are the tasks in its graph its own."""
    started = STARTED_MARK in (controller.get("runtime") or {})
    return started or controller["status"] not in ("created", "queued", "in_progress")


def step_task_ids(controller: Mapping[str, Any]) -> list[str]:
    """Return the ids of the tasks that the controller's steps became; none before it has started."""
    if not has_begun(controller):
        return []
    return [node["job_id"] for node in read_dag(controller).values() if node.get("job_id")]


def _read_step(state: StepState, task: Mapping[str, Any], *, cached: bool) -> StepState:
    properties = _section(task, USER_PROPERTIES)
    marks = json_property(task, TIMELINE_PROPERTY)
    timeline = {name: float(at) for name, at in marks.items()} if isinstance(marks, dict) else {}
    status = status_of(task)
    noted = str((properties.get(LAUNCHED_PROPERTY) or {}).get("value") or "")
    # A controller of somebody else's script notes nothing: it makes a step's task when it enqueues it.
    launched = float(noted) if noted else moment(task.get("created")) if status != PENDING else None
    # The agent in a pod leaves no moment of its start: then the wait lasts until the script's first line.
    started = (moment(task.get("started")) or timeline.get("process")) if status in (RUNNING, *ENDED) else None
    # An aborted task has no moment of its completion.
    completed = moment(task.get("completed")) or (moment(task.get("status_changed")) if started else None)
    return replace(
        state,
        task_id=task["id"],
        status=CACHED if cached else status,
        cached=cached,
        reason=reason_of(task) if status in (FAILED, ABORTED) else "",
        worker=str(task.get("last_worker") or ""),
        launched=launched,
        started=started,
        completed=completed if status in ENDED else None,
        process=timeline.get("process"),
        function=timeline.get("function"),
        work=timeline.get("work"),
        returned=timeline.get("returned"),
        results={name: str(item.get("value")) for name, item in _section(task, "return").items()},
        inputs={name: str(item.get("value")) for name, item in _section(task, "Datasets").items()},
        earlier_attempts=() if cached else earlier_attempts(task),
        pod_phases={} if cached else pod_records.phases_of(task),
    )


def _section(task: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (task.get("hyperparams") or {}).get(name) or {}
    return found


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def as_json(
    run: RunState, *, mode: str | None, outcome: str, datasets: Mapping[str, str], report: str | None
) -> dict[str, Any]:
    """Return the object that `--json` prints; scripts rely on its keys."""

    def rounded(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds, 3)

    def described(step: StepState) -> dict[str, Any]:
        inner = {"steps": [described(member) for member in step.inner]} if step.inner else {}
        return {
            "name": step.name,
            "task_id": step.task_id,
            "status": step.status,
            "cached": step.cached,
            "queue_wait_s": None if step.cached else rounded(step.queue_wait_s),
            "startup_s": None if step.cached else rounded(step.startup_s),
            "run_s": None if step.cached else rounded(step.run_s),
            **({"earlier_attempts": list(step.earlier_attempts)} if step.earlier_attempts else {}),
            **({"pod_phases": dict(step.pod_phases)} if step.pod_phases else {}),
            **inner,
        }

    return {
        "status": outcome,
        "run_id": run.run_id,
        "mode": mode,
        "steps": [described(step) for step in run.steps],
        "datasets": dict(datasets),
        "report": report,
    }
