"""The schedulers in their own process: a loop that starts full runs when they are due, and follows them to their end.

Only uploaded data makes a run due, not the versions that a full run makes itself; of several new
versions only the newest counts. A scheduled run is skipped while the last one runs. The loop ends after the last
run where their number is limited, and when the scheduler's own task is aborted. Outside system: the ClearML server,
through the SDK and its adapter.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from clearml import Task

from clearml_access.agent_values import AgentValues
from clearml_access.errors import CallRefusedError, UserFacingError
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.automation import triggers
from pipeline.automation.triggers import RETRAIN, SCHEDULE, SERVICES, Timetable, is_source, newest_source
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import ServiceError
from pipeline.graph.parameters import ParameterValue, parse_assignments
from pipeline.module_tasks.process import tell
from pipeline.preflight import queue_for_controllers, require_queue
from pipeline.sdk.steps import prepare

LOOK_EVERY_S = 2.0
ENDED = ("completed", "published", "closed", "failed", "stopped")
GOOD = ("completed", "published", "closed")
CONFIGURATION = "schedule"
"""The configuration object of the task in which the schedule and its runs can be seen."""

Look = Callable[[datetime], None]
"""Looks, at a moment, for what is due, and starts it."""


def main() -> None:
    """Run the scheduler that this process belongs to."""
    prepare()
    task = Task.init(
        project_name=RETRAIN.project,
        task_name=RETRAIN.name,
        task_type=Task.TaskTypes.service,
        auto_connect_frameworks=False,
        auto_connect_arg_parser=False,
        auto_resource_monitoring=False,
    )
    service = SERVICES.get(task.name) or (SCHEDULE if "Args/cron" in task.get_parameters() else RETRAIN)
    values = service.read(task.get_parameters())
    runs = Runs(ClearmlServer.of_task(task), str(task.id), values)
    look = by_clock(runs, values, _now()) if service is SCHEDULE else on_new_data(runs, values)
    went_on = keep(look, runs)
    task.flush(wait_for_uploads=True)
    task.close()
    if went_on:
        task.mark_completed()
    else:  # closing it may have made an aborted task a completed one
        task.mark_stopped(force=True)


def _now() -> datetime:
    return datetime.now(UTC)


class Runs:
    """The full runs that a scheduler has started."""

    def __init__(self, server: ClearmlServer, task_id: str, values: Mapping[str, ParameterValue]) -> None:
        self.server = server
        self.project, self.name = str(values["dataset_project"]), str(values["dataset_name"])
        self._task_id = task_id
        self._queue = str(values["queue"]) or AgentValues.load().queue
        self._controllers_queue = str(values["controllers_queue"]) or queue_for_controllers(server, self._queue)
        self._assignments = str(values["set"]).splitlines()
        parse_assignments(FULL_PIPELINE.parameters, self._assignments)
        for queue in (self._queue, self._controllers_queue):
            require_queue(server, queue)
        self._most = int(values["runs"])
        self._going: dict[str, str] = {}
        self._started = 0
        self._failed = 0

    @property
    def going(self) -> bool:
        """Whether a run is still running."""
        return bool(self._going)

    @property
    def over(self) -> bool:
        """Whether as many runs as were asked for have been started and have ended."""
        return bool(self._most) and self._started >= self._most and not self.going

    def start(self, version: str, why: str) -> None:
        """Start a full run on a version of the dataset, unless as many as were asked for have been started."""
        if self._most and self._started >= self._most:
            return
        given = [
            f"dataset_name={self.name}",
            f"dataset_project={self.project}",
            f"dataset_version={version}",
            *self._assignments,
        ]
        try:
            run = triggers.start_full_run(
                self.server,
                FULL_PIPELINE,
                parse_assignments(FULL_PIPELINE.parameters, given),
                name=f"{FULL_PIPELINE.name} ({why})",
                queue=self._queue,
                controllers_queue=self._controllers_queue,
            )
        except UserFacingError as error:  # the next one may start
            tell(f"No run could be started ({why}): {error.message}")
            return
        self._going[run] = why
        self._started += 1
        tell(f"Started run {run} ({why}): {self.server.task_page('*', run)}")

    def look(self) -> bool:
        """Report each run that has ended; return whether the scheduler's own task still runs."""
        tasks = self.server.tasks(["status"], id=[self._task_id, *self._going])
        found = {task["id"]: str(task["status"]) for task in tasks}
        for run, why in list(self._going.items()):
            status = found.get(run, "was deleted")
            if status in ENDED or run not in found:
                tell(f"Run {run} ({why}) {'completed' if status in GOOD else status}")
                del self._going[run]
                self._failed += status not in GOOD
        return found.get(self._task_id, ENDED[0]) not in ENDED

    def require_success(self) -> None:
        """Check that all runs have completed.

        Raises:
            ServiceError: One of them did not complete.
        """
        if self._failed:
            raise ServiceError(f"{self._failed} of {self._started} runs did not complete")

    def show(self, **facts: Any) -> None:
        """Show the schedule on the scheduler's task."""
        document = json.dumps({"dataset": f"{self.project}/{self.name}"} | facts, indent=2)
        item = {"name": CONFIGURATION, "type": "json", "value": document}
        with contextlib.suppress(CallRefusedError):  # the task was aborted meanwhile, which the loop sees next
            self.server.call("tasks.edit_configuration", task=self._task_id, force=True, configuration=[item])


def keep(
    look: Look,
    runs: Runs,
    *,
    clock: Callable[[], datetime] = _now,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Start runs when they are due, until the last one has ended.

    The times of day are compared every other second: a machine that slept or whose clock was set needs no special case.

    Returns:
        False if the scheduler's task was aborted or deleted before.

    Raises:
        ServiceError: A run did not complete.
    """
    while not runs.over:
        try:
            if not runs.look():
                tell("This scheduler was aborted; runs that it has started continue")
                return False
            look(clock())
        except UserFacingError as error:  # a server that does not answer now may answer next time
            tell(f"Could not reach the server: {error.message}")
        sleep(LOOK_EVERY_S)
    runs.require_success()
    return True


def on_new_data(runs: Runs, values: Mapping[str, ParameterValue]) -> Look:
    """Return what starts a run for a new version of the dataset; versions from before the start never count."""
    every_s = float(values["every_s"])
    known = {version.id for version in runs.server.dataset_versions(runs.project, runs.name) if version.final}
    looked = 0.0
    runs.show(every_s=every_s)
    tell(f"Waiting for a new version of {runs.name}; a look every {every_s:g} s")

    def look(now: datetime) -> None:
        nonlocal looked
        if abs(now.timestamp() - looked) < every_s:  # the clock may have been set back
            return
        looked = now.timestamp()
        versions = runs.server.dataset_versions(runs.project, runs.name)
        new = [version for version in versions if version.final and version.id not in known]
        known.update(version.id for version in new)
        newest = newest_source(versions)
        for version in filter(is_source, new):
            if version is newest:
                runs.start(version.version, f"new version {version.version}")
            elif newest:
                tell(f"Version {version.version} is new, {newest.version} is newer: that one is taken")

    return look


def by_clock(runs: Runs, values: Mapping[str, ParameterValue], now: datetime) -> Look:
    """Return what starts runs by a cron line, and the first one at once if that is asked for."""
    line = str(values["cron"])
    timetable = Timetable(line, now)
    pending = bool(values["now"])

    def announce(first: str = "") -> None:
        tell(f"Next run: {first}{timetable.next:%Y-%m-%d %H:%M} UTC ({line})")
        runs.show(cron=line, says=str(timetable), time_zone="UTC", next_run=f"{timetable.next:%Y-%m-%dT%H:%MZ}")

    def look(now: datetime) -> None:
        nonlocal pending
        if timetable.is_due(now):
            pending = True
            announce()
        if not pending:
            return
        version = newest_source(runs.server.dataset_versions(runs.project, runs.name))
        pending = False  # not before: while the server does not answer, the run stays due
        if runs.going:
            tell("The last run is still running: this one is left out")
        elif version is None:
            tell(f"Dataset {runs.name} has no finished version: no run")
        else:
            runs.start(version.version, f"schedule {line}")

    announce("now, then " if pending else "")
    return look
