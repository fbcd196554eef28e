"""What people do to a task: one table, one confirmation page, one POST.

An action's button is a link to its confirmation page; `static/app.js` shows the same form as a dialog. Nothing changes
on GET.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import runs, text
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.cloning import clone
from clearml_localserver.web.views.lists import all_tasks, find_queues
from clearml_localserver.web.views.tasks import load

ENDED = frozenset({"stopped", "failed", "completed", "closed"})
REASON = "web page"


def stopping(task: Json) -> bool:
    """Return whether a task was told to stop and its worker has not done so yet."""
    return task["status"] == "in_progress" and task.get("status_message") == "stopping"


def archived(task: Json) -> bool:
    """Return whether a task is in the archive."""
    return "archived" in (task.get("system_tags") or [])


@dataclass(frozen=True)
class Action:
    """Something that can be done to a task."""

    title: str
    question: str
    possible: Callable[[Json], bool]
    danger: bool = False
    main: bool = False
    """Whether it has a button of its own instead of a place in the menu."""


ACTIONS = {
    "abort": Action(
        "Abort",
        "The worker ends the task's process within a few seconds.",
        lambda task: task["status"] in ("queued", "in_progress") and not stopping(task),
        danger=True,
        main=True,
    ),
    "force-abort": Action(
        "Mark aborted",
        "The task was told to stop, but its worker has not answered. Mark it as aborted without waiting any longer? "
        "A process that still runs somewhere is not ended by this.",
        stopping,
        danger=True,
        main=True,
    ),
    "enqueue": Action(
        "Enqueue",
        "A worker of the chosen queue will run it.",
        lambda task: task["status"] in ("created", "stopped", "failed"),
        main=True,
    ),
    "dequeue": Action("Dequeue", "It becomes again what it was before.", lambda task: task["status"] == "queued"),
    "reset": Action(
        "Reset",
        "It becomes a draft again: console, scalars, plots, output models and artifacts of this run are deleted.",
        lambda task: task["status"] in ENDED,
        danger=True,
    ),
    "clone": Action("Clone", "A draft with the same code and parameters is made.", lambda task: True),
    "archive": Action(
        "Archive",
        "It disappears from the lists; nothing is deleted.",
        lambda task: not archived(task) and task["status"] not in ("queued", "in_progress"),
    ),
    "publish": Action(
        "Publish",
        "It and its models become read-only. This cannot be undone.",
        lambda task: task["status"] in ("stopped", "completed", "closed"),
        danger=True,
    ),
    "unarchive": Action("Unarchive", "It appears in the lists again.", archived),
}


def actions_of(task: Json) -> dict[str, Action]:
    """Return what can be done to a task now."""
    return {name: action for name, action in ACTIONS.items() if action.possible(task)}


def confirm(visit: Visit) -> Response:
    """Ask before an action; one that is not possible is refused before the question."""
    visit.require_change()
    name, action, task = _wanted(visit)
    _require_possible(name, action, task)
    queues = find_queues(visit) if name == "enqueue" else []
    return visit.render(
        "confirm.html", task=task, name=name, action=action, queues=queues, default_queue=queue_of(task, queues)
    )


def act(visit: Visit) -> Response:
    """Do an action."""
    name, action, task = _wanted(visit)
    _require_possible(name, action, task)
    id_, form = task["id"], visit.form()
    where = f"/tasks/{id_}"
    if name == "abort":
        return _abort(visit, task, form)
    if name == "force-abort":
        data = {"task": id_, "force": True, "status_reason": REASON, "status_message": "aborted without its worker"}
        visit.call("tasks.stopped", data)
        return visit.redirect(where, "aborted")
    if name == "enqueue":
        visit.call("tasks.enqueue", {"task": id_, "queue": str(form.get("queue") or ""), "status_reason": REASON})
    elif name == "dequeue":
        visit.call("tasks.dequeue", {"task": id_, "status_reason": REASON})
    elif name == "reset":
        visit.call("tasks.reset", {"task": id_, "force": False})
    elif name == "clone":
        new_name = str(form.get("name") or "").strip() or f"Clone of {task['name']}"
        where = f"/tasks/{clone(visit, task, new_name)}"
    elif name == "publish":
        visit.call("tasks.publish", {"task": id_, "status_reason": REASON})
    elif name == "archive":
        visit.call("tasks.archive", {"tasks": [id_], "status_reason": REASON})
    elif name == "unarchive":
        visit.call("tasks.unarchive_many", {"ids": [id_]})
    return visit.redirect(where, name)


def _abort(visit: Visit, task: Json, form: dict[str, str]) -> Response:
    """Abort a task; of a pipeline also the steps, which would otherwise run on without a controller.

    The steps of a step that is a pipeline itself are aborted too.
    """
    visit.call("tasks.stop", {"task": task["id"], "status_reason": REASON})
    parents = {task["id"]} if runs.is_pipeline(task) and form.get("steps") else set()
    aborted = set(parents)
    while parents:
        live = {"parent": sorted(parents), "status": ["queued", "in_progress"]}
        parents = {step["id"] for step in all_tasks(visit, live, ["status"])} - aborted
        aborted |= parents
        for step in parents:
            visit.call("tasks.stop", {"task": step, "status_reason": "pipeline aborted"})
    after = (load(visit))["status"]
    return visit.redirect(f"/tasks/{task['id']}", "abort" if after == "in_progress" else "aborted")


def _wanted(visit: Visit) -> tuple[str, Action, Json]:
    name = visit.argument("action")
    if name not in ACTIONS:
        raise ApiError(404, 0, f"There is no action called {name!r}")
    return name, ACTIONS[name], load(visit, ["execution.queue", "hyperparams"])


def _require_possible(name: str, action: Action, task: Json) -> None:
    if action.possible(task):
        return
    reason = f"not possible for a task with the status {text.status(task['status']).name}"
    if name == "unarchive":
        reason = "it is not archived"
    elif name == "archive" and archived(task):
        reason = "it is archived already"
    elif name == "abort" and stopping(task):
        reason = "it was told to stop already"
    raise ApiError(409, 0, f"{action.title}: {reason}")


QUEUE_BEFORE = "hyperparams.properties"
"""What `queue_of` reads of a task beside its status and its queue."""

PODS_QUEUE, POD_QUEUE_PROPERTY = "k8s_scheduler", "k8s-queue"
"""The agent's glue for Kubernetes puts tasks whose pods it makes into a queue of its own, which no worker serves, and
keeps the name of the one from which it took them in a user property."""


def queue_of(task: Json, queues: list[Json]) -> str:
    """Return the queue to propose: of a draft its own.

    Of any other task the one it was on, if a worker serves that, else the first that a worker serves.
    """
    before = _queue_before(task, queues)
    if task["status"] == "created" and any(queue["id"] == before for queue in queues):
        return before
    served = [queue["id"] for queue in queues if queue["alive"]]
    if before in served or not queues:
        return before
    return served[0] if served else before or str(queues[0]["id"])


def _queue_before(task: Json, queues: list[Json]) -> str:
    """Return the id of the queue that a task was put into, also where it went on to a pod from there."""
    id_: str = task["execution"]["queue"]["id"]
    if any(queue["id"] == id_ and queue["name"] == PODS_QUEUE for queue in queues):
        name = task["hyperparams"].get("properties", {}).get(POD_QUEUE_PROPERTY, {}).get("value")
        return next((queue["id"] for queue in queues if queue["name"] == name), "")
    return id_
