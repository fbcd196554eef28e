"""The SDK's controller, patched, with a public face: the methods that a subclass overrides, and what it may ask.

What is changed, each for a reason met in real runs:

- launches are one at a time (two at once: "Failed reloading Task: missing id") and a launch that fails is repeated,
  then ends the step as failed; the SDK would wait without end for a step that is in no queue;
- a step that the k8s glue moves to its pod, and stops for that, is not taken for an aborted one (`jobs`);
- a step that is run again is not taken for ended by the stop before it;
- statuses are asked for at each look, and the looks are closer together while the steps are short (`Pace`);
- the end of a step is read once; the SDK reads the whole task of each step that ended without a report in each of its
  rounds, to the end of the run, since such a task has no `active_duration`;
- types and descriptions of parameters, which the SDK drops on an agent, are put back (`parameters_are_read`);
- a step may wait although its parents have ended (`must_wait`), be kept from the cache (`may_reuse`), run in another
  project or beside this controller (`placement`), and have a definition of its own (`finish_step_definition`).

It must not know which pipelines there are (`pipeline.controllers.controller`). Outside system: the ClearML server,
through the SDK.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from clearml.automation import PipelineController
from clearml.automation.job import BaseJob, LocalClearmlJob

from pipeline.sdk import steps
from pipeline.sdk.jobs import LocalStep, QueuedStep, StepJob

LAUNCH_ATTEMPTS = 3


@dataclass(frozen=True)
class Placement:
    """Where a step is launched."""

    project: str = ""
    """Id of the project of its task, if it is not the controller's."""

    beside: bool = False
    """Whether it runs as a process beside this controller, not through its queue."""


class Pace:
    """How long a controller waits until it looks at its steps again: a share of what has passed since one ended.

    A step of a second is not waited for as long as it took, and one of an hour does not cost ten calls a second.
    """

    SHORTEST_S, LONGEST_S = 0.1, 0.5
    SHARE = 0.05

    def __init__(self) -> None:
        self._ended: set[str] = set()
        self._since = time.monotonic()

    def next_look(self, ended: Iterable[str]) -> float:
        """Return the seconds until the next look.

        Args:
            ended: The steps that have ended.
        """
        now, found = time.monotonic(), set(ended)
        if found != self._ended:
            self._ended, self._since = found, now
        return min(max(self.SHARE * (now - self._since), self.SHORTEST_S), self.LONGEST_S)


class PatchedController(PipelineController):  # type: ignore[misc]
    """The SDK's controller with the changes that the module's docstring lists.

    Args:
        name: The pipeline.
        project: Its project.
        version: Its version.
        packages: Requirements of its steps.
        step_beginning: Lines at the beginning of each generated step's script.
        is_run_again: Called for a step that failed, with this controller, the step's node and how often it was run
            again already.
    """

    def __init__(
        self,
        *,
        name: str,
        project: str,
        version: str,
        packages: list[str],
        step_beginning: str,
        is_run_again: Callable[[Any, Any, int], bool],
    ) -> None:
        steps.prepare()
        self._launches = threading.Lock()
        self._pace = Pace()
        self._placement = Placement()
        self._task_template_header = step_beginning + PipelineController._task_template_header
        super().__init__(
            name=name,
            project=project,
            version=version,
            pool_frequency=Pace.SHORTEST_S / 60,
            packages=packages,
            skip_global_imports=False,
            enable_local_imports=False,
            retry_on_failure=is_run_again,
        )
        self._clearml_job_class = QueuedStep
        # It warns of each step that waits, each time that another one ends.
        logging.getLogger(PipelineController.__module__).addFilter(
            lambda record: "Skipping launching step" not in record.getMessage()
        )

    # What a subclass may override

    def must_wait(self, step: str) -> bool:
        """Return whether a step whose parents have ended must wait; asked again when the next step has ended."""
        return False

    def may_reuse(self, step: str) -> bool:
        """Return whether a step may be taken from the cache, where the run looks there at all."""
        return True

    def placement(self, step: str, queue: str) -> Placement:
        """Return where a step is launched.

        Args:
            step: The step.
            queue: Its own queue, if it has one.
        """
        return Placement()

    def finish_step_definition(self, definition: dict[str, Any]) -> None:
        """Change the definition of a step that calls a function, before its task is made."""

    def parameters_are_read(self) -> None:
        """Do what is to be done once an agent's controller has read its parameters."""

    def steps_are_checked(self) -> None:
        """Do what is to be done after each look at the steps."""

    # What a subclass may ask

    @property
    def args_section(self) -> str:
        """Section of a pipeline's parameters."""
        return str(self._args_section)

    @property
    def has_failed(self) -> bool:
        """Whether the run has failed."""
        return bool(self._pipeline_task_status_failed)

    @property
    def steps_have_queues(self) -> bool:
        """Whether steps go to queues; else they are processes of this machine."""
        return self._clearml_job_class is QueuedStep

    @property
    def nodes(self) -> Collection[Any]:
        """The steps as the SDK has them."""
        return list(self._nodes.values())

    def task_of(self, step: str) -> str | None:
        """Return the task that a step ran as, once it has ended."""
        executed = self._nodes[step].executed
        return executed if isinstance(executed, str) else None

    def running_in_queues(self) -> list[str]:
        """Return the tasks that agents run."""
        jobs = [node.job for node in self.nodes if node.job and not isinstance(node.job, LocalClearmlJob)]
        return [job.task_id() for job in jobs if job.is_running()]

    def abort_steps(self) -> None:
        """End the loop, which aborts the running steps."""
        self._stop_event.set()

    # What the SDK calls

    def _start(self, *args: Any, **kwargs: Any) -> bool:
        if self._clearml_job_class is LocalClearmlJob:
            self._clearml_job_class = LocalStep
        return bool(super()._start(*args, **kwargs))

    def _prepare_pipeline(self, *args: Any, **kwargs: Any) -> None:
        super()._prepare_pipeline(*args, **kwargs)
        if not self.task.running_locally():
            self.parameters_are_read()

    def _create_task_from_function(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        definition: dict[str, Any] = super()._create_task_from_function(*args, **kwargs)
        self.finish_step_definition(definition)
        return definition

    def _launch_node(self, node: Any) -> bool:
        with self._launches:
            if self.must_wait(node.name):
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
        usual, self._placement = self._clearml_job_class, self.placement(node.name, node.queue)
        StepJob.reuse, StepJob.has_model = self.may_reuse(node.name), bool(node.monitor_models)
        if self._placement.beside:
            self._clearml_job_class = LocalStep
        try:
            return bool(super()._launch_node(node))
        finally:
            self._placement, self._clearml_job_class = Placement(), usual

    def _get_target_project(self, return_project_id: bool = False) -> str:
        if return_project_id and self._placement.project:
            return self._placement.project
        return str(super()._get_target_project(return_project_id=return_project_id))

    def _relaunch_node(self, node: Any) -> None:
        super()._relaunch_node(node)
        # The SDK stops the task before it enqueues it again, and at our pace would read that stop as the step's end.
        node.job._last_status = None
        node.job._last_status_ts = 0

    def _update_nodes_status(self) -> None:
        # The SDK asks for the statuses no more than once a second, however often it looks.
        BaseJob._last_batch_status_update_ts = 0
        super()._update_nodes_status()
        self._pool_frequency = self._pace.next_look([node.name for node in self.nodes if node.executed])
        for node in self.nodes:
            if node.executed and node.job and node.job_started and not node.job_ended:
                ended = node.job.task.data.completed
                node.job_ended = ended.timestamp() if ended else node.job_started
        self.steps_are_checked()
