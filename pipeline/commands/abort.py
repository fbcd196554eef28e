"""`python -m pipeline abort`: stop a run. Prints; the work is in `pipeline.runs.run`."""

from __future__ import annotations

import click

from pipeline.commands.connection import connect


@click.command()
@click.argument("run_id")
def abort(run_id: str) -> int:
    """Stop run RUN_ID: its controller and its steps; dataset versions that they had begun are removed.

    RUN_ID is what `run` prints at its end or when it is interrupted, and stands in the address of the run's page.
    """
    connection = connect(lambda text: click.echo(text))
    from pipeline.runs import run as use_case

    state = use_case.fetch(connection.server, run_id)
    if state.ended:
        click.echo(f"Run {run_id} has ended already: {state.outcome}")
        return 0
    state = use_case.abort(connection.server, run_id)
    click.echo(f"Run {run_id} was aborted")
    return 0
