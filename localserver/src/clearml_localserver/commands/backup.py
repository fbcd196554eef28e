"""`backup` and `restore`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from clearml_localserver.commands.progress import Progress, size_text
from clearml_localserver.upkeep.backup import backup, restore

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("backup", short_help="Back up a data folder; its server may run.")
@click.argument("data", type=FOLDER, metavar="DIR")
@click.argument("target", type=FOLDER)
@click.option("--copy", is_flag=True, help="Copy files also where hard links are possible.")
@click.option("--replace", is_flag=True, help="Replace the backup at TARGET with the new one.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def backup_command(data: Path, target: Path, copy: bool, replace: bool, as_json: bool) -> None:
    """Back up data folder DIR to TARGET; its server may run.

    \b
    Example, for each night:
        clearml-localserver backup ./data /backups/clearml-$(date +%F)

    TARGET appears complete and verified, or not at all. On the same file system its files are hard links, which take no
    space; keep backups on another disk, since a disk that fails loses both. `sha256sum --check SHA256SUMS` in TARGET
    verifies it without this program.
    """  # noqa: D301  \b keeps click from folding the lines
    made = backup(data, target, Progress(as_json), link=not copy, replace=replace)
    if as_json:
        found = {"backup": str(made.folder), "files": made.files, "bytes": made.size, "linked": made.linked}
        click.echo(json.dumps(found))
        return
    links = f", {made.linked} of them hard links" if made.linked else ""
    click.echo(f"backup {made.folder}: {made.files} files{links}, {size_text(made.size)}, verified")


@click.command("restore", short_help="Restore a data folder from a backup.")
@click.argument("source", type=FOLDER, metavar="BACKUP")
@click.argument("data", type=FOLDER, metavar="DIR")
@click.option("--replace", is_flag=True, help="Replace a DIR that has content; keep that beside it.")
def restore_command(source: Path, data: Path, replace: bool) -> None:
    """Restore data folder DIR from a backup, after verifying the backup.

    \b
    Example:
        clearml-localserver restore /backups/clearml-2026-11-27 ./data
    """  # noqa: D301  \b keeps click from folding the lines
    aside = restore(source, data, Progress(), replace=replace)
    click.echo(f"restored {data} from {source}")
    if aside is not None:
        click.echo(f"the previous content is in {aside}")
