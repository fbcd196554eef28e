"""`python -m deploy`: the command line. Arguments become settings, a use case runs, its result becomes text.

The only place that prints. Results go to stdout (`--json`: one JSON object), progress goes to stderr. Use cases are
imported when called: `--help` must not wait for helm's and the cluster's libraries.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from command_line.invocation import invocation_of
from command_line.main import run
from command_line.options import CONTEXT, FilePath, Group, Number, TaskId, as_json, examples, verbose
from deploy import options, output
from deploy.checks.check import Level, Result, exit_code
from deploy.errors import exit_code_of
from deploy.options import say

NOT_INSTALLED = 3
AFTER_INTERRUPT = {
    "install": "the same command again completes what was interrupted",
    "upgrade": "the same command again completes what was interrupted",
    # Again, it would go back from what it has gone back to.
    "rollback": "./task agent-status shows the revision that is there, .venv/bin/python -m deploy check proves it",
    "uninstall": "the same command again removes what is left",
    "serve": "the same command again serves the model; ./task undeploy-serve removes what is left",
    "unserve": "the same command again removes what is left",
}
COUNTED = {Level.OK: "ok", Level.WARN: "with a warning", Level.FAIL: "failed", Level.SKIP: "not checked"}


@click.group(cls=Group, context_settings=CONTEXT)
@verbose
@examples("./task deploy-agent", "python -m deploy install --dry-run", "python -m deploy logs DataPrepare -f")
def cli() -> None:
    """Deploy the ClearML agent to the cluster of the current kubeconfig, and verify that it runs tasks."""


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@options.dry_run
@options.canary
@as_json
@examples("python -m deploy install --only gpu", "python -m deploy install --dry-run")
def install(as_json: bool, **settings: Any) -> int:
    """Install or upgrade the agent, and verify that it runs tasks.

    Each file in helm/queues makes one more release. One that fails its verification is rolled back to what it was
    before; a release whose file is gone is removed.
    """
    return _install(as_json, settings)


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@options.dry_run
@options.canary
@as_json
@examples("python -m deploy upgrade --values my-values.yaml")
def upgrade(as_json: bool, **settings: Any) -> int:
    """Upgrade the agent as install does; fail if it is not installed."""
    return _install(as_json, settings, must_exist=True)


def _install(as_json: bool, settings: dict[str, Any], *, must_exist: bool = False) -> int:
    from deploy.commands import deployment

    outcomes = deployment.install(options.session(**settings), _show, must_exist=must_exist)
    return _results(as_json, outcomes, output.outcome_lines)


@cli.command()
@options.release
@options.members
@options.cluster
@as_json
@examples("python -m deploy status --json")
def status(as_json: bool, **settings: Any) -> int:
    """Show the releases: their images and resources, pods, workers and queues.

    The exit code is 3 if the agent is not installed.
    """
    from deploy.commands import deployment

    bodies = deployment.status(options.session(**settings))
    code = 0 if all(body["revision"] or body["applied"] for body in bodies) else NOT_INSTALLED
    return _result(as_json, _of_all(bodies), output.status_lines(bodies), code)


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@as_json
@examples("python -m deploy check")
def check(as_json: bool, **settings: Any) -> int:
    """Check that the agent runs and takes tasks from its queue.

    A pod can be ready while its agent takes no tasks. The exit code is that of the first failure.
    """
    from deploy.commands import doctor

    return _checks(as_json, doctor.check(options.session(**settings)))


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@click.option("--task", type=TaskId(), metavar="ID", help="Also check why this task does not start.")
@as_json
@examples("python -m deploy doctor", "python -m deploy doctor --task 0a1b2c3d4e5f60718293a4b5c6d7e8f9")
def doctor(as_json: bool, task: str | None, **settings: Any) -> int:
    """Check the cluster, the agent, the server and the tasks, in the order in which to fix them.

    The exit code is that of the first failure.
    """
    from deploy.commands import doctor

    return _checks(as_json, doctor.doctor(options.session(**settings), task))


def _checks(as_json: bool, results: Iterable[Result]) -> int:
    verbose = invocation_of(click.get_current_context()).verbose
    seen = list(_shown(results, left_out=verbose))
    for line in [] if verbose else output.left_out_lines(seen):
        click.echo(line, err=True)
    code = exit_code(seen)
    counts = {level: sum(result.level == level for result in seen) for level in Level}
    summary = ", ".join(f"{count} {COUNTED[level]}" for level, count in counts.items() if count)
    body = {"ok": code == 0, "exit_code": code, "checks": [result.as_json() for result in seen]}
    return _result(as_json, body, [summary], code)


@cli.command()
@click.argument("task")
@click.option("--follow", "-f", is_flag=True, help="Follow the console until the task ends.")
@click.option("--raw", is_flag=True, help="Show all lines, also those of the agent, the SDK and other libraries.")
@click.option(
    "--timeout",
    "start_s",
    type=Number(min=0),
    default=math.inf,
    metavar="SECONDS",
    help="With --follow: end if the task has not started after this time.  [default: no limit]",
)
@options.release
@options.cluster
@as_json
@examples("python -m deploy logs DataPrepare -f", "python -m deploy logs 0a1b2c3d4e5f60718293a4b5c6d7e8f9")
def logs(as_json: bool, task: str, follow: bool, raw: bool, start_s: float, **settings: Any) -> int:
    """Show the console of TASK: from its pods while they run, from ClearML afterwards.

    TASK is the id or the name of a task or a pipeline. Lines of the agent, the SDK and other libraries are left out;
    errors and tracebacks never are. With --follow the exit code is 1 unless the task completes.
    """
    from deploy.commands import logs

    session = options.session(**settings)
    record = logs.resolve(session, task)
    lines: list[str] = []
    how = logs.Show(follow=follow, raw=raw, start_s=start_s)
    status = logs.show(session, record, lines.append if as_json else click.echo, how)
    body = {"task": record["id"], "name": record.get("name"), "status": status, "lines": lines}
    return _result(as_json, body, [], int(follow and status != "completed"))


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@click.option(
    "--gitops",
    metavar="FOLDER",
    type=FilePath(file_okay=False),
    help="Write values, objects and a kustomization into this folder for Argo CD or Flux, without any key.",
)
@as_json
@examples(
    "python -m deploy render --values my-values.yaml", "python -m deploy render --gitops clusters/prod/clearml/agent"
)
def render(as_json: bool, gitops: Path | None, **settings: Any) -> int:
    """Print the objects that the chart makes from the values, as YAML.

    The chart is told the version and the APIs of the cluster. No cluster is needed: without one, it is told what helm
    assumes.
    """
    from deploy.commands import deployment
    from deploy.commands import gitops as git

    session = options.session(**settings)
    if gitops:
        done = git.write(session, gitops)
        lines = [f"written: {path}" for path in done.written] + [f"removed: {path}" for path in done.removed]
        return _result(as_json, {"files": done.written, "removed": done.removed}, lines)
    bodies = deployment.render(session)
    text = "---\n".join(body["manifest"] for body in bodies)
    return _result(as_json, {"manifest": text, "releases": bodies}, [text.rstrip()])


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@as_json
@examples("python -m deploy diff --values my-values.yaml")
def diff(as_json: bool, **settings: Any) -> int:
    """Print what an upgrade would change in the objects of the release."""
    from deploy.commands import deployment

    bodies = deployment.diff(options.session(**settings))
    text = "\n".join(body["diff"] for body in bodies if body["changed"])
    body = {"changed": bool(text), "diff": text, "releases": bodies}
    return _result(as_json, body, [text or "nothing would change"])


@cli.command()
@click.argument("revision", type=int, required=False)
@options.release
@options.members
@options.cluster
@options.dry_run
@options.canary
@as_json
@examples("python -m deploy rollback", "python -m deploy rollback 3 --dry-run")
def rollback(as_json: bool, revision: int | None, **settings: Any) -> int:
    """Roll the release back to REVISION, and verify that the agent runs tasks by the values of that revision.

    Without REVISION it is the last one that was deployed before the current one.
    """
    from deploy.commands import deployment

    bodies = deployment.rollback(options.session(**settings), revision)
    return _results(as_json, bodies, output.rollback_lines)


@cli.command()
@options.release
@options.members
@options.cluster
@options.wanted
@options.dry_run
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.option("--delete-queue", is_flag=True, help="Delete the queue too, with the tasks that wait in it.")
@click.option("--delete-namespace", is_flag=True, help="Delete the namespace too, if an install created it.")
@as_json
@examples("python -m deploy uninstall --dry-run", "python -m deploy uninstall --yes --delete-queue")
def uninstall(as_json: bool, yes: bool, delete_queue: bool, delete_namespace: bool, **settings: Any) -> int:
    """Remove the agent and everything that its install created; ask first.

    Other releases in the namespace, their pods and their tasks stay. Without a terminal, --yes is needed.
    """
    from deploy.commands import deployment

    session = options.session(**settings)
    leaving = deployment.look(session)
    found, base = [each for each in leaving if not each.nothing], leaving[-1]
    bodies = [each.as_json() for each in leaving]
    if not found:
        return _result(as_json, _of_all(bodies[::-1]), [output.no_release_line(bodies[-1])])
    for each in found:
        for line in output.leaving_lines(each.as_json()):
            say(line)
    if session.settings.dry_run:
        return _result(as_json, _of_all(bodies[::-1]), ["nothing was removed"])
    names = " and ".join(sorted(each.release for each in found))
    several = len(found) > 1
    what = f"{'releases' if several else 'release'} {names} in namespace {base.namespace}"
    options.require_confirmation(what, yes=yes, several=several)
    bodies = deployment.uninstall(session, leaving, queue=delete_queue, namespace=delete_namespace)
    removed = ", ".join(name for body in bodies for name in body["removed"])
    return _result(as_json, _of_all(bodies[::-1]), [f"removed: {removed}"])


@cli.command()
@options.served
@options.cluster
@options.values
@click.option(
    "--model", "model_id", type=TaskId(), metavar="ID", help="The model.  [default: the newest published one]"
)
@click.option(
    "--canary",
    type=Number(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Give the model this share of the requests; the current version keeps the others.",
)
@click.option("--auto-update", is_flag=True, help="Serve the newest model with the tag best, and each newer one.")
@options.dry_run
@click.option("--status", "only_status", is_flag=True, help="Show what is there; change nothing.")
@as_json
@examples("./task deploy-serve", "./task deploy-serve -- --status", "./task deploy-serve -- --canary 0.1")
def serve(
    as_json: bool, model_id: str | None, canary: float | None, auto_update: bool, only_status: bool, **settings: Any
) -> int:
    """Serve a published model in the cluster, and prove it by a request from a pod.

    The model becomes a version of the endpoint reviews, as ./task serve-model makes it. What does not prove itself is
    rolled back: a first install is removed again. With --status, the exit code is 3 unless a pod is ready.
    """
    from deploy.commands import serve as serving
    from deploy.commands import unserve
    from deploy.serving.manifest import PORT

    session = options.session(**settings)
    if only_status:
        body = unserve.status(session)
        return _result(as_json, body, output.served_status_lines(body), 0 if body["ready"] else NOT_INSTALLED)
    done = serving.up(session, serving.Wanted(model_id, canary, auto_update)).as_json() | {"port": PORT}
    return _result(as_json, done, output.served_lines(done))


@cli.command()
@options.served
@options.cluster
@options.dry_run
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@as_json
@examples("./task undeploy-serve", "python -m deploy unserve --yes")
def unserve(as_json: bool, yes: bool, **settings: Any) -> int:
    """Stop serving models in the cluster: remove what serve made there; ask first.

    The service and its versions stay on the ClearML server. Without a terminal, --yes is needed.
    """
    from deploy.commands import unserve as serving

    session = options.session(**settings)
    found = serving.present(session)
    name = f"{session.settings.release} in namespace {session.settings.namespace}"
    if not found:
        return _result(as_json, {"removed": []}, [f"there is no {name}"])
    for line in found:
        say(line)
    if session.settings.dry_run:
        return _result(as_json, {"removed": [], "would_remove": found}, ["nothing was removed"])
    options.require_confirmation(name, yes=yes)
    return _result(as_json, {"removed": serving.down(session)}, [f"removed: {', '.join(found)}"])


def _results(as_json: bool, bodies: list[dict[str, Any]], lines: Callable[[dict[str, Any]], list[str]]) -> int:
    return _result(as_json, _of_all(bodies), [line for body in bodies for line in lines(body)])


def _of_all(bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `--json` prints: the first release's facts, and those of all releases."""
    return {**bodies[0], "releases": bodies}


def _result(as_json: bool, body: dict[str, Any], lines: list[str], code: int = 0) -> int:
    click.echo(json.dumps(body) if as_json else "\n".join(lines))
    return code


def _show(result: Result) -> None:
    click.echo(output.check_line(result), err=True)


def _shown(results: Iterable[Result], *, left_out: bool) -> Iterator[Result]:
    for result in results:
        if left_out or result.level != Level.SKIP:
            _show(result)
        yield result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: What follows `python -m deploy`; default: the process's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    hint = AFTER_INTERRUPT.get(words[0]) if words else None
    return run(cli, words, program="python -m deploy", exit_code_of=exit_code_of, interrupted_hint=hint)
