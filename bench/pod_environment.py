"""Where `bench.pod_start` measures: a cluster with the images in it, and on it one server and one agent at a time.

Everything here is made for a benchmark and removed with its block, also when that ends by Ctrl-C. A cluster that the
caller names is used as it is and only loses what was added to it.

Outside systems: `cluster`, the image builder, `localserver`, `python -m deploy`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from bench.declaration import BenchmarkError, Say
from clearml_access.agent_values import AgentValues
from clearml_access.api import Api
from clearml_access.caches import cache_folder
from cluster import cgroups, clusters, docker, native
from cluster.errors import CannotHostError
from cluster.layout import Layout
from deploy.kubernetes.cluster import Cluster
from deploy.session import Session
from deploy.settings import Settings
from images import build
from images.builders import find_builder

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "tests/charts/clearml-agent"
NAMESPACE = "bench-pod-start"
DEPLOY_TIMEOUT_S = 420
NICENESS = -15
SHARES = {"cpu.shares": "262144", "cpu.weight": "10000"}
"""A cgroup's share of the processors, by the setting's name in version 1 and 2, and its greatest value."""

STOCK_IMAGE = "docker.io/library/clearml-pods-bench-stock:1"  # a tag, or Kubernetes would pull it every time
STOCK_DOCKERFILE = "bench/stock/Dockerfile"


@dataclass(frozen=True)
class Place:
    """A cluster that holds all images, and this machine's address as its pods see it."""

    kubeconfig: str
    host_address: str
    stock_image: str


@dataclass(frozen=True)
class Agent:
    """A deployed agent: its server, and the namespace of its pods."""

    server: ClearmlServer
    cluster: Cluster


def cannot_host() -> str:
    """Return why this machine can hold no cluster of the benchmark's own; nothing where it can."""
    try:
        if docker.available() is None:
            native.require_host()
    except CannotHostError as error:
        return error.message
    return ""


@contextmanager
def own_cluster(name: str, archives: Path | None, precedence: bool, say: Say) -> Iterator[Place]:
    """Make a cluster and give it the images: those in `archives`, or new ones.

    With `precedence`, this process from now on, all that it starts and the cluster's pods come before other work on the
    machine's processors, as far as the kernel can give that.
    """
    layout = Layout.of(name, os.environ, Path.home())
    if precedence:
        os.nice(NICENESS)
    try:
        begun = time.monotonic()
        state = clusters.up(layout, lambda _: None)
        say(f"cluster {name}, Kubernetes {state.kubernetes}, is up after {time.monotonic() - begun:.0f} s")
        if precedence:
            _prefer(layout.cgroup)
        with tempfile.TemporaryDirectory(prefix="bench-images-") as folder:
            for archive in _archives(archives, Path(folder), say):
                begun = time.monotonic()
                names = clusters.load_image(layout, archive)
                say(f"{', '.join(names)} loaded in {time.monotonic() - begun:.0f} s")
        yield Place(str(state.kubeconfig), str(state.host_address), STOCK_IMAGE)
    finally:
        say(f"cluster {name} is removed")
        clusters.down(layout)


def _prefer(cgroup: str) -> None:
    """Give a cluster's pods together the greatest share of the processors that there is."""
    for hierarchy in cgroups.hierarchies():
        for setting, greatest in SHARES.items():
            if (hierarchy / cgroup / setting).exists():
                (hierarchy / cgroup / setting).write_text(greatest)


def _archives(given: Path | None, folder: Path, say: Say) -> Iterator[Path]:
    """Yield the three images' archives; a built one is dropped once the next is asked for."""
    builder = find_builder()
    cache = cache_folder(os.environ) / "images"
    known = build.images()
    wanted = {"task": known["task"], "agent": known["agent"], "stock": STOCK_IMAGE}
    base: str | None = None
    for target, image in wanted.items():
        if given and (given / f"{target}.tar").is_file():
            yield given / f"{target}.tar"
            continue
        begun = time.monotonic()
        base = base or build.ensure_debian_base(builder, cache)
        build.build(
            target,
            image,
            builder,
            base=base,
            index=os.environ.get("PIP_INDEX_URL"),
            ca=build.local_certificates(),
            dockerfile=STOCK_DOCKERFILE if target == "stock" else build.DOCKERFILE,
        )
        archive = (given or folder) / f"{target}.tar"
        archive.parent.mkdir(parents=True, exist_ok=True)
        build.save(builder, image, archive)
        say(f"{image}: {build.size_bytes(builder, image) / 1e6:.0f} MB, built in {time.monotonic() - begun:.0f} s")
        yield archive
        if not given:
            archive.unlink()


@contextmanager
def deployed(place: Place, values: dict[str, Any], poll_wait_s: float | None, say: Say) -> Iterator[Agent]:
    """Start a server and deploy an agent to it; both are gone afterwards."""
    own = {"LOCALSERVER_HOST": place.host_address}
    if poll_wait_s is not None:
        own["LOCALSERVER_POLL_WAIT_S"] = str(poll_wait_s)
    with tempfile.TemporaryDirectory(prefix="bench-pod-start-") as folder, _environment(own):
        layer = Path(folder) / "values.json"
        layer.touch(mode=0o600)  # an index's address may hold its password
        layer.write_text(json.dumps(values), encoding="utf-8")
        with running_server(Path(folder) / "server") as server:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("CLEARML_")}
            environ |= {"KUBECONFIG": place.kubeconfig, "CLEARML_CONFIG_FILE": str(server.data / "clearml.conf")}
            try:
                begun = time.monotonic()
                _deploy(environ, "install", "--chart", str(CHART), "--values", str(layer), "--no-canary")
                say(f"  server and agent are up after {time.monotonic() - begun:.0f} s")
                settings = Settings(namespace=NAMESPACE, kubeconfig=place.kubeconfig)
                yield Agent(server, Session(settings, environ).cluster)
            finally:
                _deploy(environ, "uninstall", "--yes", "--delete-namespace")


def _deploy(environ: dict[str, str], command: str, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy", command, "--namespace", NAMESPACE, *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEPLOY_TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise BenchmarkError(f"deploy {command} ended with {done.returncode}:\n{done.stderr[-3000:]}")


@contextmanager
def _environment(own: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def stock_values(image: str) -> dict[str, Any]:
    """Return values under which a task pod is made as a default agent makes it: image, root, pip.

    The pin stays, since a newer agent would not run with an open-source server at all.
    """
    index = os.environ.get("PIP_INDEX_URL")
    return {
        "agentk8sglue": {
            "defaultContainerImage": image,
            "basePodTemplate": {
                "podSecurityContext": None,
                "containerSecurityContext": None,
                "env": [{"name": "PIP_INDEX_URL", "value": index}] if index else [],
            },
        }
    }


def queue_id(api: Api) -> str:
    """Return the id of the queue that the agent serves.

    Raises:
        BenchmarkError: The server has no such queue.
    """
    name = AgentValues.load().queues[0]
    queue = api.queue(name)
    if queue is None:
        raise BenchmarkError(f"queue {name} does not exist on {api.api_url}")
    return queue.id
