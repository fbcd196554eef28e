"""`python -m pipeline server up|down|status`: the one-machine set-up. Prints; the work is in `pipeline.local_stack`."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict
from typing import Any

import click

from clearml_access.tasks import is_pipeline
from command_line.options import Group, as_json, examples
from pipeline.local_stack import LOOPBACK, MachineSettings, Status, down, in_hand, status, up
from pipeline.serving import process
from pipeline.serving.settings import ServingSettings

NOT_COMPLETE = 3
"""Exit code of `status` where something does not run (as `systemctl status` has it)."""


@click.group(cls=Group)
def server() -> None:
    """Start and stop the server and the agent workers on this machine, and show their state."""


@server.command("up")
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Listen on ADDRESS, which pods can reach, and ask for access keys.  [default: only this machine]",
)
@click.option("--no-workers", is_flag=True, help="Start no agents here; an agent in a cluster serves the queue.")
@as_json
@examples("./task server-up", "python -m pipeline server up --host 192.168.1.10 --no-workers")
def server_up(host: str | None, no_workers: bool, as_json: bool) -> None:
    """Start the server and its agent workers; leave alone what is already running."""
    machine = up(MachineSettings.from_environ(os.environ), host=host, has_workers=not no_workers)
    if as_json:
        click.echo(json.dumps(asdict(machine), default=str))
        return
    if machine.started:
        click.echo(f"Started: {', '.join(machine.started)}.")
    else:
        click.echo("Everything is already running.")
    click.echo(f"Web pages:  {machine.web}")
    click.echo(f"API:        {machine.api}")
    click.echo(f"Files:      {machine.files}")
    if machine.host not in LOOPBACK:
        click.echo(f"It listens beyond this machine, so all three ask for the key in {machine.configuration}.")
    if not machine.has_workers:
        click.echo(
            f"No agents run here: one in a cluster must serve queue {machine.steps_queue} (./task deploy-agent)."
        )
    click.echo(f"Any ClearML client: export CLEARML_CONFIG_FILE={machine.configuration}")
    click.echo("Stop the server and its workers: ./task server-down")


@server.command("down")
@as_json
@examples("./task server-down", "python -m pipeline server down")
def server_down(as_json: bool) -> None:
    """Stop the workers, their tasks and the server; the data stays.

    What they run is aborted and named. A model that is served goes on: ./task serve-down ends it.
    """
    settings = MachineSettings.from_environ(os.environ)
    runs, tasks = _aborted(in_hand(settings))
    stopped = down(settings)
    served = process.find(ServingSettings.from_environ(os.environ))
    if as_json:
        aborted = {"runs": [task["id"] for task in runs], "tasks": [task["id"] for task in tasks]}
        document = {"stopped": stopped, "aborted": aborted, "serving_pid": served.pid if served else None}
        click.echo(json.dumps(document))
        return
    click.echo(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")
    for kind, found in (("run", runs), ("task", tasks)):
        if found:
            names = ", ".join(f"{task.get('name')} ({task['id']})" for task in found)
            click.echo(f"Aborted {len(found)} {kind}{'s' if found[1:] else ''}: {names}")
    if served:
        click.echo(f"A model is still served (pid {served.pid}). End it: ./task serve-down")


def _aborted(tasks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the runs of pipelines among tasks, and the tasks that are neither runs nor steps of these."""
    runs = [task for task in tasks if is_pipeline(task)]
    known = {task["id"] for task in runs}
    return (
        [task for task in runs if task.get("parent") not in known],
        [task for task in tasks if task["id"] not in known and task.get("parent") not in known],
    )


@server.command("status")
@as_json
@examples("./task server-status", "python -m pipeline server status --json")
def server_status(as_json: bool) -> int:
    """Show the server's addresses, the workers, their queues and their tasks.

    The exit code is 3 unless all of it runs.
    """
    found = status(MachineSettings.from_environ(os.environ))
    click.echo(json.dumps(found.as_json()) if as_json else _text(found))
    return 0 if found.complete else NOT_COMPLETE


def _text(found: Status) -> str:
    if found.server_pid is None:
        lines = ["Server:      not running (start it: ./task server-up)"]
    else:
        state = "answers" if found.answers else f"does not answer (log: {found.log})"
        lines = [
            f"Server:      pid {found.server_pid}, {state}",
            f"Web pages:   {found.web}",
            f"API:         {found.api}",
            f"Files:       {found.files}",
            f"Client conf: {found.configuration}",
        ]
    lines += [worker.as_text() for worker in found.workers]
    lines += [
        f"Queue:       tasks wait in {queue}, and no live worker serves it "
        f"(start one: ./task workers-up -- --queue {shlex.quote(queue)})"
        for queue in found.unserved
    ]
    return "\n".join(lines)
