"""`check` and `doctor`: lists of the same checks. A live agent answers `check`; `doctor` asks everything there is."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks import agent, environment
from deploy.checks.check import Check, Result, run
from deploy.checks.task import checks as checks_of_task
from deploy.session import Session


def check(session: Session) -> Iterator[Result]:
    """Check whether the agent runs and takes tasks."""
    return run(agent.live(session))


def doctor(session: Session, task: str | None) -> Iterator[Result]:
    """Run all checks, in the order in which to fix them."""
    listed = [
        *environment.preflight(session),
        *environment.more(session),
        *agent.live(session),
        *agent.more(session),
        *(checks_of_task(session, task) if task else []),
    ]
    return run(_once(listed))


def _once(checks: list[Check]) -> list[Check]:
    """Return the checks without repeated ids; the last one is the stricter (a queue that will be made is none yet)."""
    kept = {check.id: check for check in checks}
    order = dict.fromkeys(check.id for check in checks)
    return [kept[id_] for id_ in order]
