"""The cluster on this Linux machine itself, without Docker: programs, node process, link; and their removal.

Every wait has a deadline and ends with the log of what it waited for. `up` takes a half-made cluster as it finds it:
one with a living node process is completed, anything else is removed and made again.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from clearml_access import locks, processes
from cluster import cgroups, image_archive, kube, network, pki, programs, shell
from cluster.components import API_PORT, PAUSE_IMAGE, components, write_configuration
from cluster.errors import CannotHostError, ClusterError, NotRunningError, StartError
from cluster.facts import Facts
from cluster.layout import Layout
from cluster.status import ComponentStatus, Status

PROVIDER = "native"
CLUSTER_VARIABLE = "CLEARML_PODS_CLUSTER"
"""Carried by the node process: how it is found even when its record was lost."""

NODE_TIMEOUT_S = 60.0
NODE_END_TIMEOUT_S = 60.0
"""The kernel ends every process of the node with it: on a machine with much other work that takes a while."""

READY_TIMEOUT_S = 300.0
LOCK_TIMEOUT_S = 1_800.0
IMPORT_TIMEOUT_S = 600.0
POLL_S = 0.1

Say = Callable[[str], None]


def require_host() -> None:
    """Check that this machine can hold a node.

    Raises:
        CannotHostError: It is not an x86-64 Linux, or this user is not root.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise CannotHostError(
            f"a cluster without Docker needs x86-64 Linux, not {platform.system()} {platform.machine()}",
            hint="install Docker and kind",
        )
    if os.geteuid() != 0:
        raise CannotHostError("a cluster without Docker needs root", hint="sudo, or install Docker and kind")


def up(layout: Layout, say: Say) -> Status:
    """Make the cluster, or complete it, and wait until it takes pods.

    Raises:
        CannotHostError: This machine cannot hold it.
        BuildError: A program cannot be installed or built.
        StartError: A part does not become ready in time.
    """
    require_host()
    programs.ensure_debian(say)
    folder = programs.ensure_built(layout.cache, say)
    with _locked(layout):
        begun = time.monotonic()
        facts = Facts.read(layout.facts)
        node = processes.running(layout.node_record)
        if facts is None or node is None:
            if layout.state.exists() or _node_processes(layout):
                say("removing the remains of an earlier start")
                _remove(layout)
            facts = _prepare(layout, folder)
            node = _start_node(layout)
        network.connect(layout, facts.addresses, node.pid, facts.mtu)
        _wait_ready(layout, facts, node, say, begun)
    return status(layout)


def down(layout: Layout) -> bool:
    """End the node and remove everything it made; return whether there was anything.

    Raises:
        ClusterError: Something does not go away; the message says what.
    """
    if not layout.state.exists() and not network.is_connected(layout):
        return False
    with _locked(layout):
        _remove(layout)
    return True


def status(layout: Layout) -> Status:
    """Return what runs, without changing anything."""
    facts = Facts.read(layout.facts)
    node = processes.running(layout.node_record)
    if facts is None or node is None:
        return Status(layout.name, PROVIDER, "broken" if facts else "absent")
    api = kube.Api(_server(facts), layout.pki)
    children = {child.name(): child for child in node.children()}
    rows = []
    for component in components(layout, facts.addresses, Path(facts.programs)):
        child = children.get(component.name)
        log = str(layout.logs / f"{component.name}.log")
        rows.append(ComponentStatus(component.name, child.pid if child else None, log))
    ready = api.is_ready() and api.node_is_ready(layout.name)
    return Status(
        layout.name,
        PROVIDER,
        "running" if ready and all(row.pid for row in rows) else "broken",
        kubeconfig=str(layout.kubeconfig),
        kubernetes=api.version(),
        api_server=_server(facts),
        node_address=str(facts.addresses.node),
        host_address=str(facts.addresses.host),
        node_pid=node.pid,
        components=tuple(rows),
    )


def load_image(layout: Layout, archive: Path) -> list[str]:
    """Give the node an image from `archive`; return the names it has there.

    Raises:
        NotRunningError: There is no running node.
        ClusterError: The archive is not an image archive.
    """
    if processes.running(layout.node_record) is None:
        raise NotRunningError(f"cluster {layout.name} does not run", hint="./task cluster-up")
    said = _ctr(layout, "images", "import", str(archive), timeout_s=IMPORT_TIMEOUT_S)
    return [line.split()[1] for line in said.splitlines() if line.startswith("unpacking ")]


def _prepare(layout: Layout, folder: Path) -> Facts:
    """Write everything that the node process reads."""
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.logs.mkdir(mode=0o700, exist_ok=True)
    addresses = network.free_addresses()
    facts = Facts(
        layout.name,
        PROVIDER,
        range=str(addresses.range),
        programs=str(folder),
        mtu=network.mtu(),
        resolvers=network.resolvers(),
        forwarding_before=network.forwarding(),
    )
    facts.write(layout.facts)
    pki.create(layout.pki, layout.name, addresses)
    write_configuration(layout, addresses, facts.resolvers, facts.mtu)
    cgroups.create(layout.cgroup)
    return facts


def _start_node(layout: Layout) -> psutil.Process:
    """Start the node process in namespaces of its own and return it."""
    spaces = ("--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--propagation=private")
    argv = ["unshare", *spaces, "--kill-child", sys.executable, "-m", "cluster.node", str(layout.state)]
    env = os.environ | {CLUSTER_VARIABLE: str(layout.state)}
    log = layout.logs / "node.log"
    with log.open("ab") as output:
        launcher = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=programs.HERE.parent,
            start_new_session=True,
        )  # fmt: skip

    def settled() -> bool:
        return layout.node_record.exists() or launcher.poll() is not None

    processes.wait_until(settled, NODE_TIMEOUT_S)
    node = processes.running(layout.node_record)
    if node is None:
        raise StartError("the node process did not start", hint=f"less {log}", evidence=processes.tail(log))
    return node


def _wait_ready(layout: Layout, facts: Facts, node: psutil.Process, say: Say, begun: float) -> None:
    api = kube.Api(_server(facts), layout.pki)
    pause = layout.state / "pause.tar"

    def pause_is_loaded() -> bool:
        image_archive.write(pause, PAUSE_IMAGE, Path(facts.programs) / "pause")
        with contextlib.suppress(ClusterError):  # containerd is not there yet
            return PAUSE_IMAGE in load_image(layout, pause)
        return False

    stages: tuple[tuple[str, str, Callable[[], bool]], ...] = (
        ("containers can start", "containerd", pause_is_loaded),
        ("API server is ready", "kube-apiserver", api.is_ready),
        ("node takes pods", "kubelet", lambda: api.node_is_ready(layout.name)),
        ("accounts are made", "kube-controller-manager", api.has_service_account),
        ("names resolve", "coredns", lambda: kube.says_ok(f"http://{facts.addresses.node}:8181/ready")),
    )
    for what, program, holds in stages:
        log = layout.logs / f"{program}.log"

        def done(holds: Callable[[], bool] = holds) -> bool:
            return holds() or not processes.is_alive(node)

        if not processes.wait_until(done, READY_TIMEOUT_S, poll_s=POLL_S):
            raise StartError(
                f"not ready after {READY_TIMEOUT_S:.0f} s: {what}",
                hint=f"less {log}; then: ./task cluster-down",
                evidence=processes.tail(log),
            )
        if not processes.is_alive(node):
            raise StartError(
                "the node process ended",
                hint="./task cluster-up",
                evidence=processes.tail(layout.logs / "node.log"),
            )
        say(f"{time.monotonic() - begun:5.1f} s  {what}")


def _remove(layout: Layout) -> None:
    """End the node, then remove what it and `up` made outside its namespaces."""
    facts = Facts.read(layout.facts)
    processes.end(_node_processes(layout), kill_s=NODE_END_TIMEOUT_S)
    network.disconnect(layout, facts.forwarding_before if facts else None)
    cgroups.remove(layout.cgroup)
    shutil.rmtree(layout.state, ignore_errors=False)


def _node_processes(layout: Layout) -> list[psutil.Process]:
    """Return the node process and its launcher, by record and by what they carry."""
    recorded = processes.running(layout.node_record)
    carried = processes.family(CLUSTER_VARIABLE, str(layout.state))
    return carried + ([recorded] if recorded and recorded not in carried else [])


def _ctr(layout: Layout, *words: str, timeout_s: float = 120.0) -> str:
    return shell.run(
        "ctr", "--address", layout.containerd_socket, "--namespace", "k8s.io", *words, timeout_s=timeout_s,
        error=ClusterError, hint="is it a docker or OCI archive?",
    )  # fmt: skip


def _server(facts: Facts) -> str:
    return f"https://{facts.addresses.node}:{API_PORT}"


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """Let one `up` or `down` of a cluster work at a time; the lock is the folder above the state folder's entry."""
    layout.state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locks.within(layout.state.parent, LOCK_TIMEOUT_S) as held:
        if not held:
            raise ClusterError(f"another `up` or `down` is running in {layout.state.parent}", hint="try again later")
        yield
