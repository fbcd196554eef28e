"""`python -m pipeline workers up|down|status`: this machine's workers on the configured server. Prints only."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click

from command_line.options import Group, as_json, examples
from pipeline.commands.machine import NOT_COMPLETE
from pipeline.local_stack import MachineSettings, WorkersStatus, workers_down, workers_status, workers_up


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
    """Start agent workers for the configured server; leave alone those that run.

    Each has a Python environment of its own, with this package in it: a plain clearml-agent cannot run these tasks.
    Queues that do not exist are made.
    """
    found = workers_up(
        MachineSettings.from_environ(os.environ), os.environ, steps=steps, controllers=controllers, queues=queues
    )
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(f"Server:  {found.api}")
    if found.made_queues:
        click.echo(f"Made:    queue {', '.join(found.made_queues)}")
    click.echo(f"Started: {', '.join(found.started)}." if found.started else "All workers run already.")
    click.echo("Stop them: ./task workers-down")


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
