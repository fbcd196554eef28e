"""`python -m pipeline new`: a new project. Prints; the work is in `pipeline.new_project`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from clearml_access.own_server import PROJECT
from command_line.options import FilePath, examples


@click.command()
@click.argument("name")
@click.option(
    "--folder",
    type=FilePath(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Folder in which the project's own folder is made.  [default: the one that this clone is in]",
)
@examples("python -m pipeline new house-prices", "python -m pipeline new house-prices --folder ~/projects")
def new(name: str, folder: Path | None) -> None:
    """Write a small project of your own: a pipeline of two steps, its tests on real agents, values for its pods.

    NAME is the name of the project, of its folder and of its script. The project knows nothing of this repository; it
    passes its own tests at once.
    """
    from pipeline.new_project import install_command, write_project

    written = write_project(name, (folder or PROJECT.parent).resolve())
    click.echo(f"Project {name}: {written}")
    click.echo(f"Next: cd {shlex.quote(str(written))}")
    click.echo(f"      python3 -m venv .venv && {install_command()}")
    click.echo("      .venv/bin/pytest")
