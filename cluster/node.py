"""The node process: first process of its namespaces, parent of every program and, through them, of every container.

Started as `unshare … python -m cluster.node STATE`. It makes its namespaces private, waits for the link, starts
the programs, starts again whichever ends, and reaps what containers leave. It never cleans up: its own end is the
clean-up, done by the kernel.

Outside system: this kernel's mounts and processes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from clearml_access import processes
from cluster import kube, network, policing, shell
from cluster.components import Component, components
from cluster.errors import StartError
from cluster.facts import Facts
from cluster.layout import Layout

LINK_TIMEOUT_S = 60.0
TICK_S = 0.2
PAUSES_S = (0.5, 1.0, 2.0, 5.0)
"""Before a program that ended is started again."""

STEADY_S = 60.0
"""After so long, an end is a new failure: the pauses start again."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

WANTED_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet wants of the machine and would write: the node sees files that say so, the machine stays so."""

VAR_LIB = Path("/var/lib")
KEPT_BY_NODE = ("kubelet", "cni")
"""Folders of /var/lib that a node writes: it begins with none of them, whatever the machine has there."""

NEEDS_API = {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", policing.NAME}
"""Started once the API server answers: before, they would only fight it for the processors."""


@dataclass
class Running:
    """One program's life so far."""

    component: Component
    pid: int = 0
    ends: int = 0
    started: float = 0.0
    not_before: float = 0.0


def main(state: Path) -> None:
    """Be the node of the cluster in `state`."""
    facts = Facts.read(state / "cluster.json")
    if facts is None:
        raise StartError(f"{state}/cluster.json is missing or damaged", hint="./task cluster-up")
    layout = Layout(facts.name, state, state)
    os.umask(0o022)  # containerd makes images' folders by it; the state folder itself is private
    _record(layout.node_record)
    _make_private(layout)
    if not processes.wait_until((Path("/sys/class/net") / network.UPLINK).exists, LINK_TIMEOUT_S):
        raise StartError(f"no link to the machine after {LINK_TIMEOUT_S:.0f} s", hint="./task cluster-up")
    network.join(facts.addresses)
    os.environ.clear()
    os.environ.update({"PATH": SEARCH_PATH, "HOME": str(state)})
    server = kube.Api(f"https://{facts.addresses.node}:6443", layout.pki)
    _supervise([Running(item) for item in components(layout, facts.addresses, Path(facts.programs))], layout, server)


def _record(path: Path) -> None:
    """Write down this process as the machine sees it: /proc is still the machine's own."""
    pid = int(os.readlink("/proc/self"))
    processes.Record(pid, processes.start_of(psutil.Process(pid)), {}).write(path)


def _make_private(layout: Layout) -> None:
    """Give the node its own /proc, /sys, /run, /var/log, /var/lib and host name, and the sysctls of the kubelet."""
    shell.run("mount", "-t", "proc", "proc", "/proc")
    cgroups = layout.state / "mnt"
    cgroups.mkdir(exist_ok=True)
    # /sys shows the network of the process that mounted it; the cgroups below it are kept.
    shell.run("mount", "--rbind", "/sys/fs/cgroup", cgroups)
    shell.run("mount", "-t", "sysfs", "sysfs", "/sys")
    shell.run("mount", "--rbind", cgroups, "/sys/fs/cgroup")
    shell.run("umount", "--recursive", "--lazy", cgroups)
    # containerd, runc and CNI keep sockets, bundles and network namespaces here, under names that cannot be changed.
    shell.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    shell.run("mount", "--bind", layout.logs, "/var/log")
    _make_var_lib_private(layout)
    for name, value in WANTED_SYSCTLS.items():
        if Path("/proc/sys", name).exists():
            stand_in = layout.state / "sysctl" / name.replace("/", ".")
            stand_in.parent.mkdir(exist_ok=True)
            stand_in.write_text(f"{value}\n", encoding="ascii")
            shell.run("mount", "--bind", stand_in, Path("/proc/sys", name))
    # The kubelet shares volume mounts with containers; nothing leaves this namespace.
    shell.run("mount", "--make-rshared", "/")
    Path("/proc/sys/kernel/hostname").write_text(layout.name, encoding="ascii")


def _make_var_lib_private(layout: Layout) -> None:
    """Give the node a /var/lib with the machine's folders, in which what is new stays the node's own.

    The kubelet and the CNI library write there, under names that cannot be changed.
    """
    own = layout.state / "var-lib"
    own.mkdir(exist_ok=True)
    shell.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", own)
    for entry in sorted(VAR_LIB.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and entry.name not in KEPT_BY_NODE:
            (own / entry.name).mkdir()
            shell.run("mount", "--rbind", entry, own / entry.name)
    shell.run("mount", "--rbind", own, VAR_LIB)


def _supervise(programs: list[Running], layout: Layout, server: kube.Api) -> None:
    """Keep every program running until SIGTERM."""
    watched = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    api_ready = False
    while True:
        now = time.monotonic()
        for program in programs:
            waits_for_api = program.component.name in NEEDS_API and not api_ready
            if not program.pid and not waits_for_api and now >= program.not_before:
                _start(program, layout, now)
        api_ready = api_ready or server.is_ready()
        caught = signal.sigtimedwait(watched, TICK_S)
        if caught and caught.si_signo != signal.SIGCHLD:
            return
        _reap(programs)


def _start(program: Running, layout: Layout, now: float) -> None:
    argv = program.component.argv
    log = str(layout.logs / f"{program.component.name}.log")
    program.pid = os.posix_spawnp(
        argv[0],
        argv,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsigmask=[],
        setsid=True,
    )
    program.started = now


def _reap(programs: list[Running]) -> None:
    """Take note of every ended child: ours to start again, or a container's leftovers."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for program in programs:
            if program.pid == pid:
                now = time.monotonic()
                program.ends = 0 if now - program.started > STEADY_S else program.ends
                pause = PAUSES_S[min(program.ends, len(PAUSES_S) - 1)]
                program.pid, program.ends, program.not_before = 0, program.ends + 1, now + pause
                code = os.waitstatus_to_exitcode(status)
                print(f"{program.component.name} ended with {code}; again in {pause} s", flush=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except StartError as failure:
        print(f"Error: {failure.message}", flush=True)
        sys.exit(failure.exit_code)
