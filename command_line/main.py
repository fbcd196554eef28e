"""Runs a click command and turns whatever it raises into a message and an exit code.

A user sees `Error: …` and `Hint: …`, never a traceback without `--verbose`. With `--json` among the arguments an error
is one JSON object on stdout, too.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

import click

from clearml_access.errors import UserFacingError
from command_line import interrupts, invocation, streams, warning_filters
from command_line.invocation import Invocation

NOT_INSTALLED = 69
"""Exit code where a package that the command needs is not installed: EX_UNAVAILABLE of BSD's sysexits.h."""

DEFECT = 70
"""Exit code of a defect of ours: EX_SOFTWARE of BSD's sysexits.h."""

INSTALL_HINT = "`./task setup` installs all packages into the clone's .venv; then use .venv/bin/python, or ./task"

OUTPUT_FAILED = 74
"""Exit code where stdout cannot be written, as on a full disk: EX_IOERR of BSD's sysexits.h."""

BROKEN_PIPE = 141
"""Exit code where the reader of stdout has gone (`… | head`): 128 + SIGPIPE, as of other programs."""


def run(
    command: click.Command,
    words: Sequence[str] | None,
    *,
    program: str,
    exit_code_of: Callable[[type[UserFacingError]], int] = lambda kind: kind.exit_code,
    interrupted_hint: str | None = None,
) -> int:
    """Run a command; return its exit code.

    Args:
        command: The root of the command line.
        words: Its arguments; None for those of this process.
        program: How it is called, for usage and messages.
        exit_code_of: Gives the exit code of a kind of error.
        interrupted_hint: What to do after Ctrl-C.
    """
    streams.open_closed()
    streams.take_all_characters()
    warning_filters.let_libraries_warn()
    call = invocation.taken_from_environment()
    arguments = list(sys.argv[1:] if words is None else words)
    with interrupts.listening():
        try:
            code = _run(command, arguments, program, call, exit_code_of, interrupted_hint)
            sys.stdout.flush()
        except BrokenPipeError:
            streams.discard_output()
            return BROKEN_PIPE
        except OSError as error:  # of stdout: `_run` makes a message of any other
            streams.discard_output()
            _say(f"stdout cannot be written: {error.strerror}", "free some space, or send the output elsewhere")
            return OUTPUT_FAILED
    return code


def _run(
    command: click.Command,
    arguments: list[str],
    program: str,
    call: Invocation,
    exit_code_of: Callable[[type[UserFacingError]], int],
    interrupted_hint: str | None,
) -> int:
    """Run a command and make a message of each error but those of stdout."""
    # Wherever it stands: people add it at the end of the line that failed.
    verbose = "--verbose" in arguments
    arguments = [word for word in arguments if word != "--verbose"]
    as_json = "--json" in arguments
    try:
        return _invoke(command, arguments, program, replace(call, verbose=verbose))
    except click.ClickException as error:
        error.show()
        _print_json(as_json, {"error": error.format_message(), "hint": None, "exit_code": error.exit_code})
        return error.exit_code
    except UserFacingError as error:
        if verbose:
            traceback.print_exc()
        for line in error.evidence:
            click.echo(f"  {line}", err=True)
        _say(error.message, error.hint)
        # One error may have the code of another kind: that of the error in a task's own process.
        code = vars(error).get("exit_code") or exit_code_of(type(error))
        body = {"error": error.message, "hint": error.hint, "exit_code": code}
        evidence = {"evidence": error.evidence} if error.evidence else {}
        _print_json(as_json, {**error.document, **body, **evidence})
        return code
    except (click.Abort, KeyboardInterrupt):
        code = interrupts.exit_code()
        message = "interrupted" if code == 130 else f"ended by {interrupts.last_signal().name}"
        _say(message, interrupted_hint)
        _print_json(as_json, {"error": message, "hint": interrupted_hint, "exit_code": code})
        return code
    except Exception as error:  # the last guard: a defect of ours is a message, too
        if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and streams.stdout_fails()):
            raise
        if package := _missing_package(error):
            message = f"`{call.task or program}` needs the package {package}, which is not installed in {sys.prefix}"
            _say(message, INSTALL_HINT)
            _print_json(as_json, {"error": message, "hint": INSTALL_HINT, "exit_code": NOT_INSTALLED})
            return NOT_INSTALLED
        message = (
            f"internal error in `{call.task or _path(command, arguments, program)}`: {type(error).__name__}: {error}"
        )
        hint = streams.traceback_hint("clearml-pods", verbose=verbose)
        _say(message, hint)
        _print_json(as_json, {"error": message, "hint": hint, "exit_code": DEFECT})
        return DEFECT


def _invoke(command: click.Command, arguments: list[str], program: str, call: Invocation) -> int:
    """Run a command as click's own `main` does, which would end the process at some errors."""
    command.context_class = invocation.Context
    try:
        with command.make_context(program, arguments, obj=call) as context:
            result = command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else 0


def _missing_package(error: Exception) -> str | None:
    """Return the package that an import did not find; None for other errors, and for a module missing in a package."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name if name and find_spec(name) is None else None


def _say(message: str, hint: str | None) -> None:
    click.echo(f"Error: {message}" + (f"\nHint: {hint}" if hint else ""), err=True)


def _print_json(as_json: bool, body: dict[str, object]) -> None:
    if as_json:
        click.echo(json.dumps(body))


def _path(command: click.Command, arguments: list[str], program: str) -> str:
    """Return what ran, without arguments: they may be long, or private. Imports no command: that may have failed."""
    names = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []
    return " ".join([program, *(word for word in arguments[:1] if word in names)])
