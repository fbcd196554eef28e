"""The adapter for clearml-serving's control plane: a service task on the server, whose configuration names endpoints.

It is changed by clearml-serving's own command line, in that package's environment, and read over the API. Outside
systems: `python -m clearml_serving`, the ClearML server.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearml_access.api import literal
from clearml_access.sdk_parser import config_factory
from command_line import children
from pipeline.amazon_reviews.definitions import PROJECT
from pipeline.automation.search import BEST_TAG
from pipeline.clearml_server import ClearmlServer
from pipeline.local_stack.configuration import UNWANTED
from pipeline.serving.errors import ServingError
from pipeline.serving.settings import AUTO_UPDATE, ENDPOINT, SERVICE_NAME

SYSTEM_TAG = "serving-control-plane"
CODE = Path(__file__).with_name("preprocess.py")
COMMAND_TIMEOUT_S = 180.0
GRACE_S = 20.0
FOLLOWED_TIMEOUT_S = 30.0
"""Ten times the pause between two looks of an inference process. One that was killed leaves its service in progress."""

POLL_S = 0.5
SYNCED = ("endpoints", "canary", "model_monitoring")
"""What an inference process copies to its own task as soon as it works by it."""

FOREIGN_TASK = ("CLEARML_TASK_ID", "TRAINS_TASK_ID", "CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID")
"""By these the SDK takes a process for a part of another one's task."""


@dataclass(frozen=True)
class Endpoint:
    """A model at an address of its own."""

    url: str
    """Below `/serve/`, such as `reviews/1`."""

    version: str
    model_id: str
    artifact: str
    """The service's artifact with its code."""


@dataclass(frozen=True)
class Service:
    """The control plane as the server has it."""

    id: str
    project: str
    status: str
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    """By address; those that clearml-serving made for models with a tag have addresses of their own."""

    shares: Mapping[str, float] = field(default_factory=dict)
    """Address → the share of the requests to `ENDPOINT` that it answers."""

    auto_update: bool = False
    """Whether requests to `ENDPOINT` go to the newest model with the tag."""

    hashes: Mapping[str, str] = field(default_factory=dict)
    """Artifact → digest of its file."""

    configuration: Mapping[str, str] = field(default_factory=dict)

    @property
    def current(self) -> Endpoint | None:
        """The endpoint that answers most requests to `ENDPOINT`."""
        url = max(self.shares, key=lambda url: self.shares[url], default=None)
        return self.endpoints.get(url) if url else None

    def of_model(self, model_id: str) -> Endpoint | None:
        """Return the endpoint that a person added for a model."""
        added = (found for found in self.endpoints.values() if found.url.startswith(f"{ENDPOINT}/"))
        return next((found for found in added if found.model_id == model_id), None)

    def next_version(self) -> str:
        """Return the version of the next endpoint."""
        taken = [int(found.version) for found in self.endpoints.values() if found.version.isdecimal()]
        return str(max(taken, default=0) + 1)

    def has_code(self, artifact: str) -> bool:
        """Return whether an artifact is the code that this package has."""
        return self.hashes.get(artifact) == code_digest()


class ControlPlane:
    """Reads and changes the service."""

    def __init__(self, server: ClearmlServer, python: Path, environ: Mapping[str, str]) -> None:
        """Use a server by an interpreter that has clearml-serving."""
        self._server = server
        self._python = python
        self._environ = own_environment(environ)

    def find(self) -> Service | None:
        """Return the newest service of this project; None if there is none."""
        return find(self._server)

    def create(self) -> Service:
        """Make the service.

        Raises:
            ServingError: clearml-serving refuses.
        """
        said = self._run("create", "--name", SERVICE_NAME, "--project", PROJECT)
        found = self.find()
        if found is None:
            raise ServingError("clearml-serving made no service", evidence=tuple(said.splitlines()[-5:]))
        return found

    def add(self, service: Service, version: str, model_id: str) -> None:
        """Serve a model as a version of `ENDPOINT`, with this package's code."""
        self._run(
            *("--id", service.id, "model", "add", "--engine", "custom", "--endpoint", ENDPOINT),
            *("--version", version, "--model-id", model_id, "--preprocess", str(CODE)),
        )

    def split(self, service: Service, shares: Mapping[str, float]) -> None:
        """Divide the requests to `ENDPOINT` among addresses."""
        self._run(
            *("--id", service.id, "model", "canary", "--endpoint", ENDPOINT),
            *("--weights", *(f"{share:g}" for share in shares.values()), "--input-endpoints", *shares),
        )

    def follow_best(self, service: Service) -> None:
        """Serve the newest published model with the tag, from now on; all requests to `ENDPOINT` go there."""
        self._run(
            *("--id", service.id, "model", "auto-update", "--engine", "custom", "--endpoint", AUTO_UPDATE),
            *(
                "--max-versions",
                "1",
                "--tags",
                BEST_TAG,
                "--project",
                PROJECT,
                "--published",
                "--preprocess",
                str(CODE),
            ),
        )
        self._await_followed()
        self._run(
            *("--id", service.id, "model", "canary", "--endpoint", ENDPOINT),
            *("--weights", "1.0", "--input-endpoint-prefix", f"{AUTO_UPDATE}/"),
        )

    def _await_followed(self) -> None:
        """Wait until an inference process, if one runs, has written which models it follows.

        It writes them once. The SDK writes a configuration object by reading all of them and writing all back, so that
        of two processes that do so at one moment one loses what it wrote.
        """
        deadline = time.monotonic() + FOLLOWED_TIMEOUT_S
        while (found := self.find()) is not None and found.status == "in_progress":
            if any(url.startswith(f"{AUTO_UPDATE}/") for url in found.endpoints) or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)

    def unfollow(self, service: Service) -> None:
        """End what `follow_best` began."""
        self._run("--id", service.id, "model", "remove", "--endpoint", AUTO_UPDATE)

    def _run(self, *words: str) -> str:
        command = [str(self._python), "-m", "clearml_serving", "--yes", *words]
        shown = " ".join(word for word in words if word != str(CODE))
        try:
            # One that is killed in its middle leaves half of a service.
            done = children.run(
                command, env=self._environ, timeout_s=COMMAND_TIMEOUT_S, grace_s=GRACE_S, tell=False,
                folder=self._python.parent,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ServingError(
                f"clearml-serving did not end within {COMMAND_TIMEOUT_S:.0f} s: {shown}", hint="./task doctor"
            ) from error
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise ServingError(f"clearml-serving failed: {shown}", hint="./task doctor", evidence=tuple(lines[-10:]))
        return done.stdout


def find(server: ClearmlServer, service_id: str = "") -> Service | None:
    """Return a service by its task, or the newest one of this project; None if there is none."""
    fields = ["status", "project", "configuration", "execution.artifacts"]
    if service_id:
        found = server.tasks(fields, id=[service_id])
        return _service(found[0]) if found else None
    projects = server.call("projects.get_all", name=f"^{literal(PROJECT)}$", only_fields=["id"])["projects"]
    if not projects:
        return None
    found = server.tasks(
        fields,
        project=[row["id"] for row in projects],
        name=f"^{literal(SERVICE_NAME)}$",
        type=["service"],
        system_tags=["__$all", SYSTEM_TAG, "__$not", "archived"],
        order_by=["-created"],
    )
    return _service(found[0]) if found else None


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of clearml-serving: what says where the server is stays."""
    return {name: value for name, value in environ.items() if name not in UNWANTED and name not in FOREIGN_TASK}


def code_digest() -> str:
    """Return the digest of an endpoint's code, as the SDK notes it with an artifact."""
    return hashlib.sha256(CODE.read_bytes()).hexdigest()


def configuration_of(task: Mapping[str, Any]) -> dict[str, str]:
    """Return the configuration objects of a task, by name."""
    objects: Mapping[str, Any] = task.get("configuration") or {}
    return {name: str(item.get("value") or "") for name, item in objects.items()}


def is_synced(service: Service, instance: Mapping[str, Any]) -> bool:
    """Return whether an inference process works by what the service says."""
    copied = configuration_of(instance)
    return all(_meaning(copied.get(name, "")) == _meaning(service.configuration.get(name, "")) for name in SYNCED)


def _service(task: Mapping[str, Any]) -> Service:
    configuration = configuration_of(task)
    read = {name: _parsed(configuration.get(name, "")) for name in (*SYNCED, "model_monitoring_eps")}
    endpoints = {url: _endpoint(url, item) for url, item in read["endpoints"].items()}
    if AUTO_UPDATE in read["model_monitoring"]:
        endpoints |= {url: _endpoint(url, item) for url, item in read["model_monitoring_eps"].items()}
    route: Mapping[str, Any] = read["canary"].get(ENDPOINT) or {}
    prefix = str(route.get("load_endpoint_prefix") or "")
    urls = [url for url in endpoints if url.startswith(prefix)][-1:] if prefix else route.get("load_endpoints") or []
    weights = [float(weight) for weight in route.get("weights") or []]
    whole = sum(weights[: len(urls)]) or 1.0
    artifacts = (task.get("execution") or {}).get("artifacts") or []
    return Service(
        id=str(task["id"]),
        project=str(task.get("project") or ""),
        status=str(task.get("status") or ""),
        endpoints=endpoints,
        shares={str(url): weight / whole for url, weight in zip(urls, weights, strict=False)},
        auto_update=bool(prefix),
        hashes={str(item.get("key")): str(item.get("hash") or "") for item in artifacts},
        configuration=configuration,
    )


def _meaning(text: str) -> dict[str, dict[str, Any]]:
    """Return a configuration object without what is empty: a process writes defaults that the command line left out."""
    return {
        name: {key: value for key, value in item.items() if value not in (None, "", [])}
        for name, item in _parsed(text).items()
    }


def _endpoint(url: str, item: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        url,
        str(item.get("version") or ""),
        str(item.get("model_id") or ""),
        str(item.get("preprocess_artifact") or ""),
    )


def _parsed(text: str) -> dict[str, Any]:
    """Return a configuration object, which the SDK writes as HOCON."""
    if not text.strip():
        return {}
    found = config_factory().parse_string(text)
    whole: dict[str, Any] = found.as_plain_ordered_dict()
    return {re.sub(r'^"|"$', "", name): value for name, value in whole.items()}
