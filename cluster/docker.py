"""The cluster by kind, k3d or minikube, where a Docker engine runs.

A table of their commands; what differs between them stops here.
Outside systems: docker and those programs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import shell
from cluster.errors import ClusterError, NotRunningError, StartError
from cluster.facts import Facts
from cluster.layout import Layout
from cluster.status import Status

START_TIMEOUT_S = 600.0
COMMAND_TIMEOUT_S = 120.0
LOAD_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Maker:
    """One program that makes clusters in Docker: argv templates over {name}, {archive} and {kubeconfig}."""

    names: str
    """Prints the names of its clusters."""
    create: str
    kubeconfig: str
    """Prints the administrator's kubeconfig."""
    delete: str
    load: str
    network: str
    """Docker network of its nodes: its gateway is this machine, as pods see it."""


MAKERS = {
    "kind": Maker(
        names="kind get clusters",
        create="kind create cluster --name {name} --kubeconfig {kubeconfig} --wait 180s",
        kubeconfig="kind get kubeconfig --name {name}",
        delete="kind delete cluster --name {name} --kubeconfig {kubeconfig}",
        load="kind load image-archive {archive} --name {name}",
        network="kind",
    ),
    "k3d": Maker(
        names="k3d cluster list --no-headers",
        create="k3d cluster create {name} --wait --timeout 180s --kubeconfig-update-default=false",
        kubeconfig="k3d kubeconfig get {name}",
        delete="k3d cluster delete {name}",
        load="k3d image import {archive} --cluster {name}",
        network="k3d-{name}",
    ),
    "minikube": Maker(
        names="minikube profile list --output table",
        create="minikube start --profile {name} --driver docker --embed-certs --wait all",
        kubeconfig="minikube --profile {name} kubectl -- config view --flatten --minify",
        delete="minikube delete --profile {name}",
        load="minikube --profile {name} image load {archive}",
        network="{name}",
    ),
}

Say = Callable[[str], None]


def available() -> str | None:
    """Return the first maker that can work here: it is installed and a Docker engine answers."""
    if not shell.works("docker", "info"):
        return None
    return next((maker for maker in MAKERS if shutil.which(maker)), None)


def up(layout: Layout, maker: str, say: Say) -> Status:
    """Make the cluster if it is not there, and write its kubeconfig.

    Raises:
        StartError: The maker fails; its own words are in the message.
    """
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    Facts(layout.name, maker).write(layout.facts)
    if layout.name not in _names(layout, maker):
        say(f"{maker} makes cluster {layout.name}")
        _call(layout, maker, MAKERS[maker].create, timeout_s=START_TIMEOUT_S, error=StartError)
    text = _call(layout, maker, MAKERS[maker].kubeconfig)
    layout.kubeconfig.touch(mode=0o600)
    layout.kubeconfig.write_text(text, encoding="utf-8")
    return status(layout, maker)


def down(layout: Layout, maker: str) -> bool:
    """Remove the cluster; return whether there was one."""
    there = layout.name in _names(layout, maker)
    if there:
        _call(layout, maker, MAKERS[maker].delete)
    shutil.rmtree(layout.state, ignore_errors=True)
    return there


def status(layout: Layout, maker: str) -> Status:
    """Return what runs, without changing anything."""
    if layout.name not in _names(layout, maker):
        return Status(layout.name, maker, "absent")
    network = MAKERS[maker].network.format(name=layout.name)
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    host = shell.run("docker", "network", "inspect", network, "--format", gateway).strip()
    return Status(layout.name, maker, "running", kubeconfig=str(layout.kubeconfig), host_address=host)


def load_image(layout: Layout, maker: str, archive: Path) -> list[str]:
    """Give the cluster's nodes the image in `archive`.

    Raises:
        NotRunningError: There is no such cluster.
    """
    if layout.name not in _names(layout, maker):
        raise NotRunningError(f"{maker} has no cluster {layout.name}", hint="./task cluster-up")
    _call(layout, maker, MAKERS[maker].load, archive=archive, timeout_s=LOAD_TIMEOUT_S)
    return [archive.name]


def _names(layout: Layout, maker: str) -> list[str]:
    """Return every word of the maker's list: a cluster's name is one of them."""
    return _call(layout, maker, MAKERS[maker].names).replace("|", " ").split()


def _call(
    layout: Layout,
    maker: str,
    template: str,
    *,
    archive: Path = Path(),
    timeout_s: float = COMMAND_TIMEOUT_S,
    error: type[ClusterError] = ClusterError,
) -> str:
    places = {"name": layout.name, "archive": str(archive), "kubeconfig": str(layout.kubeconfig)}
    # Filled in word by word: a folder with a space in its name stays one word.
    words = [word.format(**places) for word in template.split()]
    env = os.environ | {"KUBECONFIG": str(layout.kubeconfig)}
    return shell.run(*words, timeout_s=timeout_s, env=env, error=error, hint=f"{maker} --help")
