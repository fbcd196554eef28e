"""`python -m maintenance`: the command line. The only place of the package that prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from command_line.main import run
from command_line.options import CONTEXT, Group, examples, verbose
from maintenance import release, secrets, update_pins
from maintenance.pins import ROOT

UNKNOWN = 3
"""Exit code of `update-pins` when a source did not answer."""


@click.group(cls=Group, context_settings=CONTEXT)
@verbose
@examples("./task update-pins -- --check", "./task check-release")
def cli() -> None:
    """Update pins, and check what a release needs."""


@cli.command("update-pins")
@click.option(
    "--only", "names", multiple=True, type=click.Choice(update_pins.NAMES), help="Only this one; may be repeated."
)
@click.option("--check", is_flag=True, help="Only report; change no file.")
@examples("./task update-pins -- --check", "./task update-pins -- --only uv --only lock")
def update_pins_command(names: tuple[str, ...], check: bool) -> int:
    """Update lock files and pins to their newest versions, and print what verifies each change.

    The exit code is 3 if a source did not answer.
    """
    outcomes = []
    for outcome in update_pins.update(ROOT, names, write=not check):
        click.echo(f"{outcome.name:16}  {outcome.state:8}  {outcome.detail}")
        outcomes.append(outcome)
    proofs = dict.fromkeys(outcome.proof for outcome in outcomes if outcome.state == "updated")
    if proofs:
        click.echo("\nVerify, then commit:\n" + "\n".join(f"  {proof}" for proof in proofs))
    unknown = [outcome.name for outcome in outcomes if outcome.state == "unknown"]
    if unknown:
        click.echo(
            f"Error: {len(unknown)} could not be looked up: {', '.join(unknown)}\n"
            "Hint: the lines above say why; run it again where those sources are reachable: ./task update-pins -- "
            + " ".join(f"--only {name}" for name in unknown),
            err=True,
        )
    return UNKNOWN if unknown else 0


@cli.command("check-release")
@examples("./task check-release")
def check_release_command() -> int:
    """Check version, changelogs, pins and lock files before a release is tagged."""
    findings = list(release.check(ROOT))
    for finding in findings:
        click.echo(f"{'ok  ' if not finding.problem else 'FAIL'}  {finding.title}")
        if finding.problem:
            click.echo(f"      {finding.problem}")
    is_ready = not any(finding.problem for finding in findings)
    if not is_ready:
        click.echo("Error: not ready for a release\nHint: docs/releasing.md", err=True)
    return 0 if is_ready else 1


@cli.command("find-secrets")
@click.argument("names", metavar="[FILE]...", nargs=-1)
@examples("python -m maintenance find-secrets README.md")
def find_secrets_command(names: tuple[str, ...]) -> int:
    """Search files for keys, tokens and passwords: those named, or all that are under version control."""
    found = secrets.find(names or secrets.tracked(ROOT), ROOT)
    for place in found:
        click.echo(place)
    if found:
        click.echo(
            "Error: this looks like a secret\n"
            "Hint: remove it and revoke it; if it is made up, mark its line: # pragma: allowlist secret",
            err=True,
        )
    return 1 if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: What follows `python -m maintenance`; default: the process's own.
    """
    return run(cli, arguments, program="python -m maintenance")


if __name__ == "__main__":
    sys.exit(main())
