"""Goes back to what was there before a model was served, where that fails or is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from clearml_access.errors import UserFacingError
from deploy.kubernetes.pods import Json
from deploy.serving.manifest import DEPLOYMENTS, Manifest, applied
from deploy.serving.registration import register
from deploy.serving.removal import KINDS, remove, without_monitors
from deploy.session import Session
from deploy.verification import rollout

INTERRUPTED = "interrupted: going back to what was there before (Ctrl-C again leaves it as it is)"
NAMESPACE_S = 60.0


@dataclass
class Undo:
    """What was there before, and what has been begun since."""

    before: dict[tuple[str, str], Json]
    keys: str
    """The Secret's name."""

    secret: dict[str, str] | None
    began: bool = False
    made: Manifest | None = None
    """What is to be there."""

    route: str | None = None
    """The model that other requests went to, once they may go elsewhere."""


@contextmanager
def undone_on_failure(session: Session, before: dict[tuple[str, str], Json], keys: str) -> Iterator[Undo]:
    """Go back where the block fails, with what was done as the error's evidence, and where it is interrupted.

    A second interrupt ends the going back.
    """
    undo = Undo(before, keys, session.cluster.secret(keys))
    try:
        yield undo
    except UserFacingError as error:
        done = _undo(session, undo, "it could not be served") if undo.began else ()
        error.evidence = (*error.evidence, *done)
        raise
    except KeyboardInterrupt:
        if undo.began:
            session.say(INTERRUPTED)
            for line in _undo(session, undo, "the command that served it was interrupted"):
                session.say(line)
        raise


@contextmanager
def no_namespace_left(session: Session, *, is_new: bool) -> Iterator[None]:
    """Remove a namespace that this command made, where it fails or is interrupted and nothing is in it.

    It waits until the namespace is gone: the same command again would be refused meanwhile.
    """
    try:
        yield
    except (UserFacingError, KeyboardInterrupt):
        if is_new:
            with suppress(UserFacingError):
                if not session.cluster.objects_of_others() and session.cluster.delete_namespace_if_ours():
                    wait = session.wait(NAMESPACE_S)
                    while session.cluster.is_namespace_ending() and wait.again():
                        pass
        raise


def _undo(session: Session, undo: Undo, reason: str) -> tuple[str, ...]:
    """Restore what was there; return what was done."""
    done: list[str] = []
    try:
        if undo.route:
            register(session, "--model", undo.route)
            done.append(f"requests go to model {undo.route} again")
        if DEPLOYMENTS in undo.before:
            _restore(session, undo)
            name = session.settings.release
            seconds = rollout.wait_until_ready(session, name=name, what="serving pod", is_new=_like(undo))
            done.append(f"what was there before is back, ready after {seconds:.1f} s")
        else:
            remove(session)
            done.append("nothing was installed before: Deployment, Service and Secret are removed again")
            if undo.made is not None:
                session.api.end_serving(undo.made.address, undo.made.service_id, reason)
    except UserFacingError as error:
        done.append(f"going back failed too: {error.message}")
    return tuple(f"undo: {line}" for line in done)


def _restore(session: Session, undo: Undo) -> None:
    release, cluster = session.settings.release, session.cluster
    if undo.secret is not None:
        cluster.put_secret(undo.keys, undo.secret)
    for kind in KINDS:
        old = applied(undo.before[kind]) if kind in undo.before else None
        if old is not None:
            cluster.apply(kind[0], old, group=kind[1])
        else:
            with without_monitors(kind):
                cluster.delete(kind[0], release, group=kind[1])
    if undo.secret is None:
        cluster.delete("secrets", undo.keys)


def _like(undo: Undo) -> Any:
    """Return what tells the pods of the Deployment that was there before."""
    template = undo.before[DEPLOYMENTS]["spec"]["template"]["metadata"]["labels"]
    return lambda pod: template.items() <= (pod["metadata"].get("labels") or {}).items()
