"""The options that several commands of `python -m deploy` share, and the session that is made from them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from command_line.options import FilePath, NameOrPath
from deploy.session import Session
from deploy.settings import NAMESPACE, RELEASE, Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def _together(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


release = _together(
    click.option("--namespace", "-n", help=f"Namespace of the release.  [default: {NAMESPACE}]"),
    click.option("--release", help=f"Name of the release.  [default: {RELEASE}]"),
)
"""Which release."""

members = _together(
    click.option(
        "--queues",
        "queues_folder",
        envvar="AGENT_QUEUES",
        show_envvar=True,
        metavar="FOLDER",
        type=FilePath(exists=True, file_okay=False),
        help="Folder with a values file for each further queue; each makes a release.  [default: helm/queues]",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="NAME",
        help="Work on this release alone: a queue file's name without its ending, or a release; may be repeated.",
    ),
)
"""Which releases of the deployment."""

cluster = _together(
    click.option("--context", help="Context of the kubeconfig to use instead of its current one."),
    click.option(
        "--kubeconfig",
        metavar="FILE",
        type=NameOrPath(),
        help="Kubeconfig file.  [default: $KUBECONFIG, or ~/.kube/config]",
    ),
)
"""In which cluster."""

wanted = _together(
    click.option(
        "--chart",
        envvar="AGENT_CHART",
        show_envvar=True,
        type=NameOrPath(),
        help="The chart: its name in the repository, an oci:// address, a folder or a .tgz file.",
    ),
    click.option("--chart-version", metavar="VERSION", help="Version of the chart.  [default: the pinned one]"),
    click.option("--repository", metavar="URL", help="Repository of the chart.  [default: the upstream repository]"),
    click.option(
        "--values",
        "-f",
        "values_files",
        metavar="FILE",
        multiple=True,
        type=FilePath(),
        help="Values file that overrides the project's own; may be repeated.",
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="PATH=VALUE",
        help="One value that overrides all values files; may be repeated.",
    ),
)
"""What the release should be: the chart and its values."""

dry_run = click.option("--dry-run", is_flag=True, help="Run all checks and print what would change; change nothing.")
canary = click.option(
    "--canary/--no-canary", default=True, show_default=True, help="Verify at the end that a test task runs as a pod."
)


def session(**settings: Any) -> Session:
    """Return the session of a command; it reports its progress on stderr.

    Args:
        settings: What the options above gave.

    Raises:
        SettingsError: A name is not one that Kubernetes accepts.
    """
    return Session(Settings.from_environ(os.environ, **settings), os.environ, say=say)


def say(text: str) -> None:
    """Report progress on stderr, apart from the result."""
    click.echo(text, err=True)
