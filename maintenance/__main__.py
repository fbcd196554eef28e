"""`python -m maintenance`: the command line. The only place of the package that prints."""

from __future__ import annotations

import sys

import click

from maintenance import release, secrets, update_pins
from maintenance.pins import ROOT

UNKNOWN = 3
"""Exit code of `update-pins` when a source did not answer."""


@click.group()
def main() -> None:
    """Update pins, and check what a release needs."""


@main.command("update-pins")
@click.option("--only", "names", multiple=True, type=click.Choice(update_pins.NAMES), help="Only this one; repeatable.")
@click.option("--check", is_flag=True, help="Only look; change no file.")
def update_pins_command(names: tuple[str, ...], check: bool) -> None:
    """Bring lock files and pins to their newest versions, and say what proves each change.

    \b
    Example:
      ./task update-pins -- --check
      ./task update-pins -- --only uv --only lock
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    outcomes = []
    for outcome in update_pins.update(ROOT, names, write=not check):
        click.echo(f"{outcome.name:16}  {outcome.state:8}  {outcome.detail}")
        outcomes.append(outcome)
    proofs = dict.fromkeys(outcome.proof for outcome in outcomes if outcome.state == "updated")
    if proofs:
        click.echo("\nProve it, then commit:\n" + "\n".join(f"  {proof}" for proof in proofs))
    unknown = [outcome.name for outcome in outcomes if outcome.state == "unknown"]
    if unknown:
        click.echo(
            f"Error: {len(unknown)} could not be looked up: {', '.join(unknown)}\n"
            "Hint: run it again on a machine that reaches those sources: ./task update-pins -- "
            + " ".join(f"--only {name}" for name in unknown),
            err=True,
        )
        sys.exit(UNKNOWN)


@main.command("check-release")
def check_release_command() -> None:
    """Check version, changelogs, pins and lock files before a release is tagged.

    \b
    Example:
      ./task check-release
    """  # noqa: D301
    findings = list(release.check(ROOT))
    for finding in findings:
        click.echo(f"{'ok  ' if not finding.problem else 'FAIL'}  {finding.title}")
        if finding.problem:
            click.echo(f"      {finding.problem}")
    if any(finding.problem for finding in findings):
        click.echo("Error: not ready for a release\nHint: docs/releasing.md", err=True)
        sys.exit(1)


@main.command("find-secrets")
@click.argument("names", metavar="[FILE]...", nargs=-1)
def find_secrets_command(names: tuple[str, ...]) -> None:
    """Search files for keys, tokens and passwords: those named, or all that are under version control.

    \b
    Example:
      .venv/bin/python -m maintenance find-secrets README.md
    """  # noqa: D301
    found = secrets.find(names or secrets.tracked(ROOT), ROOT)
    for place in found:
        click.echo(place)
    if found:
        click.echo(
            "Error: this looks like a secret\n"
            "Hint: remove it and revoke it; if it is made up, name it in maintenance/secrets.py (MADE_UP)",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m maintenance")
