"""The process that runs a pipeline's graph: the SDK's controller, tamed. The graphs are in modules of their own.

`python -m pipeline run` starts it as a process of its own, in every mode: the SDK ends the process that enqueues a
pipeline, keeps one main task per process and reports on exit, none of which the command line can use. What that
process runs is `Definition.entry_script`, five lines stored on the controller's task, so an agent needs no repository
to run it again: only an interpreter in which this package is installed.

How the SDK's controller is tamed, each for a reason met in real runs:

- launches are one at a time (two at once: "Failed reloading Task: missing id") and a launch that fails is repeated,
  then ends the step as failed; the SDK would wait for ever for a step that is in no queue;
- a step that the k8s glue moves to its pod, and stops for that, is not taken for an aborted one;
- a step whose worker is gone without a word is ended as failed, and run once more;
- shards wait while as many as may be are under way, and one that failed is run again alone (`pipeline.fan_out`);
- generated steps carry a digest of this package, so that a cached step is reused only for the same code;
- generated steps end with `pipeline.timeline.complete`;
- a pipeline that is a step of another one goes to the controllers' queue only while a worker is idle there, else it
  runs beside the outer controller: two controllers never wait for each other's worker;
- a pipeline inside one that has been aborted stops too (`pipeline.outer`);
- a controller leaves what it hands on (`Definition.results`) on its own task before it is completed.

Outside system: the ClearML server, through the SDK. Nothing here prints for a person; `pipeline.progress` does, from
what the server says.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from clearml import Task
from clearml.automation import PipelineController
from clearml.automation.job import BaseJob, ClearmlJob, LocalClearmlJob

from pipeline import drafts, provenance, runs, sharding
from pipeline.agent_values import AgentValues
from pipeline.clearml_server import ClearmlServer
from pipeline.definitions import Definition
from pipeline.errors import PipelineError
from pipeline.fan_out import FanOut
from pipeline.outer import Outer
from pipeline.parameters import ParameterValue
from pipeline.settings import IN_PROCESS, QUEUE, step_requirements
from pipeline.timeline import LAUNCHED_PROPERTY

STEP_BEGINNING = """\
from pipeline.timeline import mark
mark("process")
"""

STEP_ENDING = """\
    from pipeline.timeline import complete
    complete(task)
"""

POLL_MINUTES = 0.3 / 60
LAUNCH_ATTEMPTS = 3
LOST_AFTER_S = 90.0
LOST_LOOK_EVERY_S = 10.0
LOST_REASON = "worker lost"
LOST_SIGNS = (LOST_REASON, "no sign of life", "non-responsive", "had died")
"""How we, the server's watchdog and `task server-up` say that a step's worker is gone, in its reason or message."""

SDK_LOGGER = "clearml.automation.controller"
"""Warns of each shard that waits, each time that a step ends."""

OPTIONS_SECTION = "Options"
MODE_PROPERTY = "mode"
"""How a run was started: to be seen, and for a run that goes on from its failure."""

RESULTS_SECTION = "return"


@dataclass(frozen=True)
class Launch:
    """What the command line tells the controller's process. An agent tells nothing: it reads the controller's task."""

    mode: str = QUEUE
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    use_cache: bool = True
    shards: int = 1
    max_parallel: int = sharding.NO_LIMIT
    retries: int = sharding.RETRIES
    from_run: str = ""
    queue: str = "default"
    controllers_queue: str = "services"
    step_queues: Mapping[str, str] = field(default_factory=dict)
    step_images: Mapping[str, str] = field(default_factory=dict)
    announce: str = ""
    """File in which the id of the controller's task is left for the command line."""

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Launch:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def run_controller(build: Callable[[Launch], Controller], arguments: list[str] | None = None) -> None:
    """Run a controller: on a person's machine as told by the one argument, under an agent as told by its task.

    Args:
        build: Returns the pipeline, ready to start in any mode.
        arguments: The process's arguments; by default its own.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    launch = Launch.from_json(arguments[0]) if arguments else Launch(queue=AgentValues.load().queue)
    pipe = build(launch)
    if launch.announce:
        _announce(Path(launch.announce), pipe.id)
    if pipe.mode == QUEUE:
        pipe.start(queue=launch.controllers_queue)  # on a person's machine the process ends in this call
    else:
        pipe.start_locally(run_pipeline_steps_locally=pipe.mode == IN_PROCESS)
    _end(pipe)


class Controller(PipelineController):  # type: ignore[misc]
    """The SDK's controller with the changes that the module's docstring lists."""

    _task_template_header = STEP_BEGINNING + PipelineController._task_template_header

    def __init__(self, definition: Definition, launch: Launch) -> None:
        self.definition = definition
        self._launches = threading.Lock()
        self._parts: dict[str, str] = {}
        self._launching = ""
        self.given_up = False
        """The pipeline around this one has ended badly; this one has no purpose any more."""
        self._lost = LostWorkers()
        super().__init__(
            name=definition.name,
            project=definition.project,
            version=provenance.PACKAGE_VERSION,
            pool_frequency=POLL_MINUTES,
            packages=step_requirements(),
            skip_global_imports=False,
            enable_local_imports=False,
            retry_on_failure=_run_again,
        )
        self._clearml_job_class = QueuedStep
        self.server = ClearmlServer.of_task(self.task)
        self._outer = Outer(self.server, self.task.id)
        logging.getLogger(SDK_LOGGER).addFilter(lambda record: "Skipping launching step" not in record.getMessage())
        self.options = self._connect_options(launch)
        self.set_default_execution_queue(self.options["queue"])
        self.mode = launch.mode if self.task.running_locally() else self.options["mode"]
        self.task.set_user_properties(**{MODE_PROPERTY: self.mode})
        self.fan_out = FanOut.of_options(self.options, definition.shardable, in_process=self.mode == IN_PROCESS)
        self.definition = definition.with_shards(self.fan_out.shards)
        _StepJob.look_in_cache = self.options["cache"]
        _StepJob.preferred = self._steps_of_run(self.options["from_run"])
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
        """Add a step that calls a function of `pipeline.steps`.

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
            execution_queue=sharding.value_of(self.options["queues"], name) or None,
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
        image = self.options["images"].get(name)
        self.add_step(
            name=name,
            base_task_id=draft,
            parents=list(self.definition.graph[name]),
            parameter_override={f"{section}/{parameter}": value for parameter, value in parameters.items()},
            task_overrides={"container.image": image} if image else None,
            execution_queue=self.options["queues"].get(name) or None,
            pre_execute_callback=before,
            cache_executed_step=True,
            monitor_metrics=list(metrics) or None,
            monitor_models=list(models) or None,
        )

    def add_pipeline(self, name: str, definition: Definition, *, parameters: Mapping[str, str]) -> None:
        """Add a step that is a pipeline: its controller runs anew every time, and finds its own steps in the cache.

        Args:
            name: The step; its parents are the definition's.
            definition: The pipeline; its draft is cloned.
            parameters: Its parameters → values or references.
        """
        draft = drafts.ensure_draft(self.server, definition)
        self._parts[name] = self.server.tasks(["project"], id=[draft])[0]["project"]
        options = {
            **{option: self.options[option] for option in ("cache", "shards", "max_parallel", "retries", "from_run")},
            "mode": IN_PROCESS if self.mode == IN_PROCESS else QUEUE,
            "queue": self.options["queue"],
            "controllers_queue": self.options["controllers_queue"],
            **{
                f"{option}/{step}": self.options[option].get(f"{name}.{step}", "")
                for option in ("queues", "images")
                for step in definition.all_steps
            },
        }
        self.add_step(
            name=name,
            base_task_id=draft,
            parents=list(self.definition.graph[name]),
            parameter_override={
                **{f"{self._args_section}/{parameter}": value for parameter, value in parameters.items()},
                **{f"{OPTIONS_SECTION}/{option}": str(value) for option, value in options.items()},
            },
            execution_queue=self.options["queues"].get(name) or self.options["controllers_queue"],
        )

    def _connect_options(self, launch: Launch) -> dict[str, Any]:
        """Put the options that are no parameters on the controller's task; under an agent, read them from there."""
        options = {
            "cache": launch.use_cache,
            # Texts, since the SDK would silently take the default for a number that somebody misspelt on the page.
            "shards": str(launch.shards),
            "max_parallel": str(launch.max_parallel),
            "retries": str(launch.retries),
            "from_run": launch.from_run,
            "mode": QUEUE,  # what an agent does with it, however this run was started
            "queue": launch.queue,
            "controllers_queue": launch.controllers_queue,
            "queues": dict.fromkeys(self.definition.all_steps, "") | self._stored("queues") | dict(launch.step_queues),
            "images": dict.fromkeys(self.definition.all_steps, "") | self._stored("images") | dict(launch.step_images),
        }
        connected: dict[str, Any] = self.task.connect(options, name=OPTIONS_SECTION)
        return connected

    def _stored(self, option: str) -> dict[str, str]:
        """Return what is set per step on the controller's task: for shards, too, that this run may not have."""
        prefix = f"{OPTIONS_SECTION}/{option}/"
        found: dict[str, str] = self.task.get_parameters() or {}
        return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}

    def _steps_of_run(self, run_id: str) -> frozenset[str]:
        """Return the tasks of an earlier run's steps, those included that it found in the cache itself."""
        if not run_id:
            return frozenset()
        found = {step for item in self.server.tasks(runs.RUN_FIELDS, id=[run_id]) for step in runs.step_task_ids(item)}
        for task in self.server.tasks(["type"], parent=[run_id]):
            found |= {task["id"]}
            found |= self._steps_of_run(task["id"]) if task["type"] == runs.CONTROLLER_TYPE else set()
        return frozenset(found)

    def _forget_other_definition(self, name: str, function: str, inputs: Mapping[str, Any]) -> None:
        """Let the SDK make a step's definition anew where the one on a cloned controller is of another graph.

        Under an agent it takes what is stored; with another number of shards the same step does something else.
        """
        stored = (self.task.data.configuration or {}).get(name)
        if stored is None or self.task.running_locally():
            return
        definition = json.loads(stored.value or "{}")
        known = {key for section in (definition.get("hyperparams") or {}).values() for key in section}
        image = (definition.get("container") or {}).get("image") or ""
        wanted = (f"{function}.py", set(inputs), sharding.value_of(self.options["images"], name))
        if (definition["script"]["entry_point"], known, image) != wanted:
            del self.task.data.configuration[name]

    def _start(self, *args: Any, **kwargs: Any) -> bool:
        if self._clearml_job_class is LocalClearmlJob:
            self._clearml_job_class = LocalStep
        return bool(super()._start(*args, **kwargs))

    def _prepare_pipeline(self, *args: Any, **kwargs: Any) -> None:
        super()._prepare_pipeline(*args, **kwargs)
        if not self.task.running_locally():
            self._describe_parameters()

    def _describe_parameters(self) -> None:
        """Put types and descriptions back, which the SDK drops when an agent's controller reads its parameters."""
        values = self.get_parameters()
        self.server.call(
            "tasks.edit_hyper_params",
            task=self.id,
            force=True,
            hyperparams=[
                {
                    "section": self._args_section,
                    "name": parameter.name,
                    "value": str(values[parameter.name]),
                    "type": parameter.type.__name__,
                    "description": parameter.description,
                }
                for parameter in self.definition.parameters
            ],
        )

    def _create_task_from_function(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        definition: dict[str, Any] = super()._create_task_from_function(*args, **kwargs)
        finish_step_definition(definition, image=sharding.value_of(self.options["images"], str(definition["name"])))
        return definition

    def _launch_node(self, node: Any) -> bool:
        with self._launches:
            if self.fan_out.must_wait(node.name, self._nodes.values()):
                return False  # it has no task yet: the SDK asks again when the next step has ended
            for attempt in range(1, LAUNCH_ATTEMPTS + 1):
                try:
                    launched = self._launch(node)
                    if launched or node.executed or node.skip_job:
                        return launched
                    problem = f"no place in queue {node.queue or self._default_execution_queue!r}"
                except Exception as error:  # the SDK raises anything here; in its thread pool it would end the run mute
                    problem = f"{type(error).__name__}: {error}"
                print(f"Step {node.name} could not be launched (attempt {attempt} of {LAUNCH_ATTEMPTS}): {problem}")
                time.sleep(0.5 * attempt)
                if node.job and node.job.launch(queue_name=node.queue or self._default_execution_queue):
                    return True
            self._pipeline_task_status_failed = True
            if node.job:
                node.job.task.mark_failed(force=True, status_reason=f"could not be launched: {problem}")
                return True
            node.skip_job = True
            return True

    def _launch(self, node: Any) -> bool:
        if node.name not in self._parts:
            return bool(super()._launch_node(node))
        usual = self._clearml_job_class
        if usual is QueuedStep and not self.server.idle_workers_of(node.queue):
            print(f"No worker is idle on queue {node.queue}: {node.name} runs beside this controller")
            self._clearml_job_class = LocalStep
        self._launching = node.name
        try:
            return bool(super()._launch_node(node))
        finally:
            self._launching, self._clearml_job_class = "", usual

    def _get_target_project(self, return_project_id: bool = False) -> str:
        """Return the project of the steps' tasks; the run of a pipeline belongs to that pipeline's own."""
        if return_project_id and self._launching:
            return self._parts[self._launching]
        return str(super()._get_target_project(return_project_id=return_project_id))

    def _relaunch_node(self, node: Any) -> None:
        super()._relaunch_node(node)
        # The SDK stops the task before it enqueues it again, and at our pace would read that stop as the step's end.
        node.job._last_status = None
        node.job._last_status_ts = 0

    def stop(self, *args: Any, **kwargs: Any) -> None:
        """End the run; what it hands on is on its task before that is closed."""
        if not self._pipeline_task_status_failed:
            self._leave_results()
        super().stop(*args, **kwargs)

    def _leave_results(self) -> None:
        """Put ids and numbers of the dataset versions on this controller's task, where an outer pipeline finds them."""
        ids = {}
        for name, step in self.definition.results.items():
            made_by = self._nodes[step].executed
            if not isinstance(made_by, str):
                return  # aborted, or a step was: there is nothing to hand on
            ids[name] = str(Task.get_task(task_id=made_by).get_parameter(f"{RESULTS_SECTION}/dataset_id"))
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
                hyperparams=[
                    {"section": RESULTS_SECTION, "name": name, "value": value} for name, value in facts.items()
                ],
            )

    def _update_nodes_status(self) -> None:
        super()._update_nodes_status()
        if not self.given_up and self._outer.has_given_up():
            print("The pipeline around this one has ended: stopping")
            self.given_up = True
            self._stop_event.set()  # the loop that called this ends, and aborts the running steps
        running = [node.job for node in self._nodes.values() if node.job and not isinstance(node.job, LocalClearmlJob)]
        self._lost.end_silent([job.task_id() for job in running if job.is_running()])


class LostWorkers:
    """Ends steps whose worker is gone: no sign of life from the task, and the worker is no longer listed."""

    def __init__(self) -> None:
        self._server: ClearmlServer | None = None
        self._looked = time.monotonic()
        self._silent_since: dict[str, tuple[str, float]] = {}

    def end_silent(self, task_ids: list[str]) -> None:
        """Mark those of the running tasks as failed that nobody runs any more."""
        if not task_ids or time.monotonic() - self._looked < LOST_LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        try:
            self._server = self._server or ClearmlServer.connect()
            workers = self._server.live_workers()
            tasks = self._server.tasks(["last_update", "last_worker", "status"], id=task_ids)
        except PipelineError as error:
            print(f"Could not look after the running steps: {error}")
            return
        for task in tasks:
            update = str(task.get("last_update"))
            known, since = self._silent_since.get(task["id"], ("", 0.0))
            if known != update or task.get("last_worker") in workers or task["status"] != "in_progress":
                self._silent_since[task["id"]] = (update, time.monotonic())
            elif time.monotonic() - since > LOST_AFTER_S:
                reason = f"{LOST_REASON}: no sign of life from {task.get('last_worker')} for {LOST_AFTER_S:.0f} s"
                print(f"Step {task['id']}: {reason}")
                self._server.call("tasks.failed", task=task["id"], force=True, status_reason=reason)


class _StepJob:
    """A step's task: carries the moment at which it was launched, and may be found in the cache by later runs.

    Without caching the SDK would give it another hash (of its parameters as texts), under which nobody looks.
    """

    look_in_cache: ClassVar[bool] = True
    preferred: ClassVar[frozenset[str]] = frozenset()
    """Tasks that are taken before all others in the cache, and in any case."""

    def launch(self, queue_name: str | None = None) -> bool:
        """Enqueue the task, or start its process."""
        if not self.is_cached_task():  # type: ignore[attr-defined]
            self.task.set_user_properties(**{LAUNCHED_PROPERTY: f"{time.time():.3f}"})  # type: ignore[attr-defined]
        return bool(super().launch(queue_name))  # type: ignore[misc]

    @classmethod
    def _get_cached_task(cls, task_hash: str) -> Any:
        if cls.preferred and task_hash:
            found = Task._query_tasks(
                task_ids=sorted(cls.preferred),
                status=["completed", "published"],
                _all_={"fields": [f"runtime.{BaseJob._job_hash_property}"], "pattern": f"^{task_hash}$"},
                only_fields=["id"],
            )
            if found:
                return Task.get_task(task_id=found[0].id)
        return super()._get_cached_task(task_hash) if cls.look_in_cache else None  # type: ignore[misc]


class QueuedStep(_StepJob, ClearmlJob):  # type: ignore[misc]
    """A step that an agent takes from a queue."""

    _checked: tuple[float, str] = (0.0, "")

    def status(self, force: bool = False) -> str:
        """Return the task's status; what looks aborted may only be on its way to a pod (`runs.is_on_its_way`)."""
        found = str(super().status(force))
        if found != "stopped":
            return found
        if self._checked[0] != self._last_status_ts:
            try:
                tasks = ClearmlServer.of_task(self.task).tasks(["status"], id=[self.task_id()])
                self._checked = (self._last_status_ts, str(tasks[0]["status"]) if tasks else found)
            except PipelineError as error:
                print(f"Could not look after step {self.task_id()}: {error}")
                return "queued"
        return self._checked[1]


class LocalStep(_StepJob, LocalClearmlJob):  # type: ignore[misc]
    """A step that is a process on this machine."""


def code_lines() -> list[str]:
    """Return what stands in front of a step's script, so that only the same code is found in the cache."""
    return [
        f"# pipeline {provenance.PACKAGE_VERSION}, source {provenance.source_digest()}",
        f"# requirements {', '.join(step_requirements())}",
    ]


def finish_step_definition(definition: dict[str, Any], image: str = "") -> None:
    """Make the SDK's definition of a function step ours: its code's digest in front, its completion at the end."""
    script = definition["script"]
    commit = provenance.commit()
    lines = [*code_lines(), *([f"# image {image}"] if image else [])]
    script["diff"] = "\n".join([*lines, script["diff"].rstrip("\n"), STEP_ENDING])
    # A step is its own script; whatever repository the SDK saw around it is none of the agent's business.
    script |= {"repository": "", "branch": "", "version_num": "", "tag": "", "working_dir": "."}
    definition["comment"] = f"made by pipeline {provenance.PACKAGE_VERSION}" + (f", commit {commit}" if commit else "")
    if image:
        definition["container"] = {**definition.get("container", {}), "image": image}


def _run_again(pipeline: Any, node: Any, retries: int) -> bool:
    """Run a step once more if its worker was lost, a shard as often as it may be; others would fail again."""
    node.job.task.reload()
    why = f"{node.job.task.data.status_reason} {node.job.task.data.status_message}".lower()
    lost = retries < 1 and any(sign in why for sign in LOST_SIGNS)
    return lost or bool(pipeline.fan_out.is_tried_again(pipeline.server, node.name, node.job.task_id(), retries))


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
