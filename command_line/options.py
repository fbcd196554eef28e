"""What command lines share: types of values, and decorators for `--verbose`, `--json` and examples in the help."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from command_line.invocation import Context, invocation_of

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
"""Settings of every root command."""


class Group(click.Group):
    """A group whose help shows the first sentence of each command as a whole; click cuts it at the terminal's width.

    Its commands are named as the person called them (`command_line.invocation`).
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            command.context_class = Context
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(command)) for name, command in found if command is not None])


def summary(command: click.Command) -> str:
    """Return the first paragraph of a command's help."""
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())


class AnyNumber(click.types.FloatParamType):
    """A number; click's own type takes NaN, which no comparison refuses."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that a text spells."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found


class Number(click.FloatRange, AnyNumber):
    """A number within bounds, which `--help` shows."""


TASK_ID = re.compile(r"[0-9a-f]{32}")


class TaskId(click.types.StringParamType):
    """The id of a task or a run. ClearML takes an id with a leading `-` in a filter as "all but this one".

    Args:
        or_none: Whether an empty text is accepted, for an option whose value may be left out.
    """

    def __init__(self, *, or_none: bool = False) -> None:
        self._or_none = or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the id."""
        found = super().convert(value, param, ctx)
        if not TASK_ID.fullmatch(found) and not (self._or_none and found == ""):
            self.fail(f"{value!r} is not an id: 32 characters out of 0-9 and a-f", param, ctx)
        return found


class FilePath(click.Path):
    """A file or folder, relative to the folder in which the person typed the command."""

    def __init__(self, **checks: Any) -> None:
        """Check as `click.Path` does."""
        super().__init__(path_type=Path, **checks)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a default stays relative to this process's folder."""
        default = ctx and param and ctx.get_parameter_source(str(param.name)) is ParameterSource.DEFAULT
        return super().convert(value if default else invocation_of(ctx).folder / value, param, ctx)


class NameOrPath(click.types.StringParamType):
    """A file or folder that exists, relative to that folder, too; any other text stays as it is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path or the text."""
        return invocation_of(ctx).path(super().convert(value, param, ctx))


verbose = click.option(
    "--verbose",
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error, and details that are otherwise left out.",
)
"""Declares `--verbose` for the help; `command_line.main` takes it from anywhere among the arguments."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout.")


def examples(*lines: str) -> Callable[[Function], Function]:
    """Add examples to a command's docstring; goes below `@click.command`.

    Args:
        lines: What a person types.
    """

    def add(function: Function) -> Function:
        # A backspace keeps click from joining the lines of a paragraph.
        shown = "\n".join(f"  {line}" for line in lines)
        title = "Example:" if len(lines) == 1 else "Examples:"
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\n{title}\n{shown}"
        return function

    return add
