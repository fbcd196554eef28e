"""The programs of the node: argv and configuration of each, computed from the layout and the addresses.

Pure but for `write_configuration`, which puts the files that the argv name below the state folder. Every setting that
differs from a default says which limit of a one-node, throw-away cluster it answers.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import pki, policing
from cluster.layout import Addresses, Layout

API_PORT = 6443
PAUSE_IMAGE = "clearml-pods.local/pause:1"
DNS_DOMAIN = "cluster.local"
KUBELET_SERVER = "kubelet-server"

CLIENTS = ("kubelet", "controller-manager", "scheduler", "kube-proxy", "coredns")
"""Programs that reach the API server through a kubeconfig of their own."""


@dataclass(frozen=True)
class Component:
    """One program that the node process starts and, should it end, starts again."""

    name: str
    argv: tuple[str, ...]


def components(layout: Layout, addresses: Addresses, programs: Path) -> list[Component]:
    """Return the programs in the order of their start."""
    state, key = layout.state, layout.pki
    node = str(addresses.node)

    def tool(name: str, *options: str) -> Component:
        return Component(name, (str(programs / name), *options))

    return [
        tool(
            "etcd",
            f"--name={layout.name}",
            f"--data-dir={state}/etcd",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # What it stores does not outlive the node process: waiting for the disk would buy nothing.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        Component("containerd", ("containerd", f"--config={state}/containerd.toml")),
        tool(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={node}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={addresses.services}",
            f"--tls-cert-file={key}/apiserver.crt",
            f"--tls-private-key-file={key}/apiserver.key",
            f"--client-ca-file={key}/ca.crt",
            f"--kubelet-client-certificate={key}/apiserver-to-kubelet.crt",
            f"--kubelet-client-key={key}/apiserver-to-kubelet.key",
            f"--kubelet-certificate-authority={key}/ca.crt",
            # The node's name resolves nowhere.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{DNS_DOMAIN}",
            f"--service-account-key-file={key}/service-account.key",
            f"--service-account-signing-key-file={key}/service-account.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=lease",
        ),
        tool(
            "kube-controller-manager",
            f"--kubeconfig={state}/controller-manager.kubeconfig",
            f"--root-ca-file={key}/ca.crt",
            f"--service-account-private-key-file={key}/service-account.key",
            f"--cluster-signing-cert-file={key}/ca.crt",
            f"--cluster-signing-key-file={key}/ca.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
        ),
        tool("kube-scheduler", f"--kubeconfig={state}/scheduler.kubeconfig", "--leader-elect=false"),
        tool(
            "kubelet",
            f"--config={state}/kubelet.json",
            f"--kubeconfig={state}/kubelet.kubeconfig",
            f"--root-dir={state}/kubelet",
            f"--hostname-override={layout.name}",
            f"--node-ip={node}",
        ),
        tool("kube-proxy", f"--config={state}/kube-proxy.json", f"--hostname-override={layout.name}"),
        tool("coredns", f"-conf={state}/Corefile"),
        Component(policing.NAME, (sys.executable, "-m", "cluster.policing", str(state))),
    ]


def write_configuration(layout: Layout, addresses: Addresses, resolvers: list[str], mtu: int) -> None:
    """Write every file that the programs read, kubeconfigs included."""
    state = layout.state
    for folder in (layout.logs / "pods", state / "cni"):
        folder.mkdir(parents=True, exist_ok=True)
    server = f"https://{addresses.node}:{API_PORT}"
    for client in CLIENTS:
        _write(state / f"{client}.kubeconfig", pki.kubeconfig(layout.pki, client, server, layout.name))
    _write(layout.kubeconfig, pki.kubeconfig(layout.pki, "admin", server, layout.name))
    _write(state / "kubelet.json", json.dumps(_kubelet(layout, addresses), indent=2))
    _write(state / "kube-proxy.json", json.dumps(_kube_proxy(layout, addresses), indent=2))
    _write(state / "containerd.toml", _containerd(layout))
    _write(state / "cni/10-pods.conflist", json.dumps(_cni(addresses, mtu), indent=2))
    _write(state / "Corefile", _corefile(layout, addresses, resolvers))
    # Pods that ask for the node's resolver (dnsPolicy Default) get this one, never a stub on a loopback address.
    _write(state / "resolv.conf", "".join(f"nameserver {resolver}\n" for resolver in resolvers))


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _kubelet(layout: Layout, addresses: Addresses) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(addresses.node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/{KUBELET_SERVER}.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/{KUBELET_SERVER}.key",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",  # there may be no systemd to ask
        "cgroupRoot": f"/{layout.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [str(addresses.node)],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": f"{layout.state}/resolv.conf",
        "podLogsDir": f"{layout.logs}/pods",
        "volumePluginDir": f"{layout.state}/volume-plugins",
        # Images are loaded by hand and could not be pulled again: never collect them for room.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        # The default asks for 5 s between looks at volumes and a slow start of many pods; a node of tests is small.
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
    }


def _kube_proxy(layout: Layout, addresses: Addresses) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": str(addresses.pods),
        "clientConnection": {"kubeconfig": f"{layout.state}/kube-proxy.kubeconfig"},
        # These sysctls belong to the machine, not to the node's network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _containerd(layout: Layout) -> str:
    return f"""\
version = 2
root = "{layout.state}/containerd"
# A folder of the node's private /run, as are the sockets of its shims.
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]

[grpc]
address = "{layout.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Without CAP_SYS_RESOURCE runc fails with "can't get final child's PID from pipe".
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{layout.state}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _cni(addresses: Addresses, mtu: int) -> dict[str, Any]:
    # Point to point: one routed pair a pod. No bridge, so no br_netfilter module that a machine may lack.
    pool = {"ranges": [[{"subnet": str(addresses.pods)}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "mtu": mtu, "ipam": {"type": "host-local", **pool}}],
    }


def _corefile(layout: Layout, addresses: Addresses, resolvers: list[str]) -> str:
    forward = f"    forward . {' '.join(resolvers)}\n" if resolvers else ""
    return f"""\
.:53 {{
    bind {addresses.node}
    ready {addresses.node}:8181
    errors
    cache 30
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.state}/coredns.kubeconfig
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}}}
"""
