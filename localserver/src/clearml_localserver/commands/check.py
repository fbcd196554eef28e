"""`check`."""

from __future__ import annotations

from pathlib import Path

import click

from clearml_localserver.commands.progress import Progress, printable
from clearml_localserver.upkeep import check as checking
from clearml_localserver.upkeep.repair import repair

DAMAGED = 1


@click.command("check", short_help="Report damage to a data folder, and repair it.")
@click.argument("data", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR")
@click.option("--quick", is_flag=True, help="Skip the stored files, and the comparison of indexes with tables.")
@click.option(
    "--repair",
    "with_repair",
    is_flag=True,
    help="Repair what can be repaired; keep the original database beside the new one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check_command(data: Path, quick: bool, with_repair: bool, as_json: bool) -> int:
    """Report damage to data folder DIR; its server may run, except with --repair.

    \b
    Example:
        clearml-localserver check ./data

    Damage is data that is lost or wrong; a note is for information.
    Exit codes: 0 no damage, 1 damage, 10 the folder cannot be checked.
    """  # noqa: D301  \b keeps click from folding the lines
    tell = Progress(as_json)
    findings = checking.check(data, tell, quick=quick)
    if with_repair:
        for line in repair(data, findings, tell):
            click.echo(printable(line), err=as_json)
        findings = checking.check(data, tell, quick=quick)
    if as_json:
        click.echo(checking.as_json(findings))
    else:
        _print(data, findings)
    return DAMAGED if checking.is_damaged(findings) else 0


def _print(data: Path, findings: list[checking.Finding]) -> None:
    for finding in findings:
        click.echo(f"{finding.level}: {printable(finding.text)}" + (f": {finding.count}" if finding.examples else ""))
        for name in finding.examples:
            click.echo(f"    {printable(name)}")
        if finding.count > len(finding.examples) > 0:
            click.echo(f"    … and {finding.count - len(finding.examples)} more")
        if finding.repair:
            click.echo(f"    --repair: {REPAIRS[finding.repair]}")
    if not findings:
        click.echo(f"{data}: nothing found")


REPAIRS = {
    "chmod": "lets only its owner read the folder",
    "rebuild": "makes a new database of everything that can be read, and lists what cannot be read",
    "unlink": "removes the reference",
    "delete": "deletes them",
}
