"""`endpoints`: the list of this server's endpoints, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
from clearml_localserver.registry import ENDPOINTS, Endpoint
from clearml_localserver.request_schemas import endpoints_of_clients, enterprise_endpoints

HEAD = """\
# The endpoints of localserver

Made by `.venv/bin/clearml-localserver endpoints > docs/localserver-endpoints.md`; a test compares.

*Who* is the lowest role that may call: a `guest` reads, a `user` also changes things, an `admin` also manages users and
keys ([security.md](security.md)). *Since* is the oldest API version that has the endpoint. *Differs* lists the intended
differences from a genuine server (2.3.0, API 2.34) that a client can notice; *genuine:* says what that server does.
Differences of all calls are in [localserver.md](localserver.md).
"""

ENTERPRISE_ONLY = "only the enterprise server has hyper-datasets (datasets of `clearml-data` are tasks and work here)"
REFUSED = {
    "organization.get_project_usages": "this server does not record usage",
    "projects.get_config": "no open-source server has it",
    "queues.has_task": "no open-source server has it",
    "tasks.share": "no open-source server has it",
    "workers.get_runtime_properties": "no open-source server has it; agents carry on",
}
"""Calls that clients know of and that answer 404, and why."""


def page() -> str:
    """Return the page: every endpoint that is answered, by service, and those that are refused."""
    return "\n".join((HEAD, *_answered(), *_refused()))


def refused() -> dict[str, str]:
    """Return what clients can ask for and is not answered, with the reason.

    Raises:
        KeyError: The reason is not written down.
    """
    unanswered = endpoints_of_clients() - ENDPOINTS.keys() | REFUSED.keys()
    enterprise = enterprise_endpoints()
    return {name: ENTERPRISE_ONLY if name in enterprise else REFUSED[name] for name in sorted(unanswered)}


@click.command("endpoints", short_help="Print the list of endpoints.")
def endpoints_command() -> None:
    """Print the list of endpoints as Markdown.

    It says which role may call each, how it differs from ClearML's own server, and which endpoints are refused.

    \b
    Example:
        clearml-localserver endpoints > endpoints.md
    """  # noqa: D301  \b keeps click from folding the lines
    click.echo(page(), nl=False)


def _answered() -> Iterator[str]:
    services: dict[str, list[Endpoint]] = {}
    for name, item in sorted(ENDPOINTS.items()):
        services.setdefault(_service(name), []).append(item)
    yield f"## Answered\n\n{len(ENDPOINTS)} endpoints of {len(services)} services.\n"
    for service, items in services.items():
        rows = ((f"`{item.name}`", _who(item), item.since, item.differs) for item in items)
        yield _table(f"### {service}", ("endpoint", "who", "since", "differs"), rows)


def _refused() -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, why in refused().items():
        reasons.setdefault(why, []).append(f"`{name}`")
    rows = ((", ".join(names), why) for why, names in reasons.items())
    yield _table("## Refused\n\nThey answer 404, like any unknown name.", ("endpoints", "why"), rows)


def _service(name: str) -> str:
    return name.partition(".")[0]


def _who(item: Endpoint) -> str:
    return item.role if item.needs_auth else "anyone"


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join((title, "", *(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines), ""))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
