"""`retention`."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import click

from clearml_localserver.commands.progress import Progress, size_text
from clearml_localserver.times import utcnow
from clearml_localserver.upkeep.retention import WHAT, Cleanup, Rule, clean

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Age(click.ParamType[timedelta]):
    """`12h`, `90d` or `26w`."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return it as a length of time."""
        match = re.fullmatch(r"(\d+)([hdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is not an age such as 12h, 90d or 26w", param, ctx)
        try:
            age = int(match[1]) * UNITS[match[2]]
            utcnow() - age
        except OverflowError:
            self.fail(f"{value!r} is too long: it begins before the year 1", param, ctx)
        return age


class Parts(click.ParamType[frozenset[str]]):
    """Names out of `WHAT`, with commas."""

    name = "what"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """Return them as a set."""
        found = frozenset(part.strip() for part in str(value).split(","))
        if unknown := found - set(WHAT):
            self.fail(f"{', '.join(sorted(unknown))}: choose among {', '.join(WHAT)}", param, ctx)
        return found


@click.command("retention", short_help="Remove events and files of old tasks.")
@click.argument("data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option(
    "--older-than", type=Age(), required=True, help="Tasks whose last update is older, such as 12h, 90d or 26w."
)
@click.option("--what", type=Parts(), required=True, help=f"What to remove, separated by commas: {', '.join(WHAT)}.")
@click.option("--project", multiple=True, help="Only tasks of this project and the projects below it; may be repeated.")
@click.option("--published", is_flag=True, help="Include published tasks.")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed; this is the default.")
@click.option("--yes", is_flag=True, help="Remove it; only a backup can restore it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def retention_command(
    data: Path,
    older_than: timedelta,
    what: frozenset[str],
    project: tuple[str, ...],
    published: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove events, debug samples and artifacts of old tasks from data folder DIR; its server may run.

    \b
    Example, first to count, then to remove:
        clearml-localserver retention ./data --older-than 90d --what console,samples
        clearml-localserver retention ./data --older-than 90d --what console,samples --yes

    Tasks stay, with their parameters and last metrics. Queued and running tasks, published ones (without
    --published), models, the data of datasets, and files that anything else refers to are never touched.
    """  # noqa: D301  \b keeps click from folding the lines
    really = yes and not dry_run
    rule = Rule(utcnow() - older_than, what, project, published)
    cleanup = clean(data, rule, Progress(as_json), really=really)
    if as_json:
        found = {"removed": really, "tasks": cleanup.tasks, "counts": cleanup.counts, "bytes": cleanup.sizes}
        click.echo(json.dumps(found))
        return
    _print(cleanup, really)


def _print(cleanup: Cleanup, really: bool) -> None:
    click.echo(f"{'removed' if really else 'would remove'} from {cleanup.tasks} tasks:")
    for name, count in cleanup.counts.items():
        size = "" if name == "artifacts" else f", {size_text(cleanup.sizes[name])}"
        click.echo(f"  {count} {ENTRIES.get(name, name)}{size}")
    if really:
        click.echo("The database file keeps its size; the space freed in it is reused.")
    else:
        click.echo("Nothing was removed; repeat with --yes to remove it.")


ENTRIES = {
    "console": "console lines",
    "scalars": "scalar points",
    "samples": "debug samples",
    "artifacts": "artifact entries",
}
