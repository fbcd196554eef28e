"""Serve a model on this machine, and end it. What is served, `pipeline.serving.status` tells."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearml_access import processes
from clearml_access.errors import CallRefusedError, UserFacingError
from pipeline.amazon_reviews.training.predictor import Prediction
from pipeline.clearml_server import ClearmlServer
from pipeline.provenance import source_digest
from pipeline.serving import process, service
from pipeline.serving.arrangement import Say, Wanted, arrange, ensure_service, lock, sample_text
from pipeline.serving.client import ask
from pipeline.serving.errors import ServingError
from pipeline.serving.service import ControlPlane, Endpoint, Service
from pipeline.serving.settings import ENDPOINT, SERVICE_NAME, ServingSettings

START_TIMEOUT_S = 180.0
POLL_S = 0.5
INSTANCE = "serve instance"


@dataclass(frozen=True)
class Served:
    """What `up` has done."""

    url: str
    """Where the current version answers."""

    version_url: str
    """Where this model answers, whatever the current version is."""

    version: str
    model_id: str
    share: float
    service_id: str
    page: str
    started: bool
    """Whether the process had to be started."""

    changed: bool
    """Whether the service had to be changed."""

    request: Mapping[str, Any]
    """The first request; `answer` came back, and is what the model itself says."""

    answer: Mapping[str, Any]


def up(
    server: ClearmlServer, plane: ControlPlane, settings: ServingSettings, python: Path, environ: Mapping[str, str],
    wanted: Wanted, say: Say,
) -> Served:  # fmt: skip
    """Serve a model: leave alone what is as it is to be, change the rest, and prove it by a request.

    Args:
        server: The server that has the model.
        plane: Its control plane.
        settings: This machine's.
        python: An interpreter that has clearml-serving.
        environ: Environment of the process.
        wanted: The model.
        say: Told what happens.

    Raises:
        ServingError: clearml-serving refuses, the process does not start, or it answers otherwise than the model.
        UsageError: There is no current version to put a canary beside, or the model is that version.
    """
    with lock(settings):
        _require_same_server(server, settings)
        found = ensure_service(plane, say)
        before = found.configuration, found.hashes
        found = arrange(plane, found, wanted, say)
        started = _ensure_process(server, settings, found, python, environ, say)
        try:
            return _prove(
                server, settings, found, wanted, started=started, changed=before != (found.configuration, found.hashes)
            )
        except ServingError:
            if started:
                process.stop(settings)
            raise


@dataclass(frozen=True)
class Ended:
    """What `down` found."""

    stopped: list[str]
    """What was running."""

    had_ended: bool = False
    """Whether the process had been killed before, so that nobody had told the server."""


def down(settings: ServingSettings, server: Callable[[], ClearmlServer]) -> Ended:
    """End the process, and tell the server that nothing is served here any more.

    Args:
        settings: This machine's.
        server: Connects to the server, which is told that nothing is served here any more.

    Raises:
        StopError: The process does not end.
    """
    if process.find(settings) is None and not settings.folder.exists():
        return Ended([])
    with lock(settings):
        noted = process.last_facts(settings)
        address = process.address(settings, noted)
        stopped = process.stop(settings)
        if noted:
            with contextlib.suppress(UserFacingError):  # the process has ended; a server that is gone shows nothing
                _sign_off(server(), noted, address)
        return Ended(["serving"] if stopped else [], had_ended=bool(noted) and not stopped)


def _require_same_server(server: ClearmlServer, settings: ServingSettings) -> None:
    there = process.facts(settings).get("server", server.api_url)
    if there != server.api_url:
        raise ServingError(
            f"models of {there} are served here, and the configured server is {server.api_url}",
            hint="./task serve-down, then the same command again",
        )


def _ensure_process(
    server: ClearmlServer, settings: ServingSettings, found: Service, python: Path, environ: Mapping[str, str], say: Say
) -> bool:
    """Start the process unless it runs with this code; return whether it had to be."""
    code = f"{source_digest()} {service.code_digest()}"
    noted = process.facts(settings)
    if noted.get("service") == found.id and noted.get("code") == code:
        return False
    if noted:
        say("The code has changed, or the service is another one: restarting the inference process")
    say("Starting the inference process")
    noted = {"server": server.api_url, "code": code}
    process.start(
        settings, environ, python=python, service=found.id, instance=_instance(server, settings, found), noted=noted
    )
    return True


def _instance(server: ClearmlServer, settings: ServingSettings, found: Service) -> str:
    """Return the task that shows the process: the same one for each start on this machine."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = settings.folder / "instance"
    known = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    if known and server.task(known, ["status"]) is not None:
        return known
    made = str(
        server.call("tasks.create", name=f"{SERVICE_NAME} - {INSTANCE}", type="inference", project=found.project)["id"]
    )
    path.write_text(made, encoding="ascii")
    return made


def _prove(
    server: ClearmlServer, settings: ServingSettings, found: Service, wanted: Wanted, *, started: bool, changed: bool
) -> Served:
    """Wait until the process works by the service, then compare an answer with what the model says here."""
    address, deadline = process.address(settings), time.monotonic() + START_TIMEOUT_S
    noted = process.facts(settings)
    request = {"text": sample_text(wanted.predictor)}
    seen = "nothing"
    while True:
        if process.find(settings) is None:
            raise ServingError(
                "the inference process has ended", hint="./task serve-model", evidence=processes.tail(settings.log)
            )
        found = service.find(server) or found
        endpoint = _endpoint_of(found, wanted)
        instance = server.task(noted.get("instance", ""), ["configuration"])
        if endpoint is not None and instance is not None and service.is_synced(found, instance):
            url = f"{address}/{endpoint.url}"
            answer = ask(url, request)
            if answer.status == 200:
                break
            seen = answer.reason
            if answer.status == 422:
                raise ServingError(
                    f"{url} refuses the first request: {seen.splitlines()[0]}",
                    hint=f"look at {settings.log}",
                    evidence=processes.tail(settings.log),
                )
        if time.monotonic() > deadline:
            raise ServingError(
                f"{address} did not serve model {wanted.model_id} within {START_TIMEOUT_S:.0f} s; last: {seen}",
                hint=f"./task serve-down, then the same command again; the log is {settings.log}",
                evidence=processes.tail(settings.log),
            )
        time.sleep(POLL_S)
    _compare(answer.body, wanted, url)
    return Served(
        url=f"{address}/{ENDPOINT}",
        version_url=url,
        version=endpoint.version,
        model_id=wanted.model_id,
        share=found.shares.get(endpoint.url, 0.0),
        service_id=found.id,
        page=server.task_page(found.project, found.id),
        started=started,
        changed=changed,
        request=request,
        answer=answer.body,
    )


def _endpoint_of(found: Service, wanted: Wanted) -> Endpoint | None:
    if not wanted.auto_update:
        return found.of_model(wanted.model_id)
    return found.current if found.current and found.current.model_id == wanted.model_id else None


def _compare(body: Mapping[str, Any], wanted: Wanted, url: str) -> None:
    """Refuse an answer that is not the model's own."""
    (expected,) = wanted.predictor.predict([sample_text(wanted.predictor)])
    predictions = body.get("predictions") or [{}]
    found = (predictions[0].get("label"), predictions[0].get("probability"), body.get("model_id"))
    if found != (expected.label, expected.probability, wanted.model_id):
        raise ServingError(
            f"{url} answers {found[0]} ({found[1]}) by model {found[2]}; "
            f"model {wanted.model_id} itself says {_words(expected)}",
            hint="the text code of the inference process is another one: ./task serve-down && ./task serve-model",
        )


def _words(prediction: Prediction) -> str:
    return f"{prediction.label} ({prediction.probability})"


def _sign_off(server: ClearmlServer, noted: Mapping[str, str], address: str) -> None:
    """Tell the server that nothing answers at the address any more."""
    if server.api_url != noted.get("server"):
        return
    reason = "./task serve-down"
    with contextlib.suppress(CallRefusedError):  # it has been deleted, or has ended by itself
        server.call("tasks.stopped", task=noted.get("instance"), force=True, status_reason=reason)
    server.end_serving(address, noted.get("service", ""), reason)
