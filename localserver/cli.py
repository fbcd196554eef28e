"""The command line: `python -m localserver --data DIR`. The only place that prints."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from localserver.app import bind, serve
from localserver.bootstrap import prepare_folder
from localserver.errors import StartError
from localserver.settings import Settings

API_OFFSET, WEB_OFFSET, FILES_OFFSET = 8, 80, 81
"""A port base of 8000 gives ClearML's own ports: API 8008, web 8080, files 8081."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for everything.")
@click.option("--host", help="Address to bind (default 127.0.0.1: this machine only).")
@click.option(
    "--port-base",
    envvar="LOCALSERVER_PORT_BASE",
    type=click.IntRange(1, 65000),
    help="Move all ports: API at +8, web at +80, files at +81.",
)
@click.option("--api-port", type=click.IntRange(0, 65535), help="API port (default 8008; 0: a free one).")
@click.option("--files-port", type=click.IntRange(0, 65535), help="File server port (default 8081; 0: a free one).")
@click.option("--web-port", type=click.IntRange(0, 65535), help="Web port (default 8080; 0: a free one).")
@click.option("--public-host", help="Host name that clients are told to use (default: --host).")
@click.option("--until-stdin-closes", is_flag=True, help="End when standard input does: with the starting process.")
@click.option("--verbose", is_flag=True, help="Log debug messages; show tracebacks.")
def main(
    data: Path,
    host: str | None,
    port_base: int | None,
    api_port: int | None,
    files_port: int | None,
    web_port: int | None,
    public_host: str | None,
    until_stdin_closes: bool,
    verbose: bool,
) -> None:
    """Run a ClearML-compatible server: API, file server and web pages in one process, data in one folder.

    Clients use it through the file DIR/clearml.conf that it writes:

        CLEARML_CONFIG_FILE=DIR/clearml.conf python train.py

    Every setting is also an environment variable, e.g. LOCALSERVER_PORT_BASE=9000. SIGTERM ends it cleanly.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        settings = Settings(data.resolve()).with_environ(os.environ)
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
        }
        settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
        lock = prepare_folder(settings.data)
        settings, sockets = bind(settings)
        _run(serve(settings, sockets, _announce, until_stdin_closes=until_stdin_closes))
        lock.close()
    except (StartError, ValueError) as error:
        if verbose:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(StartError.exit_code)


def _run(coroutine: object) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)  # type: ignore[arg-type]


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
