"""Removes a release's objects and waits for the end of its pods: until then, they may tell the server that they serve.

Outside system: the cluster, through the session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.errors import DeadlineError, RightsError
from deploy.kubernetes.ownership import RELEASE
from deploy.serving import proof
from deploy.serving.manifest import DEPLOYMENTS, MONITORS, SERVICES
from deploy.session import Session
from deploy.verification import probe

KINDS = (DEPLOYMENTS, SERVICES, MONITORS)
"""In the order in which they are removed."""


@contextmanager
def without_monitors(kind: tuple[str, str]) -> Iterator[None]:
    """Ignore ServiceMonitors that this user may not see."""
    try:
        yield
    except RightsError:
        if kind != MONITORS:
            raise


def remove(session: Session) -> None:
    """Remove the objects and the Secret of a release, and what asked them; wait until its pods have ended.

    Raises:
        DeadlineError: They do not end.
    """
    settings, cluster = session.settings, session.cluster
    for name in proof.pods(settings.release):
        probe.remove(session, name)
    for kind in KINDS:
        with without_monitors(kind):
            cluster.delete(kind[0], settings.release, group=kind[1])
    cluster.delete("secrets", f"{settings.release}-keys")
    wait = session.wait(settings.deadlines.old_agent)
    while left := cluster.pods(f"{RELEASE}={settings.release}"):
        if not wait.again():
            raise DeadlineError(
                f"pod {left[0]['metadata']['name']} is still there {wait.seconds:.0f} s after its Deployment",
                hint=f"kubectl -n {settings.namespace} describe pod {left[0]['metadata']['name']}",
            )
