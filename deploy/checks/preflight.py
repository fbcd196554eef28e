"""What is asked before anything is changed, from here and from inside a pod."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from deploy import releases
from deploy.checks import agent, environment, namespace
from deploy.checks.check import Check, Finding, Level, Result, of_releases, ok, run
from deploy.errors import CheckFailedError, DeployError
from deploy.session import Session
from deploy.verification import probe

OnResult = Callable[[Result], None]


class PreflightError(DeployError):
    """A check failed; the exit code is that check's."""

    def __init__(self, result: Result) -> None:
        finding = result.finding
        super().__init__(f"{result.title}: {finding.evidence}", hint=finding.fix)
        self.exit_code = finding.exit_code or CheckFailedError.exit_code


def require(sessions: Sequence[Session], on_result: OnResult) -> None:
    """Ask everything that can be asked from here about the releases of a deployment.

    Raises:
        PreflightError: For the first check that failed, after all have been asked.
        ValuesError: Two releases would serve the same queue.
    """
    needs = ("values", "keys", "namespace")
    asked = {
        each.settings.release: [
            *environment.preflight(each),
            Check("name", "agent's name on the server", partial(agent.name_is_free, each), needs),
            Check("alone", "no other worker on the queue", partial(agent.will_be_alone, each), needs),
            *namespace.preflight(each),
        ]
        for each in sessions
    }
    _require(of_releases(asked), on_result)
    releases.require_queues_of_their_own(sessions)


def require_from_pods(session: Session, on_result: OnResult) -> None:
    """Ask from pods of both images: are they there, do they run, do they reach the server.

    Raises:
        PreflightError: For the first check that failed.
    """
    images = {"agent": session.plan.agent_image, "task": session.plan.task_image}
    names = {role: probe.name(session, role) for role in images}

    def ask(role: str) -> Finding:
        seen = probe.finish(session, names[role], images[role])
        probe.require_reachable(seen, session.plan.api_url)
        return ok(f"{seen.image} runs Python {seen.python} and reaches {session.plan.api_url} ({seen.seconds:.1f} s)")

    try:
        for role, image in images.items():  # both at once: a node may have to fetch the images
            probe.start(session, role, image)
        _require([Check(f"pod-{role}", f"{role} image in a pod", partial(ask, role)) for role in images], on_result)
    finally:  # also after Ctrl-C
        for name in names.values():
            probe.remove(session, name)


def _require(checks: list[Check], on_result: OnResult) -> None:
    first: Result | None = None
    for result in run(checks):
        on_result(result)
        if result.level == Level.FAIL and first is None:
            first = result
    if first is not None:
        raise PreflightError(first)
