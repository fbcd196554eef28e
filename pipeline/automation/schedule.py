"""Full runs that nobody starts by hand: what the two schedulers take, and cron lines as the SDK's scheduler has them.

Light, since `--help` reads the parameters here. The schedulers themselves are in `pipeline.automation.scheduling`.
Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.automation.services import Service
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.controllers.drafts import ensure_draft
from pipeline.errors import SettingsError
from pipeline.graph.definitions import PROJECT, Definition
from pipeline.graph.parameters import Parameter, ParameterValue, not_blank
from pipeline.versions import ROOT

MADE_HERE = ("Preparation/step", "Preparation/split_dataset", "Training/model")
"""Recorded on versions that a pipeline has derived: a retraining that they started would start the next one."""

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CRON_HELP = (
    "Supported: 'M H * * *' daily, 'M H * * MON,FRI' weekly, 'M H D * *' monthly, 'M * * * *' hourly, and, counted "
    "from the start, '*/N * * * *' every N minutes, 'M */N * * *' every N hours. All times are UTC."
)


def _not_negative(value: ParameterValue) -> str | None:
    return None if float(value) >= 0 else f"{value} is less than 0"


def _a_second(value: ParameterValue) -> str | None:
    return None if float(value) >= 1 else f"{value} is less than 1"


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
    Parameter("runs", 0, "End after so many runs; 0: never", _not_negative),
)
RETRAIN = Service(
    "Retrain on new data",
    "monitor",
    "pipeline.automation.scheduling",
    (*_SHARED, Parameter("every_s", 10.0, "Seconds between two looks at the dataset", _a_second)),
)
SCHEDULE = Service(
    "Schedule FullPipeline",
    "service",
    "pipeline.automation.scheduling",
    (
        *_SHARED,
        Parameter("cron", "0 3 * * *", "When: a cron line, in UTC", _a_cron_line),
        Parameter("now", False, "Start a run at once, too"),
    ),
)
SERVICES = {service.name: service for service in (RETRAIN, SCHEDULE)}


@dataclass(frozen=True)
class Times:
    """When, as the SDK's `TaskScheduler.add_task` takes it."""

    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    weekdays: tuple[str, ...] = ()
    month: int | None = None

    def beginning(self, now: datetime) -> Times:
        """Return the same times with the next weekday first: the SDK's clock begins with the first of its list."""
        late = (now.hour, now.minute) >= (self.hour or 0, self.minute or 0)
        first = now.weekday() + late
        return replace(self, weekdays=tuple(sorted(self.weekdays, key=lambda day: (DAYS.index(day) - first) % 7)))

    def arguments(self) -> dict[str, object]:
        """Return the keyword arguments."""
        return {
            "minute": self.minute,
            "hour": self.hour,
            "day": self.day,
            "weekdays": list(self.weekdays) or None,
            "month": self.month,
        }


def read_cron(line: str) -> Times:
    """Return what a cron line says.

    Raises:
        SettingsError: It is none, or one that the SDK's scheduler cannot keep.
    """
    fields = line.split()
    if len(fields) != 5:
        raise SettingsError(f"cron line {line!r} has {len(fields)} fields, not 5", hint=CRON_HELP)
    minute, hour, day, month, weekday = fields
    if month == "*":
        every_minutes, every_hours = _step(minute, 59), _step(hour, 23)
        if every_minutes and (hour, day, weekday) == ("*", "*", "*"):
            return Times(minute=every_minutes)
        if (at_minute := _number(minute, 0, 59)) is not None:
            if every_hours and (day, weekday) == ("*", "*"):
                return Times(minute=at_minute, hour=every_hours)
            if (hour, day, weekday) == ("*", "*", "*"):
                return Times(minute=at_minute, hour=1)
            if (at_hour := _number(hour, 0, 23)) is not None:
                if (day, weekday) == ("*", "*"):
                    return Times(minute=at_minute, hour=at_hour, day=1)
                if day == "*" and (weekdays := _weekdays(weekday)):
                    return Times(minute=at_minute, hour=at_hour, day=0, weekdays=weekdays)
                # Not the 29th to 31st: what the SDK adds to a month's first day would run over into the next month.
                if weekday == "*" and (at_day := _number(day, 1, 28)) is not None:
                    return Times(minute=at_minute, hour=at_hour, day=at_day, month=1)
    raise SettingsError(f"cron line {line!r} cannot be kept by the SDK's scheduler", hint=CRON_HELP)


def _number(text: str, least: int, most: int) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,2}", text, re.ASCII) and least <= int(text) <= most else None


def _step(text: str, most: int) -> int | None:
    return _number(text[2:], 1, most) if text.startswith("*/") else None


def _weekdays(text: str) -> tuple[str, ...]:
    """Return the days that names or numbers stand for (0 and 7 are Sunday), from Monday on; nothing if one is wrong."""
    found = set()
    for part in text.split(","):
        number = _number(part, 0, 7)
        names = [day for day in DAYS if len(part) >= 3 and day.startswith(part.lower())]
        if number is None and len(names) != 1:
            return ()
        found.add(names[0] if number is None else DAYS[(number - 1) % 7])
    return tuple(day for day in DAYS if day in found)


def is_source(version: DatasetVersion) -> bool:
    """Return whether a version is finished data that somebody has brought: not derived by a pipeline, not the root."""
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
    run = str(server.call("tasks.clone", task=ensure_draft(server, definition), new_task_name=name)["id"])
    options = {"queue": queue, "controllers_queue": controllers_queue}
    server.call(
        "tasks.edit_hyper_params",
        task=run,
        hyperparams=[
            *(
                {"section": "Args", "name": parameter.name, "value": str(parameters[parameter.name])}
                for parameter in definition.parameters
                if parameter.name in parameters
            ),
            *({"section": "Options", "name": option, "value": value} for option, value in options.items()),
        ],
    )
    server.call("tasks.enqueue", task=run, queue_name=controllers_queue)
    return run
