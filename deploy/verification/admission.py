"""Makes pods in a namespace that may be a moment old: Kubernetes refuses all until it has given it an account."""

from __future__ import annotations

from deploy.errors import AdmissionError
from deploy.kubernetes.pods import Json
from deploy.session import Session

NO_ACCOUNT_YET = 'serviceaccount "default" not found'
NEW_NAMESPACE_S = 60.0
"""The controller manager makes a namespace's account `default` after the namespace. It takes up to half a minute to
watch again after a restart of the API server (client-go's `reflector.go`: its back-off ends at 30 s)."""


def create_pod(session: Session, name: str, spec: Json, *, dry_run: bool = False) -> None:
    """Make a pod, or let the namespace's rules judge it; wait for the account that a new namespace gets.

    Raises:
        AdmissionError: The namespace does not admit the pod.
    """
    wait = session.wait(NEW_NAMESPACE_S)
    while True:
        try:
            return session.cluster.create_pod(name, spec, dry_run=dry_run)
        except AdmissionError as error:
            if NO_ACCOUNT_YET not in error.message or not wait.again():
                raise
