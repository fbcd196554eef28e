"""Serves a model in the cluster: check, register, apply, prove from a pod; and undoes what does not prove itself.

The order matters. Nothing is changed before a pod of the image has reached the server. A new version has an address of
its own at first, and is proved there before other requests go to it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from clearml_access import serving_values
from clearml_access.errors import UserFacingError
from clearml_access.registered import Registered
from deploy.errors import ReleaseExistsError, RightsError, SettingsError
from deploy.helm import values as v
from deploy.kubernetes.cluster import Right
from deploy.kubernetes.ownership import RELEASE
from deploy.kubernetes.pods import Json
from deploy.serving import proof
from deploy.serving.manifest import DEPLOYMENTS, MONITORS, Manifest, applied, service_task
from deploy.serving.registration import register
from deploy.serving.removal import KINDS, without_monitors
from deploy.serving.undo import Undo, no_namespace_left, undone_on_failure
from deploy.session import Session
from deploy.verification import rollout
from deploy.verification.admission import create_pod

NO_SERVICE = "0" * 32
"""Stands for the service's task where it is not known yet."""

UNCHANGED, INSTALLED, UPGRADED, PLANNED = "unchanged", "installed", "upgraded", "planned"

RIGHTS = (
    *(Right(verb, "secrets") for verb in ("get", "create", "update", "delete")),
    *(Right(verb, "services") for verb in ("get", "create", "patch", "delete")),
    *(Right(verb, "deployments", "apps") for verb in ("get", "create", "patch", "delete")),
    *(Right(verb, "pods") for verb in ("get", "list", "create", "delete")),
    Right("get", "pods", subresource="log"),
    *(Right(verb, "leases", "coordination.k8s.io") for verb in ("get", "create", "update", "patch", "delete")),
    Right("list", "events"),
)
"""What it does to the namespace. The ClusterRole `admin` has all of them."""


@dataclass(frozen=True)
class Wanted:
    """Which model is to be served."""

    model_id: str | None = None
    canary: float | None = None
    auto_update: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The options of `python -m pipeline serve register`."""
        return (
            *(("--model", self.model_id) if self.model_id else ()),
            *(("--canary", f"{self.canary:g}") if self.canary else ()),
            *(("--auto-update",) if self.auto_update else ()),
        )


@dataclass
class Outcome:
    """What was done."""

    result: str
    release: str
    namespace: str
    address: str = ""
    paths: tuple[str, ...] = ()
    model_id: str = ""
    version: str = ""
    service_id: str = ""
    page: str = ""
    image: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    probability: float = 0.0
    changes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def up(session: Session, wanted: Wanted) -> Outcome:
    """Serve a model in the cluster, and prove it by a request from a pod.

    Args:
        session: The run.
        wanted: The model.

    Raises:
        DeployError: It is not served; then what was there before is back.
        RegistrationError: There is no such model, or clearml-serving refuses it.
    """
    settings, cluster = session.settings, session.cluster
    first = manifest(session, NO_SERVICE)
    outcome = Outcome(PLANNED, settings.release, settings.namespace, first.address, image=first.image)
    session.api.login()
    is_new = not cluster.has_namespace()
    before = {} if is_new else require_ours(session)
    _require_rights(session)
    if settings.dry_run:
        outcome.changes = changes(session, before, is_new=is_new)
        return outcome
    if is_new:
        session.say(f"namespace {settings.namespace} is made")
        cluster.create_namespace()
    with cluster.exclusive(settings.release), no_namespace_left(session, is_new=is_new):
        before = require_ours(session)
        if not _is_as_wanted(session, before):
            create_pod(session, f"{settings.release}-admission", _judged(first), dry_run=True)
            python = proof.require_reachable(session, first)
            session.say(f"a pod of {first.image} starts (Python {python}) and reaches {first.urls['api']}")
        with undone_on_failure(session, before, first.keys_secret) as undo:
            model = register(session, *wanted.words, "--no-route")
            undo.made = made = manifest(session, model.service_id)
            changed = _apply(session, made, undo)
            outcome.seconds["ready"] = round(_wait(session, made), 1)
            session.say(f"the pods are ready after {outcome.seconds['ready']} s")
            # A version that an earlier, interrupted call has added may still be unproved: requests go elsewhere.
            if model.paths and (model.changed or model.previous_model_id != model.model_id):
                proof.require_answer(session, made, model)
                session.say(f"version {model.version} answers a pod as the model itself does")
            # The one that was proved: a newer one may have been published meanwhile.
            proved = wanted if wanted.auto_update else replace(wanted, model_id=model.model_id)
            undo.route = model.previous_model_id
            routed = register(session, *proved.words)
            if not routed.changed:
                undo.route = None
            outcome.seconds["answer"] = round(proof.require_answer(session, made, routed), 1)
    changed = changed or model.changed or routed.changed
    outcome.result = UNCHANGED if not changed else UPGRADED if DEPLOYMENTS in before else INSTALLED
    _note(outcome, routed, model)
    return outcome


def _note(outcome: Outcome, routed: Registered, model: Registered) -> None:
    outcome.paths, outcome.model_id, outcome.service_id = routed.paths, routed.model_id, routed.service_id
    outcome.version, outcome.page = routed.version or model.version, routed.page
    outcome.request, outcome.label, outcome.probability = dict(routed.request), routed.label, routed.probability


def manifest(session: Session, service_id: str) -> Manifest:
    """Return the objects as they should be.

    Raises:
        ValuesError: The values have one that does not exist, or has another type.
    """
    settings = session.settings
    layers = [v.parse(_read(path), str(path)) for path in settings.values_files]
    layers += [v.parse_set(text) for text in settings.sets]
    base = serving_values.load()
    return Manifest.of(settings.release, settings.namespace, base, layers, session.server, service_id)


def changes(session: Session, before: dict[tuple[str, str], Json], *, is_new: bool) -> list[str]:
    """Return what `up` would do to the cluster."""
    settings, cluster = session.settings, session.cluster
    deployment = before.get(DEPLOYMENTS)
    wanted = manifest(session, service_task(deployment) if deployment else NO_SERVICE)
    found = [f"make namespace {settings.namespace}"] if is_new else []
    if is_new or cluster.secret(wanted.keys_secret) != wanted.keys:
        found.append(f"write Secret {wanted.keys_secret}")
    if not is_new:
        create_pod(session, f"{settings.release}-admission", _judged(wanted), dry_run=True)
    for kind, body in wanted.objects():
        live = before.get(kind)
        if live is None:
            found.append(f"make {body['kind']} {settings.release}")
        elif cluster.apply(kind[0], body, group=kind[1], dry_run=True):
            found.append(f"change {body['kind']} {settings.release}")
    return [*found, "make the model a version of the service, and prove it by a request from a pod"]


def _require_rights(session: Session) -> None:
    missing = session.cluster.allowed(RIGHTS)
    if missing:
        names = ", ".join(map(str, missing))
        raise RightsError(
            f"{session.cluster.user() or 'this user'} lacks permissions in namespace {session.settings.namespace}: "
            f"{names}",
            hint=f"an administrator: kubectl create rolebinding deployer --clusterrole=admin --user=NAME "
            f"-n {session.settings.namespace}",
        )


def require_ours(session: Session) -> dict[tuple[str, str], Json]:
    """Return the release's objects that are there, by kind.

    Raises:
        ReleaseExistsError: One of them is somebody else's.
    """
    release, found = session.settings.release, {}
    for kind in KINDS:
        live = None
        with without_monitors(kind):
            live = session.cluster.object(kind[0], release, group=kind[1])
        if live is None:
            continue
        if (live["metadata"].get("labels") or {}).get(RELEASE) != release or applied(live) is None:
            raise ReleaseExistsError(
                f"{live.get('kind') or kind[0]} {release} in namespace {session.settings.namespace} is not ours",
                hint="--release NAME",
            )
        found[kind] = live
    return found


def _is_as_wanted(session: Session, before: dict[tuple[str, str], Json]) -> bool:
    """Return whether the pods are made from what is wanted now."""
    deployment = before.get(DEPLOYMENTS)
    if deployment is None:
        return False
    wanted = manifest(session, service_task(deployment))
    return wanted.is_new(deployment["spec"]["template"]) and session.cluster.secret(wanted.keys_secret) == wanted.keys


def _judged(wanted: Manifest) -> Json:
    return {"restartPolicy": "Always", **wanted.pod_spec()}


def _apply(session: Session, wanted: Manifest, undo: Undo) -> bool:
    """Make the objects what they should be; return whether that changed anything."""
    undo.began = True
    changed = session.cluster.put_secret(wanted.keys_secret, wanted.keys)
    for kind, body in wanted.objects():
        if session.cluster.apply(kind[0], body, group=kind[1]):
            session.say(f"{body['kind']} {session.settings.release} is applied")
            changed = True
    if not wanted.values["serviceMonitor"] and MONITORS in undo.before:
        session.cluster.delete(MONITORS[0], session.settings.release, group=MONITORS[1])
        changed = True
    return changed


def _wait(session: Session, wanted: Manifest) -> float:
    try:
        return rollout.wait_until_ready(session, name=wanted.release, what="serving pod", is_new=wanted.is_new)
    except UserFacingError as error:
        raise proof.ready_error(error, session, wanted) from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"values file {path} cannot be read: {error}", hint="--values FILE") from error
