"""The schedulers in their own process: the SDK's triggers and clock, which start full runs, and their outcome.

The SDK decides when; what is started is decided here. A trigger fires for every dataset version that is finished, those
that the full run itself makes included: only data that somebody has brought counts, and of several new versions only
the newest. A run by the clock is left out while the one before goes on. Outside systems: the ClearML server,
through the SDK and its adapters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from clearml import Task
from clearml.automation import TaskScheduler, TriggerScheduler

from clearml_access.agent_values import AgentValues
from clearml_access.errors import UserFacingError
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.automation import schedule, services
from pipeline.automation.schedule import RETRAIN, SCHEDULE, SERVICES, is_source, newest_source, read_cron
from pipeline.automation.services import ServiceError, tell
from pipeline.clearml_server import ClearmlServer
from pipeline.graph.parameters import ParameterValue, parse_assignments
from pipeline.preflight import queue_for_controllers, require_queue

LOOK_EVERY_S = 2.0
SYNC_MINUTES = 15.0
ENDED = ("completed", "published", "closed", "failed", "stopped")
GOOD = ("completed", "published", "closed")


def main() -> None:
    """Run the scheduler that this process belongs to."""
    task = Task.init(
        project_name=RETRAIN.project,
        task_name=RETRAIN.name,
        task_type=Task.TaskTypes.service,
        auto_connect_frameworks=False,
        auto_connect_arg_parser=False,
        auto_resource_monitoring=False,
    )
    service = SERVICES.get(task.name) or (SCHEDULE if "Args/cron" in task.get_parameters() else RETRAIN)
    values = services.read_values(service, task.get_parameters())
    runs = Runs(ClearmlServer.of_task(task), values)
    begin = by_clock if service is SCHEDULE else on_new_data
    # The SDK's loops do not return, and sleep for minutes: a thread that ends with the process.
    threading.Thread(target=begin(runs, values), daemon=True).start()
    runs.follow()
    task.flush(wait_for_uploads=True)
    task.close()
    task.mark_completed()


class Runs:
    """The full runs that a scheduler has started."""

    def __init__(self, server: ClearmlServer, values: Mapping[str, ParameterValue]) -> None:
        self.server = server
        self.project, self.name = str(values["dataset_project"]), str(values["dataset_name"])
        self._queue = str(values["queue"]) or AgentValues.load().queue
        self._controllers_queue = str(values["controllers_queue"]) or queue_for_controllers(server, self._queue)
        self._assignments = str(values["set"]).splitlines()
        parse_assignments(FULL_PIPELINE.parameters, self._assignments)
        for queue in (self._queue, self._controllers_queue):
            require_queue(server, queue)
        self._most = int(values["runs"])
        self._lock = threading.Lock()
        self._going: dict[str, str] = {}
        self._started = 0
        self._failed = 0

    @property
    def going(self) -> bool:
        """Whether a run goes on."""
        with self._lock:
            return bool(self._going)

    def start(self, version: str, why: str) -> None:
        """Start a full run on a version of the dataset."""
        with self._lock:
            if self._most and self._started >= self._most:
                return
            chosen = [f"dataset_version={version}"] if version else []
            given = [f"dataset_name={self.name}", f"dataset_project={self.project}", *chosen, *self._assignments]
            try:
                run = schedule.start_full_run(
                    self.server,
                    FULL_PIPELINE,
                    parse_assignments(FULL_PIPELINE.parameters, given),
                    name=f"{FULL_PIPELINE.name} ({why})",
                    queue=self._queue,
                    controllers_queue=self._controllers_queue,
                )
            except UserFacingError as error:  # the next one may go well
                tell(f"No run could be started ({why}): {error.message}")
                return
            self._going[run] = why
            self._started += 1
        tell(f"Started run {run} ({why}): {self.server.task_page('*', run)}")

    def follow(self) -> None:
        """Tell of every run's end; return after the last one where their number is limited.

        Raises:
            ServiceError: One of them did not complete.
        """
        while not self._most or self._started < self._most or self.going:
            time.sleep(LOOK_EVERY_S)
            try:
                self._look()
            except UserFacingError as error:
                tell(f"Could not check the runs: {error.message}")
        if self._failed:
            raise ServiceError(f"{self._failed} of {self._started} runs did not complete")

    def _look(self) -> None:
        with self._lock:
            going = dict(self._going)
        found = self.server.tasks(["status"], id=list(going)) if going else []
        for task in found:
            if task["status"] in ENDED:
                good = task["status"] in GOOD
                tell(f"Run {task['id']} ({going[task['id']]}) {'completed' if good else task['status']}")
                with self._lock:
                    self._going.pop(task["id"])
                    self._failed += not good
        for gone in going.keys() - {task["id"] for task in found}:
            tell(f"Run {gone} ({going[gone]}) was deleted")
            with self._lock:
                self._going.pop(gone)
                self._failed += 1


def on_new_data(runs: Runs, values: Mapping[str, ParameterValue]) -> Callable[[], None]:
    """Return the loop that starts a run for each new version of the dataset."""
    known = {version.id for version in runs.server.dataset_versions(runs.project, runs.name) if version.final}
    seconds = float(values["every_s"])
    scheduler = TriggerScheduler(pooling_frequency_minutes=seconds / 60, sync_frequency_minutes=SYNC_MINUTES)

    def fired(dataset_id: str) -> None:
        versions = runs.server.dataset_versions(runs.project, runs.name)
        version = next((item for item in versions if item.id == dataset_id), None)
        newest = newest_source(versions)
        if version is None or version.id in known or not is_source(version) or newest is None:
            return
        if version.id != newest.id:
            tell(f"Version {version.version} is new, {newest.version} is newer: that one is taken")
            return
        runs.start(version.version, f"new version {version.version}")

    # Every dataset of the server, since the SDK looks for a dataset's project once, at the start: it may not exist yet.
    scheduler.add_dataset_trigger(schedule_function=fired, name=RETRAIN.name)
    scheduler._serialize()  # for the page; without it the SDK complains that there is nothing to read
    tell(f"Waiting for a new version of {runs.name}; a look every {seconds:g} s")
    return lambda: scheduler.start()


def by_clock(runs: Runs, values: Mapping[str, ParameterValue]) -> Callable[[], None]:
    """Return the loop that starts runs by a cron line."""
    scheduler = TaskScheduler(sync_frequency_minutes=SYNC_MINUTES)

    def due() -> None:
        if runs.going:
            tell("The run before goes on: this one is left out")
            return
        version = newest_source(runs.server.dataset_versions(runs.project, runs.name))
        if version is None:
            tell(f"Dataset {runs.name} has no finished version: no run")
            return
        runs.start(version.version, f"schedule {values['cron']}")

    scheduler.add_task(
        schedule_function=due,
        queue="",
        name=SCHEDULE.name,
        **_typed(read_cron(str(values["cron"])).beginning(datetime.now(UTC)).arguments()),
    )
    scheduler._serialize()
    (job,) = scheduler.get_scheduled_tasks()
    tell(f"Next run: {'now, then ' if values['now'] else ''}{job.next():%Y-%m-%d %H:%M} UTC ({values['cron']})")

    def loop() -> None:
        if values["now"]:  # the SDK's own way to do so would take the weekday of today's run for the last one's
            due()
        scheduler.start()

    return loop


def _typed(arguments: dict[str, object]) -> dict[str, Any]:
    return dict(arguments)
