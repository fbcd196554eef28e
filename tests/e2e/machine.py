"""This machine's state as far as a cluster could change it: what `down` must give back exactly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil

from cluster import cgroups
from cluster.node import WANTED_SYSCTLS

LEFT_BY_NODES = ("/var/lib/kubelet/device-plugins", "/var/lib/cni", "/usr/libexec/kubernetes")
"""Where a kubelet and the CNI library write unless they are kept from it."""

SYSCTLS = [*WANTED_SYSCTLS, "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max"]


def state(of: str) -> dict[str, object]:
    """Return everything that carries the mark `of` or belongs to the whole machine.

    Other clusters may come and go meanwhile: where things carry names, only those of this one count.
    """
    return {
        **named(of),
        "named network namespaces": sorted(os.listdir("/run/netns")) if Path("/run/netns").exists() else [],
        "folders": [folder for folder in LEFT_BY_NODES if Path(folder).exists()],
        "sysctls": {name: _read(Path("/proc/sys", name)) for name in SYSCTLS},
    }


def named(of: str) -> dict[str, object]:
    """Return everything that carries the mark `of`."""
    return {
        "links": _lines("ip", "-brief", "link", only=of),
        "routes": _lines("ip", "route", "show", "table", "all", only=of),
        "rules": _lines("nft", "list", "ruleset", only=of),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if of in line],
        "processes": [process.pid for process in psutil.process_iter() if of in _words(process)],
        "cgroups": [str(folder / of) for folder in cgroups.hierarchies() if (folder / of).exists()],
    }


def _words(process: psutil.Process) -> str:
    try:
        return " ".join([*process.cmdline(), *process.environ().values()])
    except psutil.Error:
        return ""


def _lines(*argv: str, only: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return [line for line in done.stdout.splitlines() if only in line]


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
