"""A real S3 server on this machine, for tests: versitygw, which keeps each object as a file.

    python -m tests.s3_server     builds it, once; CI does so beside its first tests

It is built by its name in the Go module proxy, with the Go that builds Kubernetes. It was chosen since it is one
program without dependencies, checks signatures, and is Apache-2.0; MinIO is not to be had by package name.
Outside systems: the Go module proxy, versitygw.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clearml_access import locks, processes
from cluster import programs
from cluster.layout import Layout

MODULE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"

BUILD_TIMEOUT_S = 1_800
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    host: str
    """Address and port."""
    key: str
    secret: str
    folder: Path
    """A folder in it is a bucket."""

    def make_bucket(self, name: str) -> Path:
        """Make a bucket; return the folder of its objects."""
        bucket = self.folder / name
        bucket.mkdir()
        return bucket


def program() -> Path:
    """Return versitygw, building it if that was not yet done on this machine."""
    cache = Layout.cache_of(os.environ, Path.home())
    built = cache / f"versitygw-{VERSION}" / "versitygw"
    if built.is_file():
        return built
    cache.mkdir(parents=True, exist_ok=True)
    with locks.alone(cache / "versitygw.lock", lambda: _say("waiting: another process builds versitygw")):
        if not built.is_file():
            go = programs.ensure_go(cache, _say)
            _say(f"building versitygw {VERSION} from source, once (1 to 3 minutes on 2 cores)")
            half = cache / "versitygw.half"
            env = os.environ | {"CGO_ENABLED": "0", "GOBIN": str(half), "GOFLAGS": "-trimpath"}
            argv = [str(go), "install", "-ldflags", "-s -w", f"{MODULE}@{VERSION}"]
            done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
            assert done.returncode == 0, done.stderr[-2_000:]
            half.replace(built.parent)
    return built


@contextlib.contextmanager
def running(folder: Path, port: int, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run a server whose objects are below `folder`."""
    objects, notes, log = folder / "objects", folder / "notes", folder / "log"
    for path in (objects, notes):
        path.mkdir(parents=True)
    server = S3Server(f"{address}:{port}", f"key-{secrets.token_hex(4)}", secrets.token_hex(16), objects)
    # It keeps what it knows of an object in files: not every file system has extended attributes.
    argv = [str(program()), "--port", server.host, "posix", "--sidecar", str(notes), str(objects)]
    env = {"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": server.key, "ROOT_SECRET_KEY": server.secret}
    with log.open("wb") as output, subprocess.Popen(argv, env=env, stdout=output, stderr=output) as process:
        try:
            started = processes.wait_until(
                lambda: process.poll() is not None or _listens(address, port), START_TIMEOUT_S
            )
            assert started and process.poll() is None, log.read_text(errors="replace")
            yield server
        finally:
            process.terminate()


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(program())
