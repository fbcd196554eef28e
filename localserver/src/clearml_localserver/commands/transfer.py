"""`export` and `import`."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from clearml_localserver.commands.progress import Progress, printable, size_text
from clearml_localserver.upkeep.data_folder import UpkeepError
from clearml_localserver.upkeep.exporting import export
from clearml_localserver.upkeep.importing import LOST, Importer, Outcome, read_info
from clearml_localserver.upkeep.journal import Journal
from clearml_localserver.upkeep.remote_server import Access, RemoteServer

FOLDER = click.Path(path_type=Path, file_okay=False)
INCOMPLETE = 1


@click.command("export", short_help="Export all data in an open format.")
@click.argument("data", type=FOLDER, metavar="DIR")
@click.argument("target", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def export_command(data: Path, target: Path, as_json: bool) -> None:
    """Export all projects, tasks, models, events and files of data folder DIR to TARGET, in an open format.

    \b
    Example:
        clearml-localserver export ./data ./exported
        clearml-localserver import ./exported --config ~/clearml.conf

    The server may run. TARGET/README.md describes the format.
    """  # noqa: D301  \b keeps click from folding the lines
    made = export(data, target, Progress(as_json))
    if as_json:
        click.echo(json.dumps({"export": str(made.folder), "counts": made.counts, "missing": made.missing}))
        return
    counts = dict(made.counts)
    size = size_text(counts.pop("bytes"))
    click.echo(f"exported to {target}: {', '.join(f'{number} {name}' for name, number in counts.items())}, {size}")
    for line in made.missing[:20]:
        click.echo(f"  not in {data}: {printable(line)}")
    if len(made.missing) > 20:
        click.echo(f"  … and {len(made.missing) - 20} more, in export.json")


@click.command("import", short_help="Import an export into any ClearML server.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The clearml.conf of a user of the target server.",
)
@click.option("--files-host", help="File server of the target.  [default: files_server of --config]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def import_command(folder: Path, config: Path, files_host: str | None, as_json: bool) -> int:
    """Import an export into any ClearML server, this one or ClearML's own.

    \b
    Example:
        clearml-localserver import ./exported --config ~/clearml.conf

    Progress is recorded in FOLDER: repeat an interrupted import to continue it; nothing is imported twice.
    Exit codes: 0 everything was imported, 1 some of it was refused and is listed, 10 the server does not answer.
    """  # noqa: D301  \b keeps click from folding the lines
    access = read_access(config, files_host)
    read_info(folder)
    name = urlsplit(access.api).netloc.replace(":", "-")
    with closing(RemoteServer(access)) as target, closing(Journal(folder / f"import-{name}.jsonl")) as journal:
        outcome = Importer(folder, target, journal, Progress(as_json)).run()
        report = folder / f"import-{name}.report.json"
        found = {"server": access.api, "made": outcome.made, "problems": outcome.problems, "lost": LOST}
        report.write_text(json.dumps(found | {"ids": journal.ids}, indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found | {"report": str(report)}))
    else:
        _print(access, outcome, report)
    return INCOMPLETE if outcome.problems else 0


def _print(access: Access, outcome: Outcome, report: Path) -> None:
    made = ", ".join(f"{number} {name}" for name, number in outcome.made.items()) or "nothing new"
    click.echo(f"imported into {access.api}: {made}" + (f"; {outcome.found} were there" if outcome.found else ""))
    click.echo("not kept:")
    for line in LOST:
        click.echo(f"  {line}")
    for problem in outcome.problems:
        click.echo(f"refused: {printable(problem)}", err=True)
    click.echo(f"new ids by old ones: {report}")


def read_access(config: Path, files_host: str | None = None) -> Access:
    """Read a `clearml.conf` as the SDK does.

    Raises:
        UpkeepError: It cannot be read or lacks an entry, or the SDK is not installed.
    """
    # The SDK's own parser, so that a file means here what it means there; a second to import, for this command only.
    try:
        from clearml.utilities.pyhocon import ConfigFactory
        from clearml.utilities.pyhocon.exceptions import ConfigException
        from pyparsing import ParseBaseException
    except ImportError as error:
        raise UpkeepError(
            f"{config} cannot be read: the ClearML SDK, whose parser reads it, is not installed here ({error})\n"
            'Hint: pip install "clearml-localserver[sdk]", or: uvx --with clearml clearml-localserver import …'
        ) from error

    try:
        tree: Any = ConfigFactory.parse_file(str(config))
        api = tree["api"]
        credentials = api["credentials"]
        found = Access(
            str(api["api_server"]).rstrip("/"),
            str(files_host or api["files_server"]).rstrip("/"),
            str(api.get("web_server", "")).rstrip("/"),
            str(credentials["access_key"]),
            str(credentials["secret_key"]),
            bool(api.get("verify_certificate", True)),
        )
    except (ConfigException, KeyError, TypeError, UnicodeDecodeError, ParseBaseException) as error:
        raise UpkeepError(
            f"{config} cannot be used: {_reason(error)}\nHint: it needs api_server, files_server and credentials"
        ) from None  # a traceback would show the parser's message
    return found


def _reason(error: Exception) -> str:
    """Return the missing entry, or the place of the error: the parser's own message shows the file's keys."""
    if isinstance(error, KeyError):  # pyhocon's names the entry
        return str(error)
    found = re.search(r"\(line: (\d+), col: \d+\)", str(error))  # pyhocon's; pyparsing's have `lineno`
    line = getattr(error, "lineno", found and found[1])
    return f"line {line} is not as a clearml.conf has it" if line else type(error).__name__
