"""The real cluster and the real images that the end-to-end tests share: made once a session, removed with it.

They are required where CI says so (`CI` or `E2E_REQUIRED`); elsewhere a machine that cannot hold a cluster leaves these
tests out and says why.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from cluster import docker, native
from cluster.errors import CannotHostError
from tests.api_client import ApiClient
from tests.e2e import machine
from tests.e2e.cluster_cli import ClusterCli
from tests.e2e.deployer import Deployer
from tests.e2e.images import build_images, load_images

REQUIRED = bool(os.environ.get("CI") or os.environ.get("E2E_REQUIRED"))
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request would bury the stages


@pytest.fixture(scope="session")
def states() -> Iterator[Path]:
    """Where the session's clusters keep their state: a short path, for their sockets."""
    try:
        if docker.available() is None:
            native.require_host()
    except CannotHostError as error:
        if REQUIRED:
            raise
        pytest.skip(f"LEFT OUT, no cluster can be made here: {error.message}")
    folder = Path("/tmp") / f"clusters-{os.getpid()}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def image_archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both images, built from this tree."""
    return build_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def cluster_with_images(request: pytest.FixtureRequest) -> Iterator[ClusterCli]:
    """A running cluster that has both images; `E2E_CLUSTER` names one that is there, to save making it."""
    if name := os.environ.get("E2E_CLUSTER"):
        yield ClusterCli(name)
        return
    cluster = ClusterCli("images", request.getfixturevalue("states"))
    archives: dict[str, Path] = request.getfixturevalue("image_archives")
    cluster.up()
    load_images(cluster, archives)
    yield cluster
    cluster.down()
    if docker.available() is None:
        # Nothing is left of it, nor of what the tests started with its kubeconfig.
        for mark in (cluster.layout.link, str(cluster.layout.state)):
            left = {what: found for what, found in machine.named(mark).items() if found}
            assert left == {}


@pytest.fixture(scope="session")
def reachable_server(
    cluster_with_images: ClusterCli, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClearmlServer]:
    """A server that pods reach: it listens on this machine's end of the node's link."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALSERVER_HOST", cluster_with_images.run("status")["host_address"])
        with running_server(tmp_path_factory.mktemp("server") / "data") as server:
            yield server


@pytest.fixture(scope="session")
def deploy(cluster_with_images: ClusterCli, reachable_server: ClearmlServer) -> Iterator[Deployer]:
    """The command line, and one namespace for it; what it leaves is removed at the end."""
    deployer = Deployer(cluster_with_images, reachable_server)
    yield deployer
    deployer.run("uninstall", "--yes", "--delete-namespace")


@pytest.fixture
def installed(deploy: Deployer) -> Deployer:
    """An agent that is there and works, whatever the test before did to it."""
    deploy.run("install", "--no-canary")
    return deploy


@pytest.fixture
def present(deploy: Deployer) -> Deployer:
    """An agent that works, with whatever settings: for tests that begin with an install of their own."""
    if not deploy.works():
        deploy.run("install", "--no-canary")
    return deploy


@pytest.fixture(scope="session")
def api(reachable_server: ClearmlServer) -> Iterator[ApiClient]:
    """A client of that server."""
    client = ApiClient(reachable_server.api_url, reachable_server.credentials)
    yield client
    client.close()
