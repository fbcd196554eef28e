"""The process that runs a pipeline's graph: the SDK's controller, patched. The graphs are in modules of their own.

`python -m pipeline run` starts it as a process of its own, in every mode: the SDK ends the process that enqueues a
pipeline, keeps one main task per process and reports on exit, none of which the command line can use. What that
process runs is the script of `controller_task`, five lines stored on the controller's task, so an agent needs no
repository to run it again: only an interpreter in which this package is installed.

What it adds to the SDK's controller (`pipeline.sdk.controller` says how the SDK itself is patched):

- a step whose worker disappeared is ended as failed (`lost_workers`); what was lost is run again, and what ran out of
  memory with more of it; what can never start is not (`failure_causes`, `retries`);
- shards wait while as many as may be are under way, and one that failed is run again alone (`shard_scheduling`);
- generated steps carry a digest of this package, so that a cached step is reused only for the same code, and end with
  `pipeline.step_runtime.timeline.complete` (`step_scripts`);
- what a run is told besides its parameters is on the controller's task, to be read by an agent and edited by
  a person who clones it (`pipeline.run_options`, `options`);
- a pipeline that is a step of another one goes to the controllers' queue only while a worker is idle there, else it
  runs beside the outer controller: two controllers never wait for each other's worker;
- a pipeline inside one that has been aborted stops too (`parent_run`);
- a controller leaves what it passes on (`Definition.results`) on its own task before it is completed.

Outside system: the ClearML server, through the SDK. Nothing here prints for a person; `pipeline.runs.progress` does,
from what the server says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clearml import Task

from clearml_access import run_records
from clearml_access.tasks import CONTROLLER_TYPE
from pipeline import provenance
from pipeline.clearml_server import RETURNED, VERSION_ID, ClearmlServer
from pipeline.controllers import abandoned
from pipeline.controllers.controller_task import controller_task
from pipeline.controllers.failure_causes import Cause
from pipeline.controllers.lost_workers import LostWorkers
from pipeline.controllers.options import Launch, connect
from pipeline.controllers.parent_run import ParentRun
from pipeline.controllers.retries import run_again
from pipeline.controllers.shard_scheduling import ShardScheduling
from pipeline.controllers.step_scripts import STEP_BEGINNING, finish_step_definition
from pipeline.graph import sharding
from pipeline.graph.definitions import Definition
from pipeline.module_tasks.drafts import ensure_draft
from pipeline.run_options import IN_PROCESS, MODE_PROPERTY, QUEUE, SECTION
from pipeline.sdk.controller import PatchedController, Placement
from pipeline.sdk.jobs import StepJob, fork_local_steps
from pipeline.sdk.processes import SIMULATED
from pipeline.settings import step_requirements


def run_controller(build: Callable[[Launch], Controller], arguments: list[str] | None = None) -> None:
    """Run a controller: on a person's machine as told by the one argument, under an agent as told by its task.

    Args:
        build: Returns the pipeline, ready to start in any mode.
        arguments: The process's arguments; by default its own.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    launch = Launch.from_json(arguments[0]) if arguments else Launch()
    if launch.options.mode == IN_PROCESS or SIMULATED in os.environ:
        fork_local_steps()
    pipe = build(launch)
    if launch.announce:
        _announce(Path(launch.announce), pipe.id)
    if launch.command and pipe.mode != QUEUE:
        abandoned.end_with(launch.command, ClearmlServer.of_task(pipe.task), pipe.id)
    if pipe.mode == QUEUE:
        pipe.start(queue=pipe.options.controllers_queue)  # on a person's machine the process ends in this call
    else:
        pipe.start_locally(run_pipeline_steps_locally=pipe.mode == IN_PROCESS)
    _end(pipe)


class Controller(PatchedController):
    """A pipeline's controller, with what the module's docstring lists."""

    def __init__(self, definition: Definition, launch: Launch) -> None:
        self.definition = definition
        self._parts: dict[str, str] = {}
        self.given_up = False
        """The pipeline around this one has ended badly; this one has no purpose any more."""
        self._lost = LostWorkers()
        super().__init__(
            name=definition.name,
            project=definition.project,
            version=provenance.PACKAGE_VERSION,
            packages=step_requirements(),
            step_beginning=STEP_BEGINNING,
            is_run_again=run_again,
        )
        self.server = ClearmlServer.of_task(self.task)
        self._parent_run = ParentRun(self.server, self.task.id)
        self.options = connect(self.task, launch.options, definition.all_steps)
        self.mode = self.options.mode
        self.set_default_execution_queue(self.options.queue)
        self.task.set_user_properties(**{MODE_PROPERTY: self.mode})
        self.shard_scheduling = ShardScheduling.of_options(self.options, definition.shardable)
        self.definition = definition.with_shards(self.shard_scheduling.shards)
        self.ended_attempts: dict[str, list[tuple[Cause, str]]] = {}
        """Step → how its attempts ended."""
        StepJob.server = self.server
        StepJob.look_in_cache = self.options.cache
        StepJob.preferred = self._steps_of_run(self.options.from_run)
        self._again = self.definition.from_step(self.options.from_step)
        values = definition.defaults | dict(launch.parameters)
        for parameter in definition.parameters:
            self.add_parameter(
                parameter.name,
                default=values[parameter.name],
                description=parameter.description,
                param_type=parameter.type.__name__,
            )

    def add_function(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        inputs: Mapping[str, str | int],
        outputs: Sequence[str],
        task_type: str = "data_processing",
    ) -> None:
        """Add a step that calls a function of `pipeline.amazon_reviews.steps`.

        Args:
            name: The step; its parents are the definition's.
            function: Shipped by source.
            inputs: Argument → value, or a reference like `${step.output}`.
            outputs: Names of what the function returns, in order.
            task_type: ClearML's type of its task.
        """
        self._forget_other_definition(name, function.__name__, inputs)
        self.add_function_step(
            name=name,
            function=function,
            function_kwargs=dict(inputs),
            function_return=list(outputs),
            execution_queue=sharding.value_of(self.options.step_queues, name) or None,
            packages=step_requirements(),
            cache_executed_step=True,
            repo="",
            parents=list(self.definition.graph[name]),
            auto_connect_frameworks=False,
            auto_connect_arg_parser=False,
            task_type=task_type,
        )

    def add_task(
        self,
        name: str,
        draft: str,
        *,
        section: str,
        parameters: Mapping[str, str],
        before: Callable[[Any, Any, dict[str, Any]], bool] | None = None,
        metrics: Sequence[tuple[str, str]] = (),
        models: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Add a step that is a clone of a task.

        Args:
            name: The step; its parents are the definition's.
            draft: The task.
            section: The section of its parameters.
            parameters: Its parameters → values, or references like `${step.parameters.section/name}`.
            before: Called before it is launched, with this pipeline, the step's node and its parameters.
            metrics: Scalars (title, series) of the task that the pipeline shows as its own.
            models: Its output models, likewise: what the task calls it, what the pipeline calls it.
        """
        image = self.options.step_images.get(name)
        self.add_step(
            name=name,
            base_task_id=draft,
            parents=list(self.definition.graph[name]),
            parameter_override={f"{section}/{parameter}": value for parameter, value in parameters.items()},
            task_overrides={"container.image": image} if image else None,
            execution_queue=self.options.step_queues.get(name) or None,
            pre_execute_callback=before,
            cache_executed_step=True,
            monitor_metrics=list(metrics) or None,
            monitor_models=list(models) or None,
        )

    def add_pipeline(self, name: str, definition: Definition, *, parameters: Mapping[str, str]) -> None:
        """Add a step that is a pipeline: its controller runs again every time, and finds its own steps in the cache.

        Args:
            name: The step; its parents are the definition's.
            definition: The pipeline; its draft is cloned.
            parameters: Its parameters → values or references.
        """
        draft = ensure_draft(self.server, controller_task(definition))
        self._parts[name] = self.server.tasks(["project"], id=[draft])[0]["project"]
        options = self.options.of_part(name)
        if name in self._again and not options.from_step:
            options = replace(options, cache=False, from_run="")
        own = options.texts(definition.all_steps)
        self.add_step(
            name=name,
            base_task_id=draft,
            parents=list(self.definition.graph[name]),
            parameter_override={
                **{f"{self.args_section}/{parameter}": value for parameter, value in parameters.items()},
                **{f"{SECTION}/{option}": text for option, text in own.items()},
            },
            execution_queue=self.options.step_queues.get(name) or self.options.controllers_queue,
        )

    def _steps_of_run(self, run_id: str) -> frozenset[str]:
        """Return the tasks of an earlier run's steps, those included that it found in the cache itself."""
        if not run_id:
            return frozenset()
        found = {
            step
            for item in self.server.tasks(run_records.RUN_FIELDS, id=[run_id])
            for step in run_records.step_task_ids(item)
        }
        for task in self.server.tasks(["type"], parent=[run_id]):
            found |= {task["id"]}
            found |= self._steps_of_run(task["id"]) if task["type"] == CONTROLLER_TYPE else set()
        return frozenset(found)

    def _forget_other_definition(self, name: str, function: str, inputs: Mapping[str, Any]) -> None:
        """Let the SDK make a step's definition again where the one on a cloned controller is of another graph.

        Under an agent it takes what is stored; with another number of shards the same step does something else.
        """
        stored = (self.task.data.configuration or {}).get(name)
        if stored is None or self.task.running_locally():
            return
        definition = json.loads(stored.value or "{}")
        known = {key for section in (definition.get("hyperparams") or {}).values() for key in section}
        image = (definition.get("container") or {}).get("image") or ""
        wanted = (f"{function}.py", set(inputs), sharding.value_of(self.options.step_images, name))
        if (definition["script"]["entry_point"], known, image) != wanted:
            del self.task.data.configuration[name]

    def parameters_are_read(self) -> None:
        """Put back what the SDK drops when an agent's controller reads its task.

        Its stored queue of the steps is that of the run that was cloned, not the one set in the clone's options.
        Parameters lose their types and descriptions.
        """
        self.set_default_execution_queue(self.options.queue)
        values = self.get_parameters()
        self.server.call(
            "tasks.edit_hyper_params",
            task=self.id,
            force=True,
            hyperparams=controller_task(self.definition).arguments(values),
        )

    def finish_step_definition(self, definition: dict[str, Any]) -> None:
        """Add the digest of the code, the end of the script and the image that were chosen for the step."""
        finish_step_definition(definition, image=sharding.value_of(self.options.step_images, str(definition["name"])))

    def must_wait(self, step: str) -> bool:
        """Return whether the step is a shard, and as many as may be are under way."""
        return self.shard_scheduling.must_wait(step, self.nodes)

    def may_reuse(self, step: str) -> bool:
        """Return whether the step may be taken from the cache: none that the run is told to run again."""
        return step not in self._again

    def placement(self, step: str, queue: str) -> Placement:
        """Return where a step is launched: an inner pipeline in its own project, where a worker is idle for it."""
        if step not in self._parts:
            return Placement()
        beside = self.steps_have_queues and not self.server.idle_workers_of(queue)
        if beside:
            print(f"No worker is idle on queue {queue}: {step} runs beside this controller")
        return Placement(project=self._parts[step], beside=beside)

    def stop(self, *args: Any, **kwargs: Any) -> None:
        """End the run; what it passes on is on its task before that is closed."""
        if not self.has_failed:
            self._leave_results()
        super().stop(*args, **kwargs)

    def _leave_results(self) -> None:
        """Put ids and numbers of the dataset versions on this controller's task, where an outer pipeline finds them."""
        ids = {}
        for name, step in self.definition.results.items():
            made_by = self.task_of(step)
            if made_by is None:
                return  # aborted, or a step was: there is nothing to hand on
            ids[name] = str(Task.get_task(task_id=made_by).get_parameter(f"{RETURNED}/{VERSION_ID}"))
        found = {
            task["id"]: task.get("runtime") or {} for task in self.server.tasks(["runtime"], id=list(ids.values()))
        }
        facts = {
            **{f"{name}_dataset_id": dataset for name, dataset in ids.items()},
            **{f"{name}_dataset_version": str(found[dataset].get("version")) for name, dataset in ids.items()},
        }
        if facts:
            self.server.call(
                "tasks.edit_hyper_params",
                task=self.id,
                force=True,
                hyperparams=[{"section": RETURNED, "name": name, "value": value} for name, value in facts.items()],
            )

    def steps_are_checked(self) -> None:
        """Stop if the pipeline around this one has ended; end the steps whose worker is gone."""
        if not self.given_up and self._parent_run.has_given_up():
            print("The pipeline around this one has ended: stopping")
            self.given_up = True
            self.abort_steps()
        self._lost.end_silent(self.running_in_queues())


def _announce(file: Path, task_id: str) -> None:
    whole = file.with_suffix(".part")
    whole.write_text(task_id, encoding="utf-8")
    os.replace(whole, file)


def _end(pipe: Controller) -> None:
    """End the controller with the truth: complete now if all is well, an exit code that the agent reports if not."""
    task = Task.get_task(task_id=pipe.id)
    if pipe.given_up:
        task.mark_failed(force=True, status_reason="the pipeline around it has ended")
    if task.status in (Task.TaskStatusEnum.failed, Task.TaskStatusEnum.stopped):
        sys.exit(1)
    task.mark_completed()
