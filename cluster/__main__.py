"""Command line of the test cluster; the only place here that prints and exits."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from clearml_access.errors import UserFacingError
from cluster import clusters
from cluster.layout import DEFAULT_NAME, Layout
from cluster.status import Status

NOT_RUNNING = 3
"""Exit code of `status` for a cluster that does not run, as of service managers."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which cluster.")


class Errors(click.Group):
    """Shows an error as one message and its hint, and ends with its exit code."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except UserFacingError as error:
            click.echo(f"Error: {error.message}" + (f"\nHint: {error.hint}" if error.hint else ""), err=True)
            sys.exit(error.exit_code)


@click.group(cls=Errors, help="A one-node Kubernetes on this machine, for tests and trials.")
def main() -> None:
    """Hold the commands."""


@main.command()
@name_option
@as_json
@click.option("--provider", type=click.Choice(clusters.PROVIDERS), help="How to make it, instead of the best here.")
def up(name: str, as_json: bool, provider: str | None) -> None:
    """Make the cluster; a second call changes nothing."""
    begun = time.monotonic()
    state = clusters.up(_layout(name), lambda text: click.echo(text, err=True), provider)
    if not as_json:
        click.echo(f"Kubernetes {state.kubernetes} is ready after {time.monotonic() - begun:.1f} s ({state.provider}).")
        click.echo(f"export KUBECONFIG={state.kubeconfig}")
    _show(state, as_json)


@main.command()
def build() -> None:
    """Install Debian's programs and build the others into the cache, which the first `up` would do."""
    click.echo(clusters.build(_layout(DEFAULT_NAME), lambda text: click.echo(text, err=True)))


@main.command()
@name_option
@as_json
def down(name: str, as_json: bool) -> None:
    """Remove the cluster and everything it made; the built programs stay in the cache."""
    removed = clusters.down(_layout(name))
    click.echo(json.dumps({"name": name, "removed": removed}) if as_json else ("removed" if removed else "not there"))


@main.command()
@name_option
@as_json
def status(name: str, as_json: bool) -> None:
    """Say what runs; exit code 3 when it does not."""
    state = clusters.status(_layout(name))
    _show(state, as_json)
    if state.state != "running":
        sys.exit(NOT_RUNNING)


@main.command("load-image")
@name_option
@as_json
@click.argument("archives", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load_image(name: str, as_json: bool, archives: tuple[Path, ...]) -> None:
    """Give the node images from archives (docker or OCI), without a registry."""
    loaded = []
    for archive in archives:
        begun = time.monotonic()
        names = clusters.load_image(_layout(name), archive)
        loaded += names
        if not as_json:
            click.echo(f"{', '.join(names)} loaded in {time.monotonic() - begun:.1f} s")
    if as_json:
        click.echo(json.dumps({"name": name, "loaded": loaded}))


def _layout(name: str) -> Layout:
    return Layout.of(name, os.environ, Path.home())


def _show(state: Status, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(state.as_json()))
        return
    rows = {
        "cluster": f"{state.name} ({state.provider}): {state.state}",
        "kubeconfig": state.kubeconfig,
        "API server": f"{state.api_server} {state.kubernetes}".strip(),
        "this machine, as pods see it": state.host_address,
        "a server that pods reach": state.host_address
        and f"task server-up -- --host {state.host_address} --no-workers",
    }
    for title, text in rows.items():
        if text:
            click.echo(f"{title}: {text}")
    for component in state.components:
        click.echo(f"  {component.name:24} {component.pid or 'not running'}")


if __name__ == "__main__":
    main()
