"""`python -m pipeline abort`: stop a run. Prints; the work is in `pipeline.runs.run`."""

from __future__ import annotations

import click

from command_line.options import TaskId, examples
from pipeline.commands.connection import connect


@click.command()
@click.argument("run_id", type=TaskId())
@examples("python -m pipeline abort 0a1b2c3d4e5f60718293a4b5c6d7e8f9")
def abort(run_id: str) -> int:
    """Stop run RUN_ID: its controller and its steps; remove the dataset versions that they have not finished.

    `run` prints RUN_ID at its end and when it is interrupted; it is also in the address of the run's page.
    """
    connection = connect(lambda text: click.echo(text))
    from pipeline.runs import run as use_case
    from pipeline.runs.states import fetch

    state = fetch(connection.server, run_id)
    if state.ended:
        click.echo(f"Run {run_id} has ended already: {state.outcome}")
        return 0
    state = use_case.abort(connection.server, run_id)
    click.echo(f"Run {run_id} was aborted")
    return 0
