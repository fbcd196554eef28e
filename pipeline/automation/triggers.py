"""Full runs that are not started by hand: what the two schedulers take, cron lines, and which dataset versions count.

Light, since `--help` reads the parameters here. The schedulers themselves are in `pipeline.automation.scheduling`.
Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from pipeline.amazon_reviews.definitions import PROJECT
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.controllers.controller_task import controller_task
from pipeline.errors import ServiceError, SettingsError
from pipeline.graph.definitions import Definition
from pipeline.graph.parameters import Parameter, ParameterValue, at_least, not_blank
from pipeline.module_tasks.declaration import ModuleTask
from pipeline.module_tasks.drafts import clone
from pipeline.run_options import SECTION, RunOptions
from pipeline.versions import ROOT

MADE_HERE = ("Preparation/step", "Preparation/split_dataset", "Training/model")
"""Recorded on versions that a pipeline has derived: a retraining that they started would start the next one."""

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CRON_HELP = (
    "Five fields as in crontab(5): minute, hour, day of the month, month, day of the week. '0 3 * * *' is daily at "
    "3:00, '*/15 * * * *' every 15 minutes, '30 8 * * MON-FRI' on working days, '0 4 L * *' on the last day of the "
    "month. Times are UTC, so daylight saving time changes nothing."
)


def _a_cron_line(value: ParameterValue) -> str | None:
    try:
        read_cron(str(value))
    except SettingsError as error:
        return error.message
    return None


_SHARED = (
    Parameter("dataset_name", "Amazon reviews dataset", "Name of the dataset", not_blank),
    Parameter("dataset_project", PROJECT, "Project of the dataset", not_blank),
    Parameter("set", "", "Parameters of the full runs: NAME=VALUE lines"),
    Parameter("queue", "", "Queue of the steps"),
    Parameter("controllers_queue", "", "Queue of the controllers"),
    Parameter("runs", 0, "End after so many runs; 0: never", at_least(0)),
)
_PROCESS = "pipeline.automation.scheduling"
RETRAIN = ModuleTask(
    name="Retrain on new data",
    project=PROJECT,
    task_type="monitor",
    module=_PROCESS,
    parameters=(*_SHARED, Parameter("every_s", 10.0, "Seconds between two looks at the dataset", at_least(1))),
    failure=ServiceError,
)
SCHEDULE = ModuleTask(
    name="Schedule FullPipeline",
    project=PROJECT,
    task_type="service",
    module=_PROCESS,
    parameters=(
        *_SHARED,
        Parameter("cron", "0 3 * * *", "When: a cron line, in UTC", _a_cron_line),
        Parameter("now", False, "Start a run at once, too"),
    ),
    failure=ServiceError,
)
SERVICES = {service.name: service for service in (RETRAIN, SCHEDULE)}


def read_cron(line: str) -> str:
    """Return a cron line as the cron library takes it: names of days may be written in full here.

    Raises:
        SettingsError: It is not a cron line, or no moment will ever match it.
    """
    fields = line.split()
    if len(fields) != 5:  # the library would take six, the first of them seconds
        raise SettingsError(f"cron line {line!r} has {len(fields)} fields, not 5", hint=CRON_HELP)
    fields[4] = re.sub("|".join(DAYS), lambda found: found[0][:3], fields[4], flags=re.IGNORECASE)
    found = " ".join(fields)
    _next(found, datetime.now(UTC))
    return found


def _next(line: str, after: datetime) -> datetime:
    try:
        return next(CronSim(line, after))
    except (CronSimError, StopIteration) as error:
        cause = str(error) or "no moment in the next 50 years matches it"
        raise SettingsError(f"cron line {line!r} cannot be kept: {cause}", hint=CRON_HELP) from error


class Timetable:
    """When the runs of a cron line are due, in UTC.

    Runs that were missed while the process or the machine stalled count as one.

    Attributes:
        next: The next of them.
    """

    def __init__(self, line: str, now: datetime) -> None:
        self._line = read_cron(line)
        self.next = _next(self._line, now)

    def __str__(self) -> str:
        return CronSim(self._line, self.next).explain()

    def is_due(self, now: datetime) -> bool:
        """Return whether a run is due; asked again at the same moment, it is not."""
        due = now >= self.next
        if due:
            self.next = _next(self._line, now)
        return due


def is_source(version: DatasetVersion) -> bool:
    """Return whether a version is finished data that was uploaded: not derived by a pipeline, not the root."""
    return version.final and version.version != ROOT and not any(fact in version.facts for fact in MADE_HERE)


def newest_source(versions: Sequence[DatasetVersion]) -> DatasetVersion | None:
    """Return the newest version that a full run can begin with."""
    return next((version for version in reversed(versions) if is_source(version)), None)


def workers_for_runs(server: ClearmlServer, queue: str) -> int:
    """Return how many workers a queue has that no scheduler keeps for itself."""
    workers = set(server.workers_of(queue))
    kept = server.tasks(["last_worker", "status"], type=["service", "monitor"], status=["queued", "in_progress"])
    return len(workers) - len([task for task in kept if task["status"] == "queued" or task["last_worker"] in workers])


def start_full_run(
    server: ClearmlServer,
    definition: Definition,
    parameters: Mapping[str, ParameterValue],
    *,
    name: str,
    queue: str,
    controllers_queue: str,
) -> str:
    """Clone a pipeline's draft with these parameters, put it into the controllers' queue, and return the run.

    Args:
        server: The server.
        definition: The pipeline.
        parameters: Its parameters, defaults left out or not.
        name: What the run is called.
        queue: Queue of the steps.
        controllers_queue: Queue of the controllers, its own among them.
    """
    options = RunOptions(queue=queue, controllers_queue=controllers_queue).texts(definition.all_steps)
    run = clone(server, controller_task(definition), parameters, name=name, sections={SECTION: options})
    server.call("tasks.enqueue", task=run, queue_name=controllers_queue)
    return run
