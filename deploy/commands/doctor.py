"""`check` and `doctor`: lists of the same checks. A live agent answers `check`; `doctor` asks everything there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from clearml_access.errors import UserFacingError
from deploy import releases
from deploy.checks import agent, environment, namespace
from deploy.checks.check import Check, Finding, Result, of_releases, run
from deploy.checks.task import checks as checks_of_task
from deploy.checks.task import release_of
from deploy.errors import ClusterError, HelmError
from deploy.session import Session

INSTALL = "./task deploy-agent"


def check(base: Session) -> Iterator[Result]:
    """Check whether the agents of a deployment run and take tasks."""
    return run(of_releases({each.settings.release: _repaired(each, agent.live(each)) for each in _releases(base)}))


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
    return _repaired(session, [kept[id_] for id_ in order])


def _repaired(session: Session, checks: list[Check]) -> list[Check]:
    """Return the checks with the fix that helps where git applies the agent: there an install is refused."""

    def ask(check: Check) -> Finding:
        finding = check.run()
        if INSTALL not in (finding.fix or "") or not _is_applied(session):
            return finding
        fix = (
            "repair it in git and sync; after a change of keys or queues: kubectl rollout restart "
            f"deployment {session.settings.fullname} -n {session.settings.namespace} (docs/gitops.md)"
        )
        return replace(finding, fix=fix)

    return [replace(check, run=partial(ask, check)) for check in checks]


def _is_applied(session: Session) -> bool:
    try:
        return session.applied is not None
    except UserFacingError:  # a check of its own says so
        return False
