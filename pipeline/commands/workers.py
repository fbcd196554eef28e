"""`python -m pipeline workers up|down|status`: this machine's workers on the configured server. Prints only."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict

import click

from command_line.options import Group, as_json, examples
from pipeline.commands.machine import NOT_COMPLETE
from pipeline.errors import SettingsError, UsageError
from pipeline.local_stack import MachineSettings, Started, WorkersStatus, workers_down, workers_status, workers_up
from pipeline.sdk import object_storage


@click.group(cls=Group)
def workers() -> None:
    """Start and stop this machine's agent workers on the configured ClearML server, and show their state."""


@workers.command("up")
@click.option(
    "--steps",
    type=click.IntRange(0, 64),
    metavar="N",
    help="Workers for steps; each runs one task at a time.  [default: CLEARML_PODS_STEP_WORKERS, or 3]",
)
@click.option(
    "--controllers",
    type=click.IntRange(0, 64),
    metavar="N",
    help="Workers for controllers, on queue services; a full run needs two.  [default: 2]",
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="Queue of the workers for steps; repeat it for more, the most urgent first.  [default: the values file's]",
)
@as_json
@examples("./task workers-up", "python -m pipeline workers up --steps 5 --queue pods --queue gpu")
def up(steps: int | None, controllers: int | None, queues: tuple[str, ...], as_json: bool) -> None:
    """Start agent workers for the configured server; leave alone those that run as asked for.

    The numbers and the queues are set, not added to: more workers than asked for are ended, and idle ones with other
    queues are started again.

    Each has a Python environment of its own, with this package in it: a plain clearml-agent cannot run these tasks.
    Queues that do not exist are made.
    """
    settings = MachineSettings.from_environ(os.environ)
    _require_queue_names(queues)
    if not (settings.step_workers if steps is None else steps) and controllers == 0:
        raise UsageError("no workers asked for", hint="to end them: ./task workers-down")
    object_storage.check_default(os.environ)  # else each task would fail, and without saying why
    found = workers_up(settings, os.environ, steps=steps, controllers=controllers, queues=queues)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(f"Server:  {found.api}")
    if found.made_queues:
        click.echo(f"Made:    queue {', '.join(found.made_queues)}")
    for line in _changes(found):
        click.echo(line)
    for queue in found.unserved:
        click.echo(f"Warning: no worker of this machine serves queue {queue} any more", err=True)
    if found.unserved:
        click.echo("To keep a queue, repeat the command with all queues: --queue NAME --queue NAME", err=True)
    click.echo("Stop them: ./task workers-down")


def _changes(found: Started) -> list[str]:
    """Return what was stopped, moved and started, a line each."""
    started = [name for name in found.started if name not in {worker.name for worker in found.moved}]
    lines = [f"Stopped: {', '.join(found.stopped)}."] if found.stopped else []
    lines += [f"Moved:   {worker.name} from queue {worker.before} to {worker.now}." for worker in found.moved]
    lines += [f"Started: {', '.join(started)}."] if started else []
    if found.busy:
        lines.append(f"Busy:    {', '.join(found.busy)}: not moved; repeat the command when the task has ended.")
    return lines or ["All workers are already running."]


def _require_queue_names(queues: Sequence[str]) -> None:
    """Refuse names that the server would take, and that nobody means."""
    for queue in queues:
        names = [name.strip() for name in queue.split(",") if name.strip()]
        if not queue.strip():
            raise SettingsError(f"--queue {queue!r}: the name of a queue is not empty", hint="--queue NAME")
        if "," in queue:
            raise SettingsError(
                f"--queue {queue}: the name of a queue has no comma",
                hint=f"for {'two' if len(names) == 2 else 'several'} queues: "
                + (" ".join(f"--queue {shlex.quote(name)}" for name in names) or "--queue NAME --queue NAME"),
            )


@workers.command("down")
@click.option("--all", "everywhere", is_flag=True, help="Stop those on other servers too; not those of server-up.")
@as_json
@examples("./task workers-down", "python -m pipeline workers down --all")
def down(everywhere: bool, as_json: bool) -> None:
    """Stop this machine's workers on the configured server, with their tasks."""
    stopped = workers_down(MachineSettings.from_environ(os.environ), os.environ, everywhere=everywhere)
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    else:
        click.echo(f"Stopped: {', '.join(stopped)}." if stopped else "No worker was running.")


@workers.command("status")
@as_json
@examples("./task workers-status", "python -m pipeline workers status --json")
def status(as_json: bool) -> int:
    """Show this machine's workers on the configured server, and what waits in their queues.

    The exit code is 3 unless there are workers and all of them run.
    """
    found = workers_status(MachineSettings.from_environ(os.environ), os.environ)
    click.echo(json.dumps(found.as_json()) if as_json else _text(found))
    return 0 if found.complete else NOT_COMPLETE


def _text(found: WorkersStatus) -> str:
    lines = [f"Server:      {found.api}"]
    if found.problem:
        lines.append(f"Problem:     {found.problem}")
    lines += [worker.as_text() for worker in found.workers]
    if not found.workers:
        lines.append("Worker:      none of this machine (start them: ./task workers-up)")
    lines += [
        f"Queue:       {queue.name:<12} {queue.waiting} waiting, {queue.workers} live workers" for queue in found.queues
    ]
    return "\n".join(lines)
