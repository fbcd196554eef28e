"""`python -m pipeline serve up|status|down`: a model behind HTTP. Prints; the work is in `pipeline.serving`."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from command_line.options import TASK_ID, Group, Number, as_json, examples
from pipeline.commands.connection import connect
from pipeline.commands.machine import NOT_COMPLETE
from pipeline.errors import UsageError
from pipeline.serving.settings import ENDPOINT, ServingSettings

if TYPE_CHECKING:
    from pipeline.clearml_server import ClearmlServer
    from pipeline.serving.arrangement import Wanted
    from pipeline.serving.lifecycle import Served
    from pipeline.serving.service import ControlPlane
    from pipeline.serving.status import ServedModel, Status


def _which(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which model is served."""
    for option in (
        click.option(
            "--auto-update",
            is_flag=True,
            help="Serve the newest model with the tag best, and each newer one as soon as it has the tag.",
        ),
        click.option(
            "--canary",
            type=Number(0, 1, min_open=True, max_open=True),
            metavar="SHARE",
            help="Give the model this share of the requests; the current version keeps the others.",
        ),
        click.option(
            "--model", "model_id", metavar="ID", help="The model to serve.  [default: the newest published one]"
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def serve() -> None:
    """Serve a published model over HTTP on this machine with clearml-serving, and show what is served."""


@serve.command("up")
@_which
@as_json
@examples("./task serve-model", "python -m pipeline serve up --canary 0.1")
def up(model_id: str | None, canary: float | None, auto_update: bool, as_json: bool) -> None:
    """Serve a published model on this machine, and prove it by a request; leave alone what runs as it should.

    The model becomes a version of the endpoint reviews: /serve/reviews/VERSION always answers with it, and
    /serve/reviews with the current version. Serving a version again makes it the current one.

    The first call makes a Python environment for clearml-serving from its own lock file.
    """

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    done = serve_model(say, model_id=model_id, canary=canary, auto_update=auto_update)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    for line in lines_of(done):
        click.echo(line)


def serve_model(
    say: Callable[[str], None],
    *,
    model_id: str | None = None,
    canary: float | None = None,
    auto_update: bool = False,
) -> Served:
    """Serve a model of the configured server.

    Args:
        say: Told what happens.
        model_id: The model; default: the newest published one.
        canary: The share of the requests that it gets; None for all.
        auto_update: Serve the newest model with the tag `best`, and its successors.

    Raises:
        ModelError: There is no such model, or it is not one that this version reads.
        ServingEnvironmentError: The environment of clearml-serving cannot be made.
        ServingError: clearml-serving does not serve it.
    """
    settings = ServingSettings.from_environ(os.environ)
    from pipeline.serving import process
    from pipeline.serving.lifecycle import up as serve_up

    python, server, plane, wanted = _wanted(say, model_id, canary, auto_update=auto_update)
    try:
        return serve_up(server, plane, settings, python, os.environ, wanted, say)
    except KeyboardInterrupt:
        if process.find(settings) is not None:
            say("The inference process goes on. End it: ./task serve-down")
        raise


def _wanted(
    say: Callable[[str], None], model_id: str | None, canary: float | None, *, auto_update: bool, is_new: bool = True
) -> tuple[Path, ClearmlServer, ControlPlane, Wanted]:
    """Return an interpreter that has clearml-serving, the server, its control plane, and the model to serve.

    Args:
        say: Told what happens.
        model_id: The model; None for the newest.
        canary: Its share of the requests; None for all.
        auto_update: Serve the newest model with the tag `best`, and its successors.
        is_new: Say which model it is: not so where an earlier call has said it.

    Raises:
        UsageError: The options contradict each other.
        ModelError: There is no such model, or it is not one that this version reads.
        ServingEnvironmentError: The environment of clearml-serving cannot be made.
    """
    if auto_update and (model_id or canary):
        raise UsageError(
            f"--auto-update chooses the model itself, so {'--model' if model_id else '--canary'} says nothing",
            hint="leave one of them out",
        )
    if model_id and not TASK_ID.fullmatch(model_id):
        raise UsageError(
            f"--model {model_id!r} is not an id: 32 characters out of 0-9 and a-f", hint="see the page of the model"
        )
    server = connect(say).server
    from pipeline.amazon_reviews.definitions import PROJECT
    from pipeline.amazon_reviews.model import registry
    from pipeline.amazon_reviews.model.fit_model import FIT_MODEL
    from pipeline.amazon_reviews.training.errors import ModelError
    from pipeline.automation.search import BEST_TAG
    from pipeline.serving.arrangement import Wanted
    from pipeline.serving.service import ControlPlane

    if auto_update:
        try:
            model_id = registry.newest(project=PROJECT, tags=[BEST_TAG])
        except ModelError as error:
            hint = f"./task tune sets the tag {BEST_TAG}; or leave out --auto-update: the newest model is served"
            raise ModelError(error.message, hint=hint) from error
    model_id = model_id or server.newest_model(PROJECT, FIT_MODEL.name)
    if model_id is None:
        raise ModelError(
            f"project {PROJECT!r} of {server.api_url} has no published model to serve",
            hint="./task run-full-pipeline trains and publishes one",
        )
    wanted = Wanted(model_id, registry.load(model_id), canary, auto_update)
    if is_new:
        say(_chosen(server, model_id))
    python = make_environment(say)
    return python, server, ControlPlane(server, python, os.environ), wanted


def _chosen(server: ClearmlServer, model_id: str) -> str:
    """Return which model is served: its name, its run and its age."""
    from clearml_access.tasks import moment
    from pipeline.serving.status import origin_of

    origin = origin_of(server, model_id)
    made = moment(origin.created)
    facts = [
        f"of run {origin.run_id}" if origin.run_id else "",
        f"made {age(time.time() - made)} ago" if made else "",
    ]
    return f"Model {model_id} ({', '.join(filter(None, [origin.name, *facts])) or 'of unknown origin'})"


def age(seconds: float) -> str:
    """Return a time as a person says it: in the largest unit of which there are two."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def make_environment(say: Callable[[str], None]) -> Path:
    """Make the Python environment of clearml-serving unless it is there; return its interpreter.

    Raises:
        ServingEnvironmentError: It cannot be made.
    """
    from pipeline.serving import environment

    return environment.ensure(ServingSettings.from_environ(os.environ).python, os.environ, say)


def lines_of(done: Served) -> list[str]:
    """Return what a person is told of a model that is served."""
    (prediction,) = done.answer["predictions"]
    curl = f"curl -d {shlex.quote(json.dumps(done.request))} {done.version_url}"
    lines = [] if done.started or done.changed else ["It is served already."]
    lines += [
        f"Model {done.model_id} is version {done.version}: {done.version_url}",
        f"Requests to {done.url} go to it: {done.share:.0%}",
        f"First request: {prediction['label']}, probability {prediction['probability']:.4f}, as the model itself says",
        f"Ask it: {curl}",
        f"On the server: {done.page}",
        "End it: ./task serve-down",
    ]
    return lines


@serve.command("register")
@_which
@click.option("--route/--no-route", default=True, help="Send the requests without a version to it, too.")
@as_json
@examples("python -m pipeline serve register --json", "python -m pipeline serve register --no-route")
def register(model_id: str | None, canary: float | None, auto_update: bool, route: bool, as_json: bool) -> None:
    """Make a published model a version of the service, for processes that run elsewhere; start nothing here.

    ./task deploy-serve does so for pods.
    """

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    from pipeline.serving.arrangement import register as serve_register

    is_new = not (route and model_id)  # ./task deploy-serve calls first without a route
    _, server, plane, wanted = _wanted(say, model_id, canary, auto_update=auto_update, is_new=is_new)
    settings = ServingSettings.from_environ(os.environ)
    done = serve_register(server, plane, settings, wanted, say, route=route)
    if as_json:
        click.echo(json.dumps(done.as_json()))
    else:
        click.echo(f"Model {done.model_id} is served by service {done.service_id} at {', '.join(done.paths)}")


@serve.command("down")
@as_json
@examples("./task serve-down", "python -m pipeline serve down")
def down(as_json: bool) -> None:
    """End the inference process of this machine; its endpoints stay on the server for the next serve-model."""
    from pipeline.serving.lifecycle import down as serve_down

    ended = serve_down(ServingSettings.from_environ(os.environ), _server)
    if as_json:
        click.echo(json.dumps(asdict(ended)))
    elif ended.had_ended:
        click.echo("The inference process had ended without serve-down. The server is told so, if it answers.")
    else:
        click.echo("Stopped: the inference process." if ended.stopped else "Nothing was served.")


@serve.command("status")
@as_json
@examples("./task serve-status", "python -m pipeline serve status --json")
def status(as_json: bool) -> int:
    """Show what is served: each version with its model, its share, and the run and dataset that it comes from.

    The exit code is 3 unless the inference process answers.
    """
    from pipeline.serving.status import status as serve_status

    found = serve_status(ServingSettings.from_environ(os.environ), _server)
    click.echo(json.dumps(found.as_json()) if as_json else _text(found))
    return 0 if found.complete else NOT_COMPLETE


@serve.command("models")
@click.option("--service", "service_id", required=True, metavar="ID", help="The task of the service.")
@click.option("--address", required=True, metavar="URL", help="Where its endpoints answer, such as http://host/serve.")
@as_json
@examples("python -m pipeline serve models --service ID --address http://host:8082/serve --json")
def models(service_id: str, address: str, as_json: bool) -> None:
    """Show the models of a service that processes elsewhere serve.

    ./task deploy-serve -- --status does so for pods.
    """
    from pipeline.serving.errors import ServingError
    from pipeline.serving.service import find
    from pipeline.serving.status import models_of

    server = _server()
    found = find(server, service_id)
    if found is None:
        raise ServingError(
            f"service {service_id} is not on {server.api_url}", hint="./task serve-model or ./task deploy-serve"
        )
    listed = models_of(server, found, address.rstrip("/"))
    if as_json:
        rows = [asdict(model) for model in listed]
        click.echo(json.dumps({"status": found.status, "auto_update": found.auto_update, "models": rows}))
    else:
        click.echo("\n".join(line for model in listed for line in model_lines(model)))


def _server() -> ClearmlServer:
    """Connect to the configured server, or to this machine's own if it runs; start none."""
    from clearml_access import credentials, own_server
    from pipeline.clearml_server import ClearmlServer

    if not credentials.is_configured(os.environ):
        own = own_server.configuration(own_server.state_folder(os.environ))
        os.environ["CLEARML_CONFIG_FILE"] = str(own)
    return ClearmlServer.connect()


def _text(found: Status) -> str:
    if found.pid is None:
        lines = ["Process:  not running (start it: ./task serve-model)"]
    else:
        state = "answers" if found.answers else f"does not answer (log: {found.log})"
        lines = [f"Process:  pid {found.pid}, {state}, started {found.since}", f"Address:  {found.address}/{ENDPOINT}"]
    if found.problem:
        lines.append(f"Problem:  {found.problem}")
    if found.page:
        lines.append(f"Service:  {found.page}")
    if found.auto_update:
        lines.append("Update:   to each newer model with the tag best")
    lines += [line for model in found.models for line in model_lines(model)]
    return "\n".join(lines)


def model_lines(model: ServedModel) -> list[str]:
    """Return what a person is told of a model that a service has."""
    facts: dict[str, Any] = {
        "from task": model.task_id,
        "of run": model.run_id,
        "trained on version": model.datasets.get("train"),
        "served since": model.since,
    }
    name, origin = model.name, ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    if model.is_deleted:
        name = "deleted from the server"
        origin = "a process that starts now cannot load it; serve another: ./task serve-model -- --model ID"
    return [
        f"Version:  {model.version:<6} {model.share:>4.0%} of the requests, model {model.model_id} ({name})",
        f"          {origin or 'of unknown origin'}",
    ]
