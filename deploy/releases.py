"""The releases of one deployment: the base release, and one for each file in `helm/queues`.

A release of the chart has one pod template. So a queue whose pods are others is a release of its own: when one fails,
the others stay as they are, and helm upgrades only those whose values have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy import queue_values
from deploy.errors import SettingsError, ValuesError
from deploy.session import Session
from deploy.settings import RELEASE_NAME_LIMIT, is_name

ENDINGS = (".yaml", ".yml")


def wanted(base: Session) -> list[Session]:
    """Return the releases that there should be, the base release first; of them those that `--only` names.

    Raises:
        SettingsError: A file's name cannot be part of a release's name, or `--only` names no release.
    """
    return _selected(base, _of_files(base))


def gone(base: Session) -> list[Session]:
    """Return the releases that an install made from a queue file that is not there any more."""
    if not base.cluster.has_namespace():
        return []
    names = {each.settings.release for each in _of_files(base)}
    others = [release for release in base.helm.releases_after() if release not in names]
    members = [base.of_queue(release.removeprefix(f"{base.settings.release}-"), None) for release in others]
    return [member for member in members if is_made_from_file(member)]


def present(base: Session) -> list[Session]:
    """Return the releases that there should be and those whose file is gone; of them those that `--only` names.

    Raises:
        SettingsError: As for `wanted`.
    """
    return _selected(base, [*_of_files(base), *gone(base)])


def is_made_from_file(session: Session) -> bool:
    """Return whether a release is there that an install made from a queue file of this name."""
    revision = session.revision
    return revision is not None and queue_values.file_of(revision.values) == session.settings.queue


def require_queues_of_their_own(sessions: Sequence[Session]) -> None:
    """Refuse a queue that two releases would serve: a task in it would get the pod of either.

    Raises:
        ValuesError: It names the queue and both releases.
    """
    owners: dict[str, Session] = {}
    for session in sessions:
        for queue in session.plan.queues:
            other = owners.setdefault(queue.casefold(), session)  # the agent finds a queue by its name in any case
            if other is not session:
                names = " and ".join(f"{each.settings.release} ({_source(each)})" for each in (other, session))
                raise ValuesError(
                    f"queue {queue} would be served by two releases with different pods: {names}",
                    hint="give each a queue of its own: agentk8sglue.queue",
                )


def _source(session: Session) -> str:
    return str(session.settings.queue_file or "helm/values-agent.yaml, --values, --set")


def _of_files(base: Session) -> list[Session]:
    """Return the base release and those of all queue files, by name."""
    folder = base.settings.queues_folder
    files = sorted(path for path in folder.glob("*") if path.suffix in ENDINGS) if folder.is_dir() else []
    found: dict[str, Path] = {}
    for file in files:
        name = file.stem
        if not is_name(name) or len(f"{base.settings.release}-{name}") > RELEASE_NAME_LIMIT:
            raise SettingsError(
                f"queue file {file}: its name becomes part of the release's name {base.settings.release}-{name}",
                hint=f"use lower-case letters, digits and dashes, and at most {RELEASE_NAME_LIMIT} characters in all; "
                "the queue's own name is agentk8sglue.queue in the file, and may be any",
            )
        if name in found:
            raise SettingsError(f"{found[name]} and {file} describe the same release", hint="remove one of them")
        found[name] = file
    return [base, *(base.of_queue(name, file) for name, file in found.items())]


def _selected(base: Session, members: list[Session]) -> list[Session]:
    only = set(base.settings.only)
    names = [{each.settings.release, each.settings.queue} for each in members]
    unknown = only - set().union(*names)
    if unknown:
        known = ", ".join(str(each.settings.queue or each.settings.release) for each in members)
        raise SettingsError(
            f"--only {' '.join(sorted(unknown))}: there is no such release in this deployment; there are: {known}",
            hint=f"name a file of {base.settings.queues_folder} without its ending, or a release",
        )
    return [each for each, own in zip(members, names, strict=True) if not only or only & own]
