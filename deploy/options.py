"""The options that several commands of `python -m deploy` share, and the session that is made from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from command_line.options import FilePath, NameOrPath, Number, TaskId
from deploy.errors import ConfirmationError, UsageError
from deploy.session import Session
from deploy.settings import NAMESPACE, RELEASE, SERVING_RELEASE, Settings

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

served = _together(
    click.option("--namespace", "-n", help=f"Namespace to serve in.  [default: {NAMESPACE}]"),
    click.option(
        "--release",
        default=SERVING_RELEASE,
        show_default=True,
        help="Name of Deployment and Service.",
    ),
)
"""Where models are served."""

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

values = _together(
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
"""Values over the project's own."""

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
    values,
)
"""What the release should be: the chart and its values."""

model = _together(
    click.option(
        "--model", "model_id", type=TaskId(), metavar="ID", help="The model.  [default: the newest published one]"
    ),
    click.option(
        "--canary",
        type=Number(0, 1, min_open=True, max_open=True),
        metavar="SHARE",
        help="Give the model this share of the requests; the current version keeps the others.",
    ),
    click.option("--auto-update", is_flag=True, help="Serve the newest model with the tag best, and each newer one."),
)
"""Which model is served."""

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


def require_confirmation(what: str, *, yes: bool, several: bool = False) -> None:
    """Ask whether something may be removed.

    Raises:
        ConfirmationError: There is no terminal for the confirmation.
        UsageError: The person says no.
    """
    if not yes and not sys.stdin.isatty():
        raise ConfirmationError(
            f"{what} {'are' if several else 'is'} not removed: no terminal to confirm on",
            hint="add --yes; --dry-run shows what would be removed",
        )
    if not yes and not click.confirm("Remove all of this?", err=True):
        raise UsageError("nothing was removed")
