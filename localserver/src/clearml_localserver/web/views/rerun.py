"""Run a pipeline's run again: what failed of it, or from one of its steps on.

Its controller is copied, told in its own options to take what the run has completed, and enqueued: what the command
line's `--from-failed` and `--from-step` do. A controller that has no such options runs every step as its own cache
settings say, so it is not offered there.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import runs
from clearml_localserver.web.runs import Run
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.actions import queue_of
from clearml_localserver.web.views.cloning import clone
from clearml_localserver.web.views.launch import next_name
from clearml_localserver.web.views.lists import all_tasks, find_queues
from clearml_localserver.web.views.tasks import load

OPTIONS = "Options"
FROM_RUN, FROM_STEP = "from_run", "from_step"
"""The section and the options of a controller: the run that it continues, and the first step that it runs again."""

REASON = "run again from the web page"


@dataclass(frozen=True)
class Offer:
    """What can be run again of a run."""

    failed: bool = False
    """What failed of it."""

    steps: bool = False
    """From one of its steps on."""

    why_not: str = ""
    """Why what failed cannot be run again, where that is not plain to see."""


def offered(task: Json, run: Run) -> Offer:
    """Return what can be run again of a run that has ended."""
    live = task["status"] in ("created", "queued", "in_progress") or any(
        step.status in ("running", "queued") for step in run.steps
    )
    if live or not run.begun or not run.steps:
        return Offer()
    options = task["hyperparams"].get(OPTIONS) or {}
    if FROM_RUN not in options:
        missing = "It cannot be continued: its pipeline does not know how to reuse the steps of another run."
        return Offer(why_not=missing if _has_failed(task, run) else "")
    return Offer(failed=_has_failed(task, run), steps=FROM_STEP in options)


def _has_failed(task: Json, run: Run) -> bool:
    return task["status"] in ("failed", "stopped") or any(step.status in ("failed", "aborted") for step in run.steps)


def confirm(visit: Visit) -> Response:
    """Ask before a run is run again."""
    task, run, step = _wanted(visit)
    queues = find_queues(visit)
    return visit.render(
        "rerun.html",
        task=task,
        step=step,
        reused=reused(run, step),
        queues=queues,
        queue=queue_of(task, queues),
        name=next_name(visit, task),
    )


def start(visit: Visit) -> Response:
    """Copy the controller, tell it what to take over, and enqueue it; on any error nothing is left behind."""
    task, _, step = _wanted(visit)
    sent = visit.form()
    copy = clone(visit, task, str(sent.get("name") or "").strip() or task["name"])
    options = {FROM_RUN: task["id"], FROM_STEP: step}
    kept = task["hyperparams"][OPTIONS]
    items = [{"section": OPTIONS, "name": name, "value": value} for name, value in options.items() if name in kept]
    try:
        visit.call("tasks.edit_hyper_params", {"task": copy, "hyperparams": items})
        visit.call("tasks.enqueue", {"task": copy, "queue": str(sent.get("queue") or ""), "status_reason": REASON})
    except ApiError:
        with contextlib.suppress(ApiError):
            visit.call("tasks.delete", {"task": copy, "force": True})
        raise
    return visit.redirect(f"/tasks/{copy}", "run")


def reused(run: Run, step: str) -> dict[str, list[str]]:
    """Return the steps of a run that are taken over (`reused`), and those that run (`again`).

    Args:
        run: The run.
        step: The first step that runs again; nothing for all that did not complete.
    """
    again = {each.name for each in run.steps if each.status not in ("completed", "cached")}
    if step:
        again |= {step}
    while more := {each.name for each in run.steps if each.name not in again and again.intersection(each.parents)}:
        again |= more
    names = [each.name for each in run.steps]
    return {
        "reused": [name for name in names if name not in again],
        "again": [name for name in names if name in again],
    }


def _wanted(visit: Visit) -> tuple[Json, Run, str]:
    """Return the controller, its run and the step that the address names, or nothing.

    Raises:
        ApiError: That cannot be run again.
    """
    task = load(visit, ["configuration.Pipeline", "hyperparams", "execution.queue"])
    children = all_tasks(visit, {"parent": [task["id"]]}, runs.STEP_FIELDS)
    run = runs.read_run(task, children)
    offer, step = offered(task, run), visit.query.get("step", "")
    if not runs.is_pipeline(task):
        raise ApiError(409, 0, f"{task['name']} is not a run of a pipeline")
    if step and not any(each.name == step for each in run.steps):
        raise ApiError(404, 0, f"This run has no step called {step!r}")
    if not (offer.steps if step else offer.failed):
        raise ApiError(
            409,
            0,
            offer.why_not
            or (
                "Only a run that has ended, of a controller with the options of this project, can be run again from a "
                "step"
                if step
                else "Nothing of this run has failed, or it has not ended"
            ),
        )
    return task, run, step
