"""Where a cluster lives and which addresses it has: two frozen values that everything else is computed from.

Pure: names and paths only; `native` makes the folders and `network` the links.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from cluster.errors import ClusterError

DEFAULT_NAME = "clearml-pods"
STATE_VARIABLE = "CLEARML_PODS_CLUSTER_STATE"
CACHE_VARIABLE = "CLEARML_PODS_CLUSTER_CACHE"

LINK_PREFIX = "cpods-"
"""Start of the names of everything a cluster makes outside its namespaces; they are recognised by it."""

MAX_STATE_PATH = 70
"""Unix sockets end at 107 characters, and the kubelet puts its own below the state folder."""

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")


@dataclass(frozen=True)
class Addresses:
    """Three ranges out of one /16 that nothing else on this machine uses."""

    range: IPv4Network

    @property
    def host(self) -> IPv4Address:
        """This machine's end of the link: where pods reach what listens here."""
        return self.range.network_address + 1

    @property
    def node(self) -> IPv4Address:
        """The node's end: API server, kubelet and DNS listen there."""
        return self.range.network_address + 2

    @property
    def pods(self) -> IPv4Network:
        """Addresses of pods: the second quarter."""
        return list(self.range.subnets(new_prefix=18))[1]

    @property
    def services(self) -> IPv4Network:
        """Addresses of Services: the third quarter."""
        return list(self.range.subnets(new_prefix=18))[2]

    @property
    def api_service(self) -> IPv4Address:
        """Address of the Service `kubernetes`, part of the API server's certificate."""
        return self.services.network_address + 1


@dataclass(frozen=True)
class Layout:
    """One cluster's name and folders."""

    name: str
    state: Path
    """Everything the cluster writes; gone after `down`."""

    cache: Path
    """Programs built once, shared by all clusters; `down` leaves it alone."""

    @classmethod
    def of(cls, name: str, environ: Mapping[str, str], home: Path) -> Layout:
        """Return the layout of cluster `name`, below the XDG folders unless the environment says otherwise.

        Raises:
            ClusterError: The name cannot be a node name, or the state folder's path is too long for sockets.
        """
        if not NAME.fullmatch(name):
            raise ClusterError(
                f"cluster name {name!r} is not a node name", hint="use lower-case letters, digits and dashes"
            )
        states = environ.get(STATE_VARIABLE) or _xdg(environ, "XDG_STATE_HOME", home / ".local/state") / "clusters"
        layout = cls(name, Path(states).absolute() / name, cls.cache_of(environ, home))
        if len(str(layout.state)) > MAX_STATE_PATH:
            raise ClusterError(
                f"state folder {layout.state} is longer than {MAX_STATE_PATH} characters: sockets in it would fail",
                hint=f"export {STATE_VARIABLE}=/tmp/clusters",
            )
        return layout

    @staticmethod
    def cache_of(environ: Mapping[str, str], home: Path) -> Path:
        """Return the folder of what is built once on this machine, for all clusters."""
        cache = environ.get(CACHE_VARIABLE) or _xdg(environ, "XDG_CACHE_HOME", home / ".cache") / "cluster"
        return Path(cache).absolute()

    @property
    def kubeconfig(self) -> Path:
        """Administrator's access to the cluster."""
        return self.state / "kubeconfig"

    @property
    def facts(self) -> Path:
        """What `up` decided: provider, address range, versions (JSON)."""
        return self.state / "cluster.json"

    @property
    def node_record(self) -> Path:
        """Pid and start time of the node process."""
        return self.state / "node.json"

    @property
    def logs(self) -> Path:
        """One log for each program; pods' logs in `pods/` below it."""
        return self.state / "log"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def containerd_socket(self) -> Path:
        """The cluster's own containerd, never the system's."""
        return self.state / "containerd.sock"

    @property
    def link(self) -> str:
        """Name of this machine's end of the node's link; the kernel takes 15 characters."""
        return LINK_PREFIX + hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def table(self) -> str:
        """Name of the nftables table with the one rule outside the node's network namespace."""
        return self.link

    @property
    def cgroup(self) -> str:
        """Cgroup above all pods, in every hierarchy."""
        return self.link


def _xdg(environ: Mapping[str, str], variable: str, default: Path) -> Path:
    return Path(environ.get(variable) or default) / "clearml-pods"
