"""`python -m pipeline retrain|schedule`: full runs by themselves. Prints; see `pipeline.automation.scheduling`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from clearml_access.agent_values import AgentValues
from clearml_access.tasks import PODS_QUEUE
from command_line.options import as_json, examples
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.automation.triggers import CRON_HELP, DAYS, RETRAIN, SCHEDULE, workers_for_runs
from pipeline.commands.connection import connect
from pipeline.commands.outcome import end_interrupted
from pipeline.errors import SettingsError
from pipeline.graph.parameters import help_text, parse_assignments
from pipeline.module_tasks.declaration import ModuleTask

_OPTIONS = (
    click.option(
        "--dataset-name",
        metavar="NAME",
        help=f"Name of the dataset.  [default: {FULL_PIPELINE.defaults['dataset_name']}]",
    ),
    click.option(
        "--dataset-project",
        metavar="PROJECT",
        help=f"Project of the dataset.  [default: {FULL_PIPELINE.defaults['dataset_project']}]",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a parameter of the full runs; may be repeated.",
    ),
    click.option(
        "--queue", metavar="QUEUE", help="Queue of the steps.  [default: the queue in helm/values-agent.yaml]"
    ),
    click.option(
        "--controllers-queue",
        metavar="QUEUE",
        help="Queue of the controllers.  [default: services if a worker serves it, else --queue]",
    ),
    click.option("--runs", type=click.IntRange(1), metavar="N", help="End after N runs.  [default: never]"),
    click.option("--detach", is_flag=True, help="Put the scheduler into the controllers' queue and return."),
    as_json,
)
_EPILOG = help_text(parameter for parameter in FULL_PIPELINE.parameters if not parameter.name.startswith("dataset_"))


def _options(function: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(epilog=_EPILOG)
@click.option(
    "--every", "every_s", type=float, metavar="SECONDS", help="Interval between checks of the dataset.  [default: 10]"
)
@_options
@examples("python -m pipeline retrain", "python -m pipeline retrain --every 60 --set model=linear --detach")
def retrain(every_s: float | None, **options: Any) -> int:
    """Start a full run whenever the dataset gets a new finished version; versions that runs make do not count.

    The command stays in the foreground until Ctrl-C. Runs that it has started continue.
    """
    return _run(RETRAIN, {"every_s": ("--every", every_s)}, **options)


@click.command(epilog=_EPILOG)
@click.option("--cron", metavar="LINE", help=f"Cron line that says when. {CRON_HELP}")
@click.option("--at", metavar="HH:MM", help="Time of each day in UTC, instead of --cron.")
@click.option(
    "--on", "days", multiple=True, type=click.Choice(DAYS), help="Only on this day, with --at; may be repeated."
)
@click.option("--now", is_flag=True, help="Start the first run at once.")
@_options
@examples("python -m pipeline schedule --cron '0 3 * * *'", "./task schedule -- --at 03:00 --on monday")
def schedule(cron: str | None, at: str | None, days: tuple[str, ...], now: bool, **options: Any) -> int:
    """Start full runs on a schedule, on the newest version of the dataset.

    The default is daily at 3:00 UTC. A run is skipped while the previous one still runs. The command stays in the
    foreground until Ctrl-C. Runs that it has started continue.
    """
    if (cron and at) or (days and not at):
        raise SettingsError("--cron and --at exclude each other, and --on needs --at", hint="--at 03:00 --on monday")
    own = {"cron": ("--cron", _cron(at, days) if at else cron), "now": ("--now", now or None)}
    return _run(SCHEDULE, own, **options)


def _cron(at: str, days: tuple[str, ...]) -> str:
    """Return the cron line of a time of day."""
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]?\d)", at, re.ASCII)
    if not found:
        raise SettingsError(f"--at {at}: expected hours and minutes, from 00:00 to 23:59", hint="--at 03:00")
    return f"{int(found[2])} {int(found[1])} * * {','.join(days) or '*'}"


def _run(
    service: ModuleTask,
    own: Mapping[str, tuple[str, object]],
    *,
    dataset_name: str | None,
    dataset_project: str | None,
    assignments: tuple[str, ...],
    queue: str | None,
    controllers_queue: str | None,
    runs: int | None,
    detach: bool,
    as_json: bool,
) -> int:
    """Make the scheduler's task, and run it here or give it to an agent."""
    taken = [word for word in assignments if word.partition("=")[0].strip() in ("dataset_name", "dataset_project")]
    if taken:
        raise SettingsError(f"--set {taken[0]}: has an option of its own", hint="--dataset-name, --dataset-project")
    parse_assignments(FULL_PIPELINE.parameters, assignments)
    given = {
        **own,
        "dataset_name": ("--dataset-name", dataset_name),
        "dataset_project": ("--dataset-project", dataset_project),
        "queue": ("--queue", queue or AgentValues.load().queue),
        "controllers_queue": ("--controllers-queue", controllers_queue),
        "runs": ("--runs", runs),
    }
    values = parse_assignments(service.parameters, (), given)
    values["set"] = "\n".join(assignments)

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    connection = connect(say)
    server = connection.server
    from pipeline import preflight
    from pipeline.module_tasks import drafts, execution

    values["controllers_queue"] = values["controllers_queue"] or preflight.queue_for_controllers(
        server, str(values["queue"])
    )
    for name in ("queue", "controllers_queue"):
        preflight.require_queue(server, str(values[name]))
    free = workers_for_runs(server, str(values["controllers_queue"]))
    if detach and free < 2 and PODS_QUEUE not in server.queue_names():
        raise preflight.QueueError(
            f"queue {values['controllers_queue']!r} has {free} worker(s) that no scheduler keeps: "
            f"{service.name!r} would occupy it, and no worker would take the runs that it starts",
            hint="leave --detach out; or add a worker: "
            + preflight.more_workers_command(server, str(values["controllers_queue"])),
        )
    task = drafts.create(server, service, values)
    page = server.task_page("*", task)
    if detach:
        execution.enqueue(server, task, str(values["controllers_queue"]))
        say(f"{service.name} is in queue {values['controllers_queue']}: {page}")
        say("To stop it, abort the task on that page")
        if as_json:
            click.echo(json.dumps({"status": "queued", "task_id": task}))
        return 0
    say(f"{service.name}, until Ctrl-C: {page}")
    try:
        execution.run(server, service, task, environ=os.environ, say=say)
    except KeyboardInterrupt:
        say(f"{service.name} was stopped; runs that it has started continue.")
        return end_interrupted(as_json=as_json, task_id=task)
    if as_json:
        click.echo(json.dumps({"status": "completed", "task_id": task}))
    return 0
