"""Arranges what the service serves: its versions, their shares, and what follows the tag `best`.

Nothing here starts or asks a process: `pipeline.serving.lifecycle` does on this machine, `python -m deploy serve` in a
cluster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clearml_access import locks
from clearml_access.registered import Registered
from pipeline.amazon_reviews.training.predictor import Predictor
from pipeline.automation.search import BEST_TAG
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import UsageError
from pipeline.serving.errors import ServingError
from pipeline.serving.service import ControlPlane, Endpoint, Service
from pipeline.serving.settings import AUTO_UPDATE, ENDPOINT, SERVICE_NAME, ServingSettings

LOCK_TIMEOUT_S = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be served."""

    model_id: str
    predictor: Predictor
    """The same model, read here."""

    canary: float | None = None
    """The share of the requests that it gets beside the current version; None for all of them."""

    auto_update: bool = False
    """Serve each newer model with the tag `best` by itself; `model_id` is the newest of today."""


def register(
    server: ClearmlServer, plane: ControlPlane, settings: ServingSettings, wanted: Wanted, say: Say, *, route: bool
) -> Registered:
    """Make a model a version of the service; start nothing here.

    Args:
        server: The server that has the model.
        plane: Its control plane.
        settings: This machine's, for its lock.
        wanted: The model.
        say: Told what happens.
        route: Send requests without a version to it, too.

    Raises:
        ServingError: clearml-serving refuses.
        UsageError: As for `up`.
    """
    with lock(settings):
        found = ensure_service(plane, say)
        before, current = (found.configuration, found.hashes), found.current
        if wanted.auto_update:
            found = _follow(plane, found, say) if route else found
        elif route:
            found = arrange(plane, found, wanted, say)
        else:
            _require_possible(found, wanted)
            found, _ = _add(plane, found, wanted, say)
    added = None if wanted.auto_update else found.of_model(wanted.model_id)
    alone = route and wanted.canary is None
    paths = ((added.url,) if added else ()) + ((ENDPOINT,) if alone else ())
    (prediction,) = wanted.predictor.predict([sample_text(wanted.predictor)])
    return Registered(
        service_id=found.id,
        page=server.task_page(found.project, found.id),
        version=added.version if added else "",
        paths=paths,
        model_id=wanted.model_id,
        changed=before != (found.configuration, found.hashes),
        request={"text": sample_text(wanted.predictor)},
        label=prediction.label,
        probability=prediction.probability,
        previous_model_id=current.model_id if current else None,
    )


def ensure_service(plane: ControlPlane, say: Say) -> Service:
    """Return the service; make it if there is none."""
    found = plane.find()
    if found is not None:
        return found
    say(f"Making the service {SERVICE_NAME}")
    return plane.create()


def arrange(plane: ControlPlane, found: Service, wanted: Wanted, say: Say) -> Service:
    """Bring the service to what is wanted."""
    if wanted.auto_update:
        return _follow(plane, found, say)
    _require_possible(found, wanted)
    current = found.current
    found, endpoint = _add(plane, found, wanted, say)
    shares = {endpoint.url: 1.0}
    if wanted.canary is not None and current is not None:
        shares = {current.url: 1 - wanted.canary, endpoint.url: wanted.canary}
    if found.auto_update or {url: round(share, 6) for url, share in found.shares.items()} != shares:
        followed = found.auto_update
        plane.split(found, shares)
        if followed and wanted.canary is None:
            plane.unfollow(found)
        found = _again(plane)
    return found


def _follow(plane: ControlPlane, found: Service, say: Say) -> Service:
    """Send the requests to the newest model with the tag, now and later."""
    artifacts = [item.artifact for item in found.endpoints.values() if item.url.startswith(f"{AUTO_UPDATE}/")]
    if found.auto_update and all(map(found.has_code, artifacts)):
        return found
    say(f"Serving the newest model with the tag {BEST_TAG}, now and later")
    plane.follow_best(found)
    return _again(plane)


def _require_possible(found: Service, wanted: Wanted) -> None:
    """Refuse a canary that has nothing to stand beside.

    Raises:
        UsageError: There is no current version, or the model is that version.
    """
    if wanted.canary is None:
        return
    if found.current is None:
        raise UsageError("no model is served that a canary could stand beside", hint="./task serve-model")
    if found.current.model_id == wanted.model_id:
        raise UsageError(
            f"model {wanted.model_id} is the current version already, and cannot be its own canary",
            hint="train another one (./task fit-model), or name one: --model ID",
        )


def _add(plane: ControlPlane, found: Service, wanted: Wanted, say: Say) -> tuple[Service, Endpoint]:
    """Give the model an address of its own, with this package's code."""
    endpoint = found.of_model(wanted.model_id)
    if endpoint is None or not found.has_code(endpoint.artifact):
        version = endpoint.version if endpoint else found.next_version()
        say(f"Adding model {wanted.model_id} as version {version}")
        plane.add(found, version, wanted.model_id)
        found = _again(plane)
        endpoint = found.of_model(wanted.model_id)
    if endpoint is None:
        raise ServingError(f"clearml-serving did not add model {wanted.model_id}", hint="./task serve-model again")
    return found, endpoint


def _again(plane: ControlPlane) -> Service:
    found = plane.find()
    if found is None:
        raise ServingError("the service was removed meanwhile", hint="./task serve-model")
    return found


def sample_text(predictor: Predictor) -> str:
    """Return a text that the model knows: the terms that weigh most for each class."""
    model = predictor.model
    lean = model.weights[:, 1] - model.weights[:, 0]
    places = dict.fromkeys((int(lean.argmax()), int(lean.argmin())))
    return " ".join(model.terms[place] for place in places)


@contextlib.contextmanager
def lock(settings: ServingSettings) -> Iterator[None]:
    """Let one command that changes what is served run at a time."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locks.within(settings.folder / "serving.lock", LOCK_TIMEOUT_S) as held:
        if not held:
            raise ServingError(
                f"another command changes what is served from {settings.folder}", hint="try again in a minute"
            )
        yield
