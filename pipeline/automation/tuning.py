"""The search in its own process: the SDK's optimizer over clones of the task TF-IDF, and what is done with the best.

Trials go to the steps' queue, at most as many at once as it has workers. None of them is published; of those that have
completed, the best one's model is published and gets the tag, which the dataset's last such model loses. Budget: a
number of trials and minutes; what runs when the time is over is aborted. Outside systems: the ClearML server, through
the SDK and its adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml import InputModel, Task
from clearml.automation import DiscreteParameterRange, GridSearch, HyperParameterOptimizer, RandomSearch
from clearml.backend_interface.session import SendError

from clearml_access.agent_values import AgentValues
from pipeline.amazon_reviews.model import fit_model
from pipeline.automation import search
from pipeline.clearml_server import ClearmlServer
from pipeline.datasets.lookup import require_version
from pipeline.errors import ServiceError
from pipeline.graph.parameters import ParameterValue
from pipeline.module_tasks.declaration import SECTION
from pipeline.module_tasks.drafts import clone
from pipeline.module_tasks.process import tell
from pipeline.preflight import require_queue
from pipeline.sdk.steps import prepare

POLL_MINUTES = 1.0 / 60
REPORT_MINUTES = 0.1
STRATEGIES = {"grid": GridSearch, "random": RandomSearch}


def main() -> None:
    """Run the search that this process belongs to."""
    prepare()
    task = Task.init(
        project_name=search.TUNE.project,
        task_name=search.TUNE.name,
        task_type=Task.TaskTypes.optimizer,
        auto_connect_frameworks=False,
        auto_connect_arg_parser=False,
        auto_resource_monitoring=False,
    )
    run(task, search.TUNE.read(task.get_parameters()))
    task.flush(wait_for_uploads=True)
    task.close()
    task.mark_completed()


def run(task: Any, values: Mapping[str, ParameterValue]) -> None:
    """Search, then tag and publish the best model.

    Raises:
        ServiceError: No trial has given a model.
        QueueError: No worker takes trials from the queue.
        DatasetNotFoundError: A version does not exist.
    """
    server = ClearmlServer.of_task(task)
    queue = str(values["queue"]) or AgentValues.load().queue
    require_queue(server, queue)
    project, name = str(values["dataset_project"]), str(values["dataset_name"])
    for part in ("train", "test"):
        require_version(server, project, name, str(values[f"{part}_dataset_version"]), stage=part)
    base = _base_task(server, values)
    try:
        parallel = int(values["parallel"]) or len(server.workers_of(queue))
        _search(task, base, values, queue, parallel)
    finally:
        server.call("tasks.delete", task=base, force=True)
    trials = search.trials_of(server, task.id, str(values["metric"]))
    best = trials[0] if trials and trials[0].model_id else None
    if best is None or best.model_id is None:
        states = ", ".join(f"{trial.task_id} {trial.status}" for trial in trials) or "none was started"
        raise ServiceError(f"no trial gave a model ({states})", hint="look at their consoles; more time: --minutes")
    _choose(server, best.model_id, search.best_models(server, project, name))
    task.set_user_properties(best_task=best.task_id, best_model=best.model_id)
    tell(f"Best: {_described(best.parameters)}, {values['metric']} {best.metrics[str(values['metric'])]:.4f}")


def _base_task(server: ClearmlServer, values: Mapping[str, ParameterValue]) -> str:
    """Return a draft of the task TF-IDF with what all trials have in common."""
    shared = {name: values[name] for name in ("dataset_name", "dataset_project", "model")}
    shared |= {f"{part}_dataset_version": values[f"{part}_dataset_version"] for part in ("train", "test")}
    return clone(server, fit_model.FIT_MODEL, shared | {"publish": False}, name="TF-IDF trial")


def _search(task: Any, base: str, values: Mapping[str, ParameterValue], queue: str, parallel: int) -> None:
    space = {name: search.choices(name, str(values[name])) for name in search.SPACE}
    combinations = 1
    for options in space.values():
        combinations *= len(options)
    jobs = min(int(values["jobs"]), combinations)
    tell(f"{jobs} of {combinations} combinations, {min(parallel, jobs)} at once, at most {values['minutes']:g} minutes")
    optimizer = HyperParameterOptimizer(
        base_task_id=base,
        hyper_parameters=[
            DiscreteParameterRange(f"{SECTION}/{name}", values=options) for name, options in space.items()
        ],
        objective_metric_title=fit_model.METRICS_TITLE,
        objective_metric_series=str(values["metric"]),
        objective_metric_sign="max",
        optimizer_class=STRATEGIES[str(values["strategy"])],
        max_number_of_concurrent_tasks=min(parallel, jobs),
        execution_queue=queue,
        optimization_time_limit=float(values["minutes"]),
        auto_connect_task=False,  # what it would connect are our parameters, which are on the task already
        total_max_jobs=jobs,
        pool_period_min=POLL_MINUTES,
    )
    optimizer.set_report_period(REPORT_MINUTES)
    optimizer.get_optimizer().set_job_naming_scheme(lambda _, parameters: f"TF-IDF: {_described(parameters)}")
    done = 0

    def completed(task_id: str, objective: list[float], _: Any, parameters: dict[str, Any], __: str) -> None:
        nonlocal done
        done += 1
        shown = {name: value for name, value in parameters.items() if name != "status"}
        tell(f"{done} of {jobs}: {values['metric']} {objective[0]:.4f} ({_described(shown)})")

    optimizer.start(job_complete_callback=completed)
    if not optimizer.wait():
        tell(f"The {values['minutes']:g} minutes are over: aborting what still runs")
    optimizer.stop()


def _described(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.rpartition('/')[2]} {value}" for name, value in parameters.items())


def _choose(server: ClearmlServer, model_id: str, before: Mapping[str, list[str]]) -> None:
    """Publish the model and tag it, in place of those that were the best before (id → tags)."""
    model = InputModel(model_id=model_id)
    try:
        model.tags = sorted({*(model.tags or []), search.BEST_TAG})
        if not model.published:
            model.publish()
    except (ValueError, SendError) as error:
        raise ServiceError(f"model {model_id} could not be tagged and published: {error}") from error
    for earlier, tags in before.items():  # through the API: the SDK takes an empty list of tags for none given
        if earlier != model_id:
            server.call("models.edit", model=earlier, tags=[tag for tag in tags if tag != search.BEST_TAG])
