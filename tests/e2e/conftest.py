"""The real cluster and the real images that the end-to-end tests share: made once a session, removed with it.

They are required where CI says so (`CI` or `E2E_REQUIRED`); elsewhere a machine that cannot hold a cluster leaves these
tests out and says why.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build import find_builder
from pipeline.errors import PipelineError
from tests.cluster import docker, native
from tests.cluster.errors import CannotHostError
from tests.e2e.cluster_cli import LOG, ClusterCli, stage

REQUIRED = bool(os.environ.get("CI") or os.environ.get("E2E_REQUIRED"))
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request would bury the stages
BUILD_TIMEOUT_S = 2_400
BUILD_PACKAGES = ("buildah", "mmdebstrap")


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
    """Both images, built from this tree over a base made of Debian's packages (no registry is asked)."""
    _ensure_builder()
    folder = tmp_path_factory.mktemp("images")
    argv = [sys.executable, "-m", "images.build", "--debian-base", "--archives", str(folder), "--json"]
    with stage("images built"):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    LOG.info("%s", done.stdout.rstrip())
    return {row["target"]: Path(row["archive"]) for row in json.loads(done.stdout.splitlines()[-1])["images"]}


@pytest.fixture(scope="session")
def cluster_with_images(states: Path, image_archives: dict[str, Path]) -> Iterator[ClusterCli]:
    """A running cluster that has both images."""
    cluster = ClusterCli("images", states)
    cluster.up()
    for target, archive in image_archives.items():
        with stage(f"image {target} loaded ({archive.stat().st_size / 1e6:.0f} MB)"):
            cluster.run("load-image", archive)
        archive.unlink()  # a gigabyte that the node has now
    yield cluster
    cluster.down()


def _ensure_builder() -> None:
    """Install what builds images, where nothing does."""
    try:
        find_builder()
        missing = [package for package in BUILD_PACKAGES[1:] if not shutil.which(package)]
    except PipelineError:
        missing = [package for package in BUILD_PACKAGES if not shutil.which(package)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        LOG.info("installing from Debian: %s", " ".join(missing))
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "--quiet"], ["install", "--yes", "--quiet", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *words], env=env, capture_output=True, timeout=900, check=True)
