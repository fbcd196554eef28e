"""`python -m pipeline abort`: stop a run. Prints; the work is in `pipeline.runs.run`."""

from __future__ import annotations

import click

from command_line.options import examples
from pipeline.commands.connection import connect


@click.command()
@click.argument("run", metavar="RUN")
@examples("python -m pipeline abort DataPrepare", "python -m pipeline abort 0a1b2c3d4e5f60718293a4b5c6d7e8f9")
def abort(run: str) -> int:
    """Stop a run: its controller and its steps; remove the dataset versions that they have not finished.

    RUN is an id, or the name of a pipeline for its newest run, of any pipeline. The id is in the address of the run's
    page.
    """
    connection = connect(lambda text: click.echo(text))
    from pipeline.runs import run as use_case
    from pipeline.runs.states import fetch, find

    run_id = find(connection.server, run)
    state = fetch(connection.server, run_id)
    if state.ended:
        click.echo(f"Run {run_id} has ended already: {state.outcome}")
        return 0
    state = use_case.abort(connection.server, run_id)
    click.echo(f"Run {run_id} was aborted")
    return 0
