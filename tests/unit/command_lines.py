"""All command lines of the repository, for the tests that hold each of them to the same rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import clearml_localserver.cli
import click
from clearml_localserver.errors import OperatorError

import bench.__main__
import bench.profiling.__main__
import cluster.__main__
import deploy.cli
import images.build
import maintenance.__main__
import pipeline.cli
from clearml_access.errors import UserFacingError
from cluster.errors import ClusterError
from deploy.errors import DeployError
from pipeline.errors import PipelineError


@dataclass(frozen=True)
class Root:
    """A program: what a person types, its command, and the error that its users can act on."""

    program: str
    command: click.Command
    main: Callable[[Sequence[str]], int]
    user_error: Exception


def localserver(words: Sequence[str]) -> int:
    try:
        clearml_localserver.cli.main.main(list(words))
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


ROOTS = (
    Root("python -m pipeline", pipeline.cli.cli, pipeline.cli.main, PipelineError("no", hint="yes")),
    Root("python -m deploy", deploy.cli.cli, deploy.cli.main, DeployError("no", hint="yes")),
    Root("python -m cluster", cluster.__main__.cli, cluster.__main__.main, ClusterError("no", hint="yes")),
    Root("python -m bench", bench.__main__.cli, bench.__main__.main, UserFacingError("no", hint="yes")),
    Root(
        "python -m bench.profiling",
        bench.profiling.__main__.cli,
        bench.profiling.__main__.main,
        UserFacingError("no", hint="yes"),
    ),
    Root("python -m images.build", images.build.cli, images.build.main, images.build.ImageError("no", hint="yes")),
    Root(
        "python -m maintenance",
        maintenance.__main__.cli,
        maintenance.__main__.main,
        UserFacingError("no", hint="yes"),
    ),
    Root("clearml-localserver", clearml_localserver.cli.main, localserver, OperatorError("no\nHint: yes")),
)


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Return a command and all below it, each with the words that name it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None, name
            yield from commands(below, *path, name)


ALL = [(root, path, command) for root in ROOTS for path, command in commands(root.command)]
LEAVES = [(root, path, command) for root, path, command in ALL if not isinstance(command, click.Group)]


def name(value: object) -> str | None:
    """Return the test's name of a parameter."""
    if isinstance(value, Root):
        return value.program.split()[-1]
    return "-".join(value) if isinstance(value, tuple) else ""
