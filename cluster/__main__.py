"""Command line of the test cluster; the only place here that prints and exits."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from cluster import clusters
from cluster.layout import DEFAULT_NAME, Layout
from cluster.status import Status
from command_line.main import run
from command_line.options import CONTEXT, FilePath, Group, as_json, examples, verbose

NOT_RUNNING = 3
"""Exit code of `status` for a cluster that does not run, as of service managers."""

AFTER_INTERRUPT = {
    "up": "the same command again completes the cluster; ./task cluster-down removes it",
    "down": "the same command again removes what is left",
}

name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Name of the cluster.")


@click.group(cls=Group, context_settings=CONTEXT)
@verbose
@examples("./task cluster-up", "python -m cluster status --json")
def cli() -> None:
    """Create a one-node Kubernetes cluster on this machine, for tests and trials."""


@cli.command()
@name_option
@as_json
@click.option(
    "--provider",
    type=click.Choice(clusters.PROVIDERS),
    help="What creates the cluster.  [default: the first one that works here]",
)
@examples("python -m cluster up", "python -m cluster up --name second --json")
def up(name: str, as_json: bool, provider: str | None) -> None:
    """Create the cluster; a second call changes nothing."""
    begun = time.monotonic()
    state = clusters.up(_layout(name), lambda text: click.echo(text, err=True), provider)
    if not as_json:
        click.echo(f"Kubernetes {state.kubernetes} is ready after {time.monotonic() - begun:.1f} s ({state.provider}).")
        click.echo(f"export KUBECONFIG={state.kubeconfig}")
    _show(state, as_json)


@cli.command()
@examples("python -m cluster build")
def build() -> None:
    """Install the Debian packages and build the other programs into the cache.

    The first `up` does the same.
    """
    click.echo(clusters.build(Layout.cache_of(os.environ, Path.home()), lambda text: click.echo(text, err=True)))


@cli.command()
@name_option
@as_json
@examples("python -m cluster down")
def down(name: str, as_json: bool) -> None:
    """Remove the cluster and everything that it created; the built programs stay in the cache."""
    removed = clusters.down(_layout(name))
    click.echo(json.dumps({"name": name, "removed": removed}) if as_json else ("removed" if removed else "not there"))


@cli.command()
@name_option
@as_json
@examples("python -m cluster status")
def status(name: str, as_json: bool) -> int:
    """Show the cluster's state, its addresses and its programs; the exit code is 3 if it does not run."""
    state = clusters.status(_layout(name))
    _show(state, as_json)
    return 0 if state.state == "running" else NOT_RUNNING


@cli.command("load-image")
@name_option
@as_json
@click.argument("archives", nargs=-1, required=True, type=FilePath(exists=True, dir_okay=False))
@examples("python -m cluster load-image /tmp/images/task.tar /tmp/images/agent.tar")
def load_image(name: str, as_json: bool, archives: tuple[Path, ...]) -> None:
    """Load images from docker or OCI archives into the cluster, without a registry."""
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
        and f"./task server-up -- --host {state.host_address} --no-workers",
    }
    if state.state != "running":
        named = "" if state.name == DEFAULT_NAME else f" -- --name {state.name}"
        rows["start it"] = f"./task cluster-up{named}"
    for title, text in rows.items():
        if text:
            click.echo(f"{title}: {text}")
    for component in state.components:
        click.echo(f"  {component.name:24} {component.pid or 'not running'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: What follows `python -m cluster`; default: the process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    hint = AFTER_INTERRUPT.get(words[0]) if words else None
    return run(cli, words, program="python -m cluster", interrupted_hint=hint)


if __name__ == "__main__":
    sys.exit(main())
