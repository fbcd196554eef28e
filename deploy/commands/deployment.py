"""The commands on all releases of a deployment: each does to every release what it does to one.

What fails for one release leaves the others alone: they are done as well, and the error names those that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clearml_access.errors import UserFacingError
from deploy import releases
from deploy.checks import preflight
from deploy.commands import install as one
from deploy.commands import operations
from deploy.commands import uninstall as removal
from deploy.errors import ReleaseBusyError, ReleaseNotFoundError, SeveralReleasesError, UsageError
from deploy.kubernetes.pods import is_live, task_id
from deploy.session import Session

Body = dict[str, Any]
"""What a command says of one release, as JSON types."""


def install(base: Session, on_result: preflight.OnResult, *, must_exist: bool = False) -> list[Body]:
    """Make every release what its values say, and prove it; remove those whose queue file is gone.

    Args:
        base: The deployment's base release.
        on_result: Called with every check's result as it comes.
        must_exist: Refuse to make a base release that is not there.

    Raises:
        DeployError: A check failed, or a release did not prove itself; then that one is what it was before.
    """
    wanted = releases.wanted(base)
    preflight.require(wanted, on_result)
    gone = [] if base.settings.only else releases.gone(base)

    def do(session: Session) -> Body:
        if session.settings.is_wanted:
            return one.install(session, on_result, must_exist=must_exist and session is wanted[0]).as_json()
        return _remove(session).as_json()

    return _each([*wanted, *gone], do)


def _remove(session: Session) -> one.Outcome:
    """Remove a release whose queue file is gone, unless tasks run in its pods."""
    settings = session.settings
    why = f"the queue file of release {settings.release} is gone from {settings.queues_folder}"
    leaving = removal.look(session)
    outcome = one.Outcome("removed", settings.release, settings.namespace, queues=session.installed.queues)
    if settings.dry_run:
        outcome.result = one.PLANNED
        outcome.changes = [f"remove release {settings.release}, as its queue file is gone"]
        return outcome
    running = [str(task_id(pod)) for pod in session.cluster.task_pods() if is_live(pod)]
    if running:
        raise ReleaseBusyError(
            f"{why}, but its pods run {len(running)} tasks: {', '.join(running)}",
            hint=f"install again when they have ended, or stop them: "
            f"./task undeploy-agent -- --only {settings.queue} --yes",
        )
    session.say(f"{why}: the release is removed, its queue {', '.join(outcome.queues)} stays")
    outcome.changes = removal.uninstall(session, leaving).removed
    return outcome


def status(base: Session) -> list[Body]:
    """Return what is there of each release, as far as it can be seen."""
    return [operations.status(session) for session in releases.present(base)]


def render(base: Session) -> list[Body]:
    """Return what the chart makes of each release's values, as YAML."""
    wanted = releases.wanted(base)
    releases.require_queues_of_their_own(wanted)
    return [
        {"release": session.settings.release, "manifest": operations.render(session, session.plan)}
        for session in wanted
    ]


def diff(base: Session) -> list[Body]:
    """Return what an install would change in the objects of each release."""
    base.require_kubeconfig()
    found = [(session.settings.release, operations.diff(session)) for session in releases.present(base)]
    return [{"release": release, "changed": bool(text), "diff": text} for release, text in found]


def rollback(base: Session, to: int | None) -> list[Body]:
    """Undo the last install: roll back the releases that it changed. Of one release, go back to any revision.

    Raises:
        UsageError: A revision is named, and the deployment has several releases.
        ReleaseNotFoundError: There is nothing to go back to.
    """
    base.require_kubeconfig()
    members = releases.present(base)
    if len(members) == 1:
        return [operations.rollback(members[0], to)]
    if to is not None:
        names = ", ".join(session.settings.release for session in members)
        raise UsageError(f"each release counts its own revisions, and there are several: {names}", hint="--only NAME")
    revisions = {session.settings.release: session.revision for session in members}
    marks = {name: one.install_of(revision) for name, revision in revisions.items() if revision}
    last = max(filter(None, marks.values()), default=None)
    changed = [session for session in members if last and marks.get(session.settings.release) == last]
    back = []
    for session in changed:
        revision = revisions[session.settings.release]
        if revision and revision.number > 1:
            back.append(session)
        else:
            session.say(f"release {session.settings.release} was made by that install: there is nothing to go back to")
    if not back:
        raise ReleaseNotFoundError(
            "the last install changed no release that was there before it", hint="name one release: --only NAME"
        )
    return _each(back, lambda session: operations.rollback(session, None))


def look(base: Session) -> list[removal.Leaving]:
    """Return what an uninstall would remove of each release; the base release, and what all share, goes last."""
    return [removal.look(session) for session in reversed(releases.present(base))]


def uninstall(base: Session, leaving: Sequence[removal.Leaving], *, queue: bool, namespace: bool) -> list[Body]:
    """Remove the releases that `look` found, and their queues and the namespace if asked.

    Raises:
        DeadlineError: Something is still there at the end; it is named.
    """
    members = [*reversed(releases.present(base))]
    found = {each.release: each for each in leaving}

    def do(session: Session) -> Body:
        last = session is members[-1]
        done = removal.uninstall(session, found[session.settings.release], queue=queue, namespace=namespace and last)
        return done.as_json()

    return _each(members, do)


def _each(sessions: Sequence[Session], do: Callable[[Session], Body]) -> list[Body]:
    bodies: list[Body] = []
    failed: dict[str, UserFacingError] = {}
    for session in sessions:
        try:
            bodies.append(do(session))
        except UserFacingError as error:
            if len(sessions) == 1:
                raise
            failed[session.settings.release] = error
            session.say(f"failed: {error.message}")
            bodies.append({"release": session.settings.release, "result": "failed", "error": error.message})
    if failed:
        several = SeveralReleasesError(failed, len(sessions))
        several.document = {"releases": bodies}
        raise several
    return bodies
