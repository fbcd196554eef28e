"""`python -m deploy`: the command line. Arguments become settings, a use case runs, errors become exit codes.

The only place that prints. Results go to stdout (`--json`: one JSON object), the account of what goes on to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click

from command_line.main import VERBOSE, run
from deploy import report
from deploy.checks.check import Level, Result, exit_code
from deploy.errors import UsageError, exit_code_of
from deploy.session import Session
from deploy.settings import Deadlines, Settings

NOT_INSTALLED = 3

_OPTIONS = (
    click.option("--namespace", "-n", help="Namespace of the release (default clearml)."),
    click.option("--release", help="Name of the release (default clearml-agent)."),
    click.option("--context", help="Context of the kubeconfig, instead of its current one."),
    click.option("--kubeconfig", help="Path of the kubeconfig (default $KUBECONFIG, ~/.kube/config)."),
    click.option("--chart", envvar="AGENT_CHART", help="Chart: name in the repository, oci://…, folder, .tgz."),
    click.option("--chart-version", help="Version of the chart, pinned by default."),
    click.option("--repository", help="Chart repository (default upstream's)."),
    click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="One value over all files."),
    click.option("--dry-run", is_flag=True, help="Ask all questions, change nothing, say what would change."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
)


def _values(*names: str) -> Callable[..., Any]:
    kind = click.Path(path_type=Path)
    return click.option(*names, "values_files", multiple=True, type=kind, help="Values file over the project's own.")


def _command(function: Callable[..., Any]) -> click.Command:
    """Return a command with the options that all share; it gets a session and returns (JSON, lines, exit code)."""

    @wraps(function)
    def invoke(as_json: bool, **options: Any) -> int:
        own = {name: options.pop(name) for name in list(options) if name not in _SHARED}
        if "deadlines" not in options:
            options["deadlines"] = Deadlines()
        settings = Settings.from_environ(
            os.environ,
            **{**options, "values_files": tuple(options["values_files"]), "sets": tuple(options["sets"])},
            **({"canary": own.pop("canary")} if "canary" in own else {}),
        )
        session = Session(settings, os.environ, say=_account)
        body, lines, code = function(session, **own)
        click.echo(json.dumps(body) if as_json else "\n".join(lines))
        return int(code)

    # `logs -f` follows, as everywhere; elsewhere -f is helm's short form of --values.
    values = _values("--values") if function is _logs else _values("--values", "-f")
    decorated: Any = invoke
    for option in reversed((*_OPTIONS, values)):
        decorated = option(decorated)
    return click.command(help=function.__doc__)(decorated)


_SHARED = {
    *("namespace", "release", "context", "kubeconfig", "chart", "chart_version", "repository"),
    *("values_files", "sets", "dry_run"),
}


def _account(text: str) -> None:
    click.echo(text, err=True)


def _show(result: Result) -> None:
    click.echo(report.check_line(result), err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@VERBOSE
def cli() -> None:
    """Deploy the ClearML agent to the cluster of the current kubeconfig, and prove that it works."""


Answer = tuple[dict[str, Any], list[str], int]


def _install(session: Session) -> Answer:
    """Install the agent, or bring it to what the values say; prove that it works, or leave what was there."""
    from deploy.commands import install

    outcome = install.install(session, _show).as_json()
    return outcome, report.outcome_lines(outcome), 0


def _upgrade(session: Session) -> Answer:
    """Bring a release that is there to what the values say, as install does; there must be one."""
    from deploy.commands import install

    outcome = install.install(session, _show, must_exist=True).as_json()
    return outcome, report.outcome_lines(outcome), 0


def _status(session: Session) -> Answer:
    """Show release, pods, worker and queues; exit code 3 when there is no release."""
    from deploy.commands import operations

    body = operations.status(session)
    return body, report.status_lines(body), 0 if body["revision"] else NOT_INSTALLED


def _check(session: Session) -> Answer:
    """Tell an agent that lives and works from one that is only Running and Ready."""
    from deploy.commands import doctor

    return _ask(session, doctor.check(session))


def _doctor(session: Session, task: str | None) -> Answer:
    """Ask everything there is to ask, in the order in which it has to be mended."""
    from deploy.commands import doctor

    return _ask(session, doctor.doctor(session, task))


def _ask(session: Session, results: Iterable[Result]) -> Answer:
    seen: list[Result] = []
    for result in results:
        seen.append(result)
        _show(result)
    code = exit_code(seen)
    counts = {level: sum(result.level == level for result in seen) for level in Level}
    summary = ", ".join(f"{count} {level}" for level, count in counts.items() if count)
    body = {"ok": code == 0, "exit_code": code, "checks": [result.as_json() for result in seen]}
    return body, [summary], code


def _logs(session: Session, task: str, follow: bool) -> Answer:
    """Show a task's or a pipeline's console: from pods while they live, from ClearML afterwards.

    TASK is an id or a name. With -f the exit code is 1 unless it completed.
    """
    from deploy.commands import logs

    record = logs.resolve(session, task)
    as_json = click.get_current_context().params.get("as_json")
    lines: list[str] = []
    status = logs.show(session, record, lines.append if as_json else click.echo, follow=follow)
    body = {"task": record["id"], "name": record.get("name"), "status": status, "lines": lines}
    return body, [], int(follow and status != "completed")


def _render(session: Session) -> Answer:
    """Print the objects that the chart makes of the values."""
    from deploy.commands import operations

    text = operations.render(session)
    return {"manifest": text}, [text.rstrip()], 0


def _diff(session: Session) -> Answer:
    """Print what an upgrade would change in the release's objects."""
    from deploy.commands import operations

    text = operations.diff(session)
    return {"changed": bool(text), "diff": text}, [text or "nothing would change"], 0


def _rollback(session: Session, revision: int | None) -> Answer:
    """Go back to an earlier REVISION (the last good one), and prove that it works."""
    from deploy.commands import operations

    body = operations.rollback(session, revision)
    if "would_go_back_to" in body:
        return body, [f"would go back from revision {body['from']} to {body['would_go_back_to']}"], 0
    return body, report.outcome_lines(body), 0


def _uninstall(session: Session, yes: bool, delete_queue: bool, delete_namespace: bool) -> Answer:
    """Remove the agent and all that its install made; asks first on a terminal."""
    from deploy.commands import uninstall

    leaving = uninstall.look(session)
    if leaving.nothing:
        return asdict(leaving), [f"there is no release {leaving.release} in namespace {leaving.namespace}"], 0
    for line in report.leaving_lines(asdict(leaving)):
        _account(line)
    if session.settings.dry_run:
        return asdict(leaving), ["nothing was removed"], 0
    if not yes and sys.stdin.isatty() and not click.confirm("Remove all of this?", err=True):
        raise UsageError("nothing was removed")
    done = uninstall.uninstall(session, leaving, queue=delete_queue, namespace=delete_namespace)
    return asdict(done), [f"removed: {', '.join(done.removed)}"], 0


_canary = click.option("--canary/--no-canary", default=True, help="Send a task through as the last proof.")
_task = click.option("--task", help="Also ask why this task does not start.")

for _name, _function, _own in (
    ("install", _install, [_canary]),
    ("upgrade", _upgrade, [_canary]),
    ("status", _status, []),
    ("check", _check, []),
    ("doctor", _doctor, [_task]),
    (
        "logs",
        _logs,
        [click.argument("task"), click.option("--follow", "-f", is_flag=True, help="Until it ends.")],
    ),
    ("render", _render, []),
    ("diff", _diff, []),
    ("rollback", _rollback, [_canary, click.argument("revision", type=int, required=False)]),
    (
        "uninstall",
        _uninstall,
        [
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            click.option("--delete-queue", is_flag=True, help="Delete the queue too, with what waits in it."),
            click.option("--delete-namespace", is_flag=True, help="Delete the namespace too, if an install made it."),
        ],
    ),
):
    for _option in reversed(_own):
        _function = _option(_function)
    cli.add_command(_command(_function), _name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: What follows `python -m deploy`; default: the process's own.
    """
    hint = "python -m deploy install goes on from any state"
    return run(cli, arguments, program="python -m deploy", exit_code_of=exit_code_of, interrupted_hint=hint)
