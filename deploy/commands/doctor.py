"""`check` and `doctor`: lists of the same checks. A live agent answers `check`; `doctor` asks everything there is."""

from __future__ import annotations

from collections.abc import Iterator

from deploy import releases
from deploy.checks import agent, environment, namespace
from deploy.checks.check import Check, Result, of_releases, run
from deploy.checks.task import checks as checks_of_task
from deploy.checks.task import release_of
from deploy.errors import ClusterError, HelmError
from deploy.session import Session


def check(base: Session) -> Iterator[Result]:
    """Check whether the agents of a deployment run and take tasks."""
    return run(of_releases({each.settings.release: agent.live(each) for each in _releases(base)}))


def doctor(base: Session, task: str | None) -> Iterator[Result]:
    """Run all checks, in the order in which to fix them.

    Args:
        base: The deployment's base release.
        task: Also ask why this task does not start.
    """
    members = _releases(base)
    own = release_of(members, task) if task else None
    return run(of_releases({each.settings.release: _all(each, task if each is own else None) for each in members}))


def _releases(base: Session) -> list[Session]:
    """Return the releases to ask about: those of files that are gone, too, if the cluster can be asked for them."""
    try:
        return releases.present(base)
    except (ClusterError, HelmError):
        return releases.wanted(base)


def _all(session: Session, task: str | None) -> list[Check]:
    """Return a release's checks without repeated ids; the last one is the stricter (a queue that will be made is none).

    What an install needs is not asked of a release whose file is gone.
    """
    checks = [
        *([*environment.preflight(session), *namespace.preflight(session)] if session.settings.is_wanted else []),
        *namespace.more(session),
        *environment.more(session),
        *agent.live(session),
        *agent.more(session),
        *(checks_of_task(session, task) if task else []),
    ]
    kept = {check.id: check for check in checks}
    order = dict.fromkeys(check.id for check in checks)
    return [kept[id_] for id_ in order]
