"""The page of a pipeline run: its graph with one step open beside it, its steps over time, what got slower."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.web import dag, phases, run_rows, runs
from clearml_localserver.web.outcome import Failure
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views import rerun
from clearml_localserver.web.views.dataset_version import dataset
from clearml_localserver.web.views.failures import failures_of
from clearml_localserver.web.views.lists import CONTROLLERS, all_tasks, find_tasks
from clearml_localserver.web.views.step_panel import open_step
from clearml_localserver.web.views.tasks import load, overview, render_tab, tabs_of

LISTED_STEPS = 500
LISTED_FIRST = {status: place for place, status in enumerate(("running", "failed", "aborted", "queued", "pending"))}
STEP_FIELDS = [*runs.STEP_FIELDS, *phases.FIELDS]
COMPARED = 5
"""Earlier runs of which one that has begun is looked for."""


def first_tab(visit: Visit) -> Response:
    """Show a task's own first tab; a report has a page of its own."""
    task = load(visit, [])
    if task["type"] == "report":
        return visit.redirect(f"/reports/{task['id']}")
    shown = {"pipeline": pipeline, "dataset": dataset, "overview": overview}
    return shown[next(iter(tabs_of(task)))](visit)


def pipeline(visit: Visit) -> Response:
    """Show a pipeline run as a graph of its steps, with their times and the run's parameters."""
    task = load(visit, ["configuration.Pipeline", "hyperparams"])
    own = all_tasks(visit, {"parent": [task["id"]]}, STEP_FIELDS)
    step_tasks = {child["id"]: child for child in _with_named(visit, task, own)}
    queues = visit.call("queues.get_all", {"only_fields": ["id", "name"], "search_hidden": True})
    run = runs.read_run(task, step_tasks.values())
    shown = {step.task_id for step in run.steps}
    times = {
        step.name: phases.of_step(step, step_tasks[step.task_id], visit.now)
        for step in run.steps
        if step.task_id in step_tasks
    }
    failures = failures_of(visit, task, run)
    causes = _causes(run, failures)
    names = {queue["id"]: queue["name"] for queue in queues["queues"]}
    steps = {step.name: step for step in run.steps}
    drawing = dag.layout({step.name: step.parents for step in run.steps})
    chart = phases.chart(times)
    opened = open_step(visit, run, times, causes)
    current = opened.step.name if opened else None
    return render_tab(
        visit,
        task,
        "pipeline",
        step_tasks=step_tasks.values(),
        run=run,
        failures=failures,
        listed=min(LISTED_STEPS, len(run.steps)),
        rows=run_rows.table_rows(listed(run.steps), chart, names, causes, visit.now),
        drawing=drawing,
        boxes=run_rows.boxes(drawing, steps, causes, current, visit.address(step=None), visit.now) if drawing else "",
        # A copy of the run names it as its parent, too: it is a run of its own.
        others=[child for child in own if child["id"] not in shown and not _is_copy(child, task)],
        sections=[
            (name, items)
            for name, items in sorted(task["hyperparams"].items(), key=lambda item: (item[0] != "Args", item[0]))
            if name != "properties"
        ],
        chart=chart,
        phase_names=phases.NAMES,
        before=_before(visit, task, times),
        opened=opened,
        again=rerun.offered(task, run),
    )


def _causes(run: runs.Run, failures: list[Failure]) -> dict[str, str]:
    """Return why steps failed by name: that of a pipeline within the run, for its own step that failed."""
    return {
        step.name: failure.cause
        for step in run.steps
        for failure in failures
        if failure.title == step.name or failure.title.startswith(f"{step.name} / ")
    }


def _with_named(visit: Visit, task: Json, own: list[Json]) -> list[Json]:
    """Return the tasks of a run's steps: its children, and those that its graph names besides."""
    known = {child["id"] for child in own}
    ids = [id_ for id_ in runs.step_ids(task) if id_ not in known]
    return [*own, *(find_tasks(visit, {"id": ids}, size=len(ids), fields=STEP_FIELDS) if ids else [])]


def _before(visit: Visit, task: Json, times: dict[str, phases.Times]) -> phases.Comparison | None:
    """Return the run beside the one before it, as far as steps ran in both; None where there is nothing to compare."""
    created, project = task.get("created"), task["project"]["id"]
    if not created or not project or not any(each.ran for each in times.values()):
        return None
    wanted = CONTROLLERS | {"project": [project], "created": [None, created]}
    found = find_tasks(visit, wanted, size=COMPARED, fields=["name", "created", *runs.GRAPH_FIELDS])
    former = next((each for each in found if each["id"] != task["id"] and runs.has_begun(each)), None)
    if former is None:
        return None
    children = _with_named(visit, former, all_tasks(visit, {"parent": [former["id"]]}, STEP_FIELDS))
    by_id = {child["id"]: child for child in children}
    earlier = {
        step.name: phases.of_step(step, by_id[step.task_id], visit.now)
        for step in runs.read_run(former, children).steps
        if step.task_id in by_id
    }
    return phases.compare(former, earlier, times)


def _is_copy(child: Json, run: Json) -> bool:
    return runs.is_pipeline(child) and child["project"]["id"] == run["project"]["id"]


def listed(steps: list[runs.Step]) -> list[runs.Step]:
    """Return the steps that the table shows; of too many those that are not done with come first."""
    if len(steps) <= LISTED_STEPS:
        return steps
    return sorted(steps, key=lambda step: LISTED_FIRST.get(step.status, len(LISTED_FIRST)))[:LISTED_STEPS]
