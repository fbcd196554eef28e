"""The command line: `clearml-localserver --data DIR`, and the sub-commands. The only place that prints."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from clearml_localserver import streams
from clearml_localserver.bootstrap import prepare_folder
from clearml_localserver.errors import FULL_DISK, OperatorError
from clearml_localserver.settings import Settings

API_OFFSET, WEB_OFFSET, FILES_OFFSET = 8, 80, 81
"""A port base of 8000 gives ClearML's own ports: API 8008, web 8080, files 8081."""

PROGRAM = "clearml-localserver"
DEFECT, OUTPUT_FAILED, INTERRUPTED, BROKEN_PIPE, TERMINATED = 70, 74, 130, 141, 143
"""Exit codes beside 0, a usage error (2) and an operator error (10): BSD's EX_SOFTWARE and EX_IOERR; 128 + signal."""

HELP_NAMES = ["-h", "--help"]
GROUP_OPTIONS = [*HELP_NAMES, "--version"]
PRIVATE_UMASK = 0o077
"""Only its owner may read what the server makes: the database holds the key that signs tokens."""

SWITCH_S = 0.001
"""How long a busy thread may keep the interpreter's lock from the event loop, which needs it again after each system
call. Python's own 5 ms add up to a stall that a person notices."""

VERBOSE = click.option(
    "--verbose", is_flag=True, expose_value=False, help="Show the traceback of an error; log what the server does."
)
"""Declares `--verbose` for the help; `main` takes it from anywhere among the arguments."""

COMMANDS = {
    "backup": "backup:backup_command",
    "check": "check:check_command",
    "endpoints": "endpoints:endpoints_command",
    "export": "transfer:export_command",
    "import": "transfer:import_command",
    "keys": "keys:keys_command",
    "restore": "backup:restore_command",
    "retention": "retention:retention_command",
}
"""Sub-commands and where they are in the package's `commands`: imported when called, the server's start needs none."""


class ServeByDefault(click.Group):
    """A group that runs `serve` where no sub-command is named, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all sub-commands."""
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a sub-command, imported when it is asked for."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"clearml_localserver.commands.{module}"), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `serve` before options that name no sub-command; help and version alone are the group's."""
        if args and args[0].startswith("-") and args[0] not in GROUP_OPTIONS:
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def main(  # type: ignore[override]  # click's other arguments have no use here
        self, args: Sequence[str] | None = None, prog_name: str | None = None
    ) -> NoReturn:
        """Run the command line and end the process: an error is a message and an exit code, never a traceback."""
        streams.open_closed()
        streams.take_all_characters()
        arguments = list(sys.argv[1:] if args is None else args)
        # Wherever it stands: people add it at the end of the line that failed.
        verbose = "--verbose" in arguments
        arguments = [word for word in arguments if word != "--verbose"]
        before = signal.signal(signal.SIGTERM, _interrupt) if _in_main_thread() else None
        try:
            code = self._run(arguments, prog_name or PROGRAM, verbose)
        except OperatorError as error:
            if verbose:
                traceback.print_exc()
            click.echo(f"Error: {error}", err=True)
            code = error.exit_code
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except BrokenPipeError:
            streams.discard_output()
            code = BROKEN_PIPE
        except (click.Abort, KeyboardInterrupt) as signalled:
            code = TERMINATED if "SIGTERM" in signalled.args else INTERRUPTED
            click.echo(f"Error: {'ended by SIGTERM' if code == TERMINATED else 'interrupted'}", err=True)
        except Exception as error:  # the last guard: a defect of ours is a message, too
            if isinstance(error, OSError) and streams.stdout_fails():
                streams.discard_output()
                click.echo(f"Error: stdout cannot be written: {error.strerror}", err=True)
                click.echo("Hint: free some space, or send the output elsewhere", err=True)
                code = OUTPUT_FAILED
            else:
                click.echo(f"Error: internal error: {type(error).__name__}: {error}", err=True)
                click.echo(f"Hint: {streams.traceback_hint(PROGRAM, verbose=verbose)}", err=True)
                code = DEFECT
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)
        sys.exit(code)

    def _run(self, arguments: list[str], program: str, verbose: bool) -> int:
        try:
            with _disk_errors_explained(), self.make_context(program, arguments, obj=verbose) as context:
                result = self.invoke(context)
                sys.stdout.flush()
        except click.exceptions.Exit as end:
            return end.exit_code
        return result if isinstance(result, int) else 0


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """Let SIGTERM end a command as Ctrl-C does, which cleans up."""
    raise KeyboardInterrupt(signal.Signals(number).name)


@contextlib.contextmanager
def _disk_errors_explained() -> Iterator[None]:
    """Turn a full disk, or a file that cannot be used, wherever that was met, into an operator error."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None and streams.stdout_fails():
            raise
        if error.errno not in FULL_DISK:
            if error.filename is None:  # not about a file: a fault of ours
                raise
            raise OperatorError(
                f"{error.filename} cannot be used: {error.strerror}\n"
                "Hint: check the names, and the owner and permissions of the folders above it"
            ) from error
        raise OperatorError(
            f"the disk is full, or a quota or file size limit is reached: {error.filename or error.strerror}\n"
            "Hint: free some space and start again"
        ) from error


@click.group(cls=ServeByDefault, context_settings={"help_option_names": HELP_NAMES, "max_content_width": 120})
@VERBOSE
@click.version_option(package_name=PROGRAM, message="%(package)s %(version)s")
def main() -> None:
    """Run a ClearML-compatible server, and maintain its data.

    \b
    Example (`serve` can be left out):
        clearml-localserver --data ./data
        clearml-localserver serve --help
    """  # noqa: D301  \b keeps click from folding the lines


@main.command("serve", short_help="Run the server (the default command).")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for all data.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1, only this machine]")
@click.option(
    "--port-base",
    envvar="LOCALSERVER_PORT_BASE",
    type=click.IntRange(1, 65000),
    help="Base of all ports: API at +8, web at +80, files at +81.",
)
@click.option("--api-port", type=click.IntRange(0, 65535), help="Port of the API; 0 takes a free one.  [default: 8008]")
@click.option(
    "--files-port", type=click.IntRange(0, 65535), help="Port of the file server; 0 takes a free one.  [default: 8081]"
)
@click.option(
    "--web-port", type=click.IntRange(0, 65535), help="Port of the web pages; 0 takes a free one.  [default: 8080]"
)
@click.option("--public-host", help="Host name that clients use.  [default: --host]")
@click.option(
    "--like-genuine",
    is_flag=True,
    help="Wait and keep connections as a genuine ClearML server does, to test clients: no waiting poll of a queue, "
    "connections kept for 2 s, dead workers known after 600 s.",
)
@click.option("--access-log", metavar="FILE", help="Write one line of JSON for each request to FILE; - is stdout.")
@click.option("--until-stdin-closes", is_flag=True, help="End when stdin closes, with the process that started it.")
@VERBOSE
@click.pass_obj
def serve_command(
    verbose: bool,
    data: Path,
    host: str | None,
    port_base: int | None,
    api_port: int | None,
    files_port: int | None,
    web_port: int | None,
    public_host: str | None,
    like_genuine: bool,
    access_log: str | None,
    until_stdin_closes: bool,
) -> None:
    """Run the server: API, file server and web pages in one process, data in one folder.

    \b
    Example:
        clearml-localserver serve --data ./data --port-base 9000

    \b
    Clients use it through the file clearml.conf that it writes into the data folder:
        CLEARML_CONFIG_FILE=./data/clearml.conf python train.py

    Every setting is also an environment variable, such as LOCALSERVER_PORT_BASE=9000. SIGTERM ends it cleanly.
    """  # noqa: D301  \b keeps click from folding the lines
    # Here, since the sub-commands need none of the services.
    import uvloop

    from clearml_localserver.app import bind, serve

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        settings = Settings(data.resolve())
        settings = (settings.as_genuine() if like_genuine else settings).with_environ(os.environ)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    if port_base is not None:
        settings = replace(
            settings,
            api_port=port_base + API_OFFSET,
            web_port=port_base + WEB_OFFSET,
            files_port=port_base + FILES_OFFSET,
        )
    given: dict[str, Any] = {
        "host": host,
        "api_port": api_port,
        "files_port": files_port,
        "web_port": web_port,
        "public_host": public_host,
        "access_log": access_log,
    }
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    os.umask(PRIVATE_UMASK)
    sys.setswitchinterval(SWITCH_S)
    lock = prepare_folder(settings.data)
    settings, sockets = bind(settings)
    uvloop.run(serve(settings, sockets, _announce, until_stdin_closes=until_stdin_closes))
    lock.close()


def _announce(settings: Settings) -> None:
    click.echo(
        f"localserver ready: api {settings.api_url} web {settings.web_url} files {settings.files_url} "
        f"conf {settings.data / 'clearml.conf'}"
    )
    if not settings.is_loopback:
        click.echo(
            f"Listening beyond this machine ({settings.host}): API, files and web pages ask for credentials.", err=True
        )
    sys.stdout.flush()
