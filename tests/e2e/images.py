"""The images that a test cluster needs, built from this tree over a base of Debian's packages: no registry is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from clearml_access.errors import UserFacingError
from images.build import find_builder
from tests.e2e.cluster_cli import LOG, ClusterCli, go_task, stage
from tests.e2e.deployer import ROOT

BUILD_TIMEOUT_S = 2_400
BUILD_PACKAGES = ("buildah", "mmdebstrap")


def build_images(folder: Path, *targets: str) -> dict[str, Path]:
    """Build the task and the agent image, or those that are named; return their archives in `folder`, by target."""
    _ensure_builder()
    argv = [go_task(), "--silent", "build-image", "--", *targets, "--debian-base", "--archives", str(folder), "--json"]
    with stage("./task build-image"):
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    LOG.info("%s", done.stdout.rstrip())
    return {row["target"]: Path(row["archive"]) for row in json.loads(done.stdout.splitlines()[-1])["images"]}


def load_images(cluster: ClusterCli, archives: Mapping[str, Path]) -> None:
    """Give the images to a cluster's node, and remove the archives."""
    for target, archive in archives.items():
        with stage(f"image {target} loaded ({archive.stat().st_size / 1e6:.0f} MB)"):
            cluster.run("load-image", archive)
        archive.unlink()  # a gigabyte that the node has now


def _ensure_builder() -> None:
    """Install what builds images, where nothing does."""
    try:
        find_builder()
        missing = [package for package in BUILD_PACKAGES[1:] if not shutil.which(package)]
    except UserFacingError:
        missing = [package for package in BUILD_PACKAGES if not shutil.which(package)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        LOG.info("installing from Debian: %s", " ".join(missing))
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "--quiet"], ["install", "--yes", "--quiet", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *words], env=env, capture_output=True, timeout=900, check=True)
