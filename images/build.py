"""Builds the project's images with docker, podman or buildah, whichever is there: `python -m images.build`.

`images/Dockerfile` decides what is in them; this only finds a builder, hands over the options, writes archives for
machines without a registry, and prints sizes. Where no image registry is reached, `--debian-base` makes the base
from Debian's packages.

Outside systems: the builder, mmdebstrap, git (for the revision label).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from clearml_access.agent_values import AgentValues, python_of
from clearml_access.caches import cache_folder
from clearml_access.errors import UserFacingError
from command_line.main import run
from command_line.options import CONTEXT, FilePath, as_json, examples, verbose

PROJECT = Path(__file__).resolve().parents[1]
DOCKERFILE = "images/Dockerfile"
BUILD_TIMEOUT_S = 1_800
COMMAND_TIMEOUT_S = 600
END_GRACE_S = 10

DEBIAN_BASE = "localhost/clearml-pods-base:bookworm"
DEBIAN_PACKAGES = ("python3", "python3-venv", "ca-certificates")
DEBIAN_OPTIONS = (
    "--variant=minbase",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    # 90 MB that `apt-get update` would fetch again anyway.
    '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/log/*',
    f"--include={','.join(DEBIAN_PACKAGES)}",
)
BASE_AGE_S = 7 * 24 * 3600
"""A base older than this is made again, for Debian's security updates."""

FILE = FilePath(exists=True, dir_okay=False, readable=True)
FOLDER = FilePath(file_okay=False)

LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Where a Debian machine's administrator puts the certificates of a company's proxy."""


class ImageError(UserFacingError):
    """An image could not be built."""

    exit_code = 60


@dataclass(frozen=True)
class Builder:
    """One program that builds images, as argv templates over {image} and {archive}."""

    name: str
    build: tuple[str, ...]
    save: tuple[str, ...]
    size: tuple[str, ...]
    """Prints the image's size in bytes."""
    load_base: tuple[str, ...]
    """Makes an image out of a file system archive."""


# Debian's buildah and podman run a build's commands under chroot: also in containers and without cgroup rights.
ISOLATED = ("--isolation", "chroot", "--layers", "--format", "docker")
BUILDERS = (
    Builder(
        "docker",
        build=("docker", "build"),
        save=("docker", "save", "--output", "{archive}", "{image}"),
        size=("docker", "image", "inspect", "--format", "{{{{.Size}}}}", "{image}"),
        load_base=("docker", "import", "{archive}", "{image}"),
    ),
    Builder(
        "podman",
        build=("podman", "build", *ISOLATED),
        save=("podman", "save", "--format", "docker-archive", "--output", "{archive}", "{image}"),
        size=("podman", "image", "inspect", "--format", "{{{{.Size}}}}", "{image}"),
        load_base=("podman", "import", "{archive}", "{image}"),
    ),
    Builder(
        "buildah",
        build=("buildah", "build", *ISOLATED),
        save=("buildah", "push", "--quiet", "{image}", "docker-archive:{archive}:{image}"),
        size=(),
        load_base=(),
    ),
)


def images() -> dict[str, str]:
    """Return each build target and the image that it makes, by its full name."""
    values = AgentValues.load()
    return {"task": full_name(values.default_image), "agent": full_name(values.agent_image)}


def full_name(image: str) -> str:
    """Return an image's name with its registry, as a node looks it up."""
    first = image.split("/")[0]
    if "/" in image and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"


def find_builder(wanted: str | None = None, *, debian_base: bool = False) -> Builder:
    """Return the first builder that works here.

    Args:
        wanted: The only one that is accepted.
        debian_base: Whether the base image is made here, too.

    Raises:
        ImageError: There is none, or another program is missing; the message names all that are.
    """
    found = _builder(wanted)
    missing = {} if found else {f"a working {wanted or 'docker, podman or buildah'}": wanted or "buildah"}
    if debian_base and not shutil.which("mmdebstrap"):
        missing["mmdebstrap"] = "mmdebstrap"
    if missing or not found:
        raise ImageError(
            f"missing on this machine: {', '.join(missing)}", hint=f"apt-get install {' '.join(missing.values())}"
        )
    return found


def _builder(wanted: str | None) -> Builder | None:
    for builder in BUILDERS:
        # Docker's client may be there without its engine.
        answers = {"docker": ("docker", "info")}.get(builder.name, (builder.name, "--version"))
        if wanted in (None, builder.name) and shutil.which(builder.name) and _works(answers):
            return builder
    return None


def build(
    target: str,
    image: str,
    builder: Builder,
    *,
    base: str | None,
    index: str | None,
    ca: bytes,
    dockerfile: str = DOCKERFILE,
) -> None:
    """Build one target of a Dockerfile as `image`.

    Raises:
        ImageError: The build fails; the message ends with its last lines.
    """
    arguments = {"VERSION": image.rpartition(":")[2], "REVISION": _revision(), "CA_DIGEST": _digest(ca)}
    given = (("BASE", base), ("INDEX_URL", index), ("PYTHON", python_of(image)))
    arguments |= {name: value for name, value in given if value}
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    with tempfile.NamedTemporaryFile(suffix=".pem") as secret:
        secret.write(ca)
        secret.flush()
        options += ["--secret", f"id=ca,src={secret.name}"]
        with _clean_up(builder) as marks:
            argv = [*builder.build, *marks, "--file", dockerfile, "--target", target, "--tag", image, *options, "."]
            _run(argv, timeout_s=BUILD_TIMEOUT_S)


@contextlib.contextmanager
def _clean_up(builder: Builder) -> Iterator[list[str]]:
    """Remove what a build leaves that did not come to its end: buildah keeps the container of the step it was at.

    Yields the options by which the build's own containers are known: a folder that no other build names. Nothing is in
    it, and a build under chroot does not read it.
    """
    if builder.name != "buildah":
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="clearml-pods-build-") as mark:
        try:
            yield ["--cni-config-dir", mark]
        except BaseException:
            for container in _run(["buildah", "containers", "--quiet"]).split():
                with contextlib.suppress(ImageError):  # another build has removed it
                    if json.loads(_run(["buildah", "inspect", container])).get("CNIConfigDir") == mark:
                        _run(["buildah", "rm", container])
            raise


def ensure_debian_base(builder: Builder, cache: Path) -> str:
    """Make the base image from Debian's packages, if the last one is not fresh; return its name.

    Raises:
        ImageError: mmdebstrap is missing or fails.
    """
    archive = cache / f"base-{_digest(' '.join(DEBIAN_OPTIONS).encode())}.tar"
    if not archive.exists() or time.time() - archive.stat().st_mtime > BASE_AGE_S:
        print(f"making a base image from Debian: {' '.join(DEBIAN_PACKAGES)}", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        with _whole(archive) as half:
            _run(["mmdebstrap", "--quiet", *DEBIAN_OPTIONS, "bookworm", str(half)])
    if builder.load_base:
        _run(_filled(builder.load_base, DEBIAN_BASE, archive))
        return DEBIAN_BASE
    container = _run(["buildah", "from", "scratch"]).strip()
    try:
        _run(["buildah", "add", "--quiet", container, str(archive), "/"])
        _run(["buildah", "commit", "--quiet", "--format", "docker", "--timestamp", "0", container, DEBIAN_BASE])
    finally:
        _run(["buildah", "rm", container])
    return DEBIAN_BASE


def save(builder: Builder, image: str, archive: Path) -> None:
    """Write `image` into an archive that a node can be given."""
    with _whole(archive) as half:
        _run(_filled(builder.save, image, half), timeout_s=COMMAND_TIMEOUT_S)


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """Yield where to write a file that takes its place once it is whole; a failure leaves what was there before."""
    half = file.with_name(f"{file.stem}.half{file.suffix}")
    half.unlink(missing_ok=True)
    try:
        yield half
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def size_bytes(builder: Builder, image: str) -> int:
    """Return how much room an image takes, unpacked."""
    if builder.size:
        return int(_run(_filled(builder.size, image, Path())))
    rows = json.loads(_run(["buildah", "images", "--json", image]))
    number, unit = rows[0]["size"].split()
    return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def local_certificates() -> bytes:
    """Return the certificates that this machine trusts beyond Debian's."""
    return b"\n".join(path.read_bytes().strip() + b"\n" for path in sorted(LOCAL_CERTIFICATES.glob("*.crt")))


@click.command(context_settings=CONTEXT)
@click.argument("targets", metavar="[task] [agent]", nargs=-1, type=click.Choice(("task", "agent")))
@click.option(
    "--builder",
    type=click.Choice(tuple(builder.name for builder in BUILDERS)),
    help="Program that builds.  [default: the first one that works]",
)
@click.option("--base", metavar="IMAGE", help="Base image.  [default: python:3.11-slim-bookworm]")
@click.option("--debian-base", is_flag=True, help="Make the base image from Debian's packages.")
@click.option("--index-url", envvar="PIP_INDEX_URL", show_envvar=True, metavar="URL", help="Package index to use.")
@click.option("--ca", metavar="FILE", type=FILE, help="PEM file of certificates to trust.  [default: this machine's]")
@click.option("--no-ca", is_flag=True, help="Trust only Debian's certificates.")
@click.option("--archives", metavar="FOLDER", type=FOLDER, help="Also write the images as TARGET.tar into this folder.")
@as_json
@verbose
@examples("python -m images.build --debian-base --archives /tmp/images")
def cli(
    targets: tuple[str, ...],
    builder: str | None,
    base: str | None,
    debian_base: bool,
    index_url: str | None,
    ca: Path | None,
    no_ca: bool,
    archives: Path | None,
    as_json: bool,
) -> None:
    """Build the task image and the agent image, or those that are named."""
    program = find_builder(builder, debian_base=debian_base)
    certificates = b"" if no_ca else ca.read_bytes() if ca else local_certificates()
    if certificates:
        click.echo(f"the images trust {ca or LOCAL_CERTIFICATES} too")
    cache = cache_folder(os.environ) / "images"
    base = ensure_debian_base(program, cache) if debian_base else base
    results: list[dict[str, object]] = []
    for target in targets or images():
        image, begun = images()[target], time.monotonic()
        build(target, image, program, base=base, index=index_url, ca=certificates)
        size, seconds = size_bytes(program, image), time.monotonic() - begun
        results.append({"target": target, "image": image, "bytes": size, "seconds": round(seconds, 1)})
        click.echo(f"{image}: {size / 1e6:.0f} MB, built in {seconds:.0f} s by {program.name}")
    if archives:  # once all are built: the archives of one call belong together
        archives.mkdir(parents=True, exist_ok=True)
        for row in results:
            file = archives / f"{row['target']}.tar"
            save(program, str(row["image"]), file)
            row["archive"] = str(file)
    if as_json:
        click.echo(json.dumps({"images": results}))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        words: What follows `python -m images.build`; default: the process's own.
    """
    return run(cli, words, program="python -m images.build")


def _filled(template: tuple[str, ...], image: str, archive: Path) -> list[str]:
    return [word.format(image=image, archive=archive) for word in template]


def _revision() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout.strip() or "unknown"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _works(argv: Sequence[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(argv: Sequence[str], timeout_s: int = COMMAND_TIMEOUT_S) -> str:
    try:
        process = subprocess.Popen(
            argv, cwd=PROJECT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,  # a signal to it reaches all that it has started
        )  # fmt: skip
    except FileNotFoundError as missing:
        raise ImageError(f"{argv[0]} is not installed", hint=f"apt-get install {argv[0]}") from missing
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except BaseException as ended:
        _end(process)
        if isinstance(ended, subprocess.TimeoutExpired):
            raise ImageError(f"{' '.join(argv[:4])} … did not end within {timeout_s} s") from ended
        raise
    if process.returncode:
        said = "\n".join((stdout + stderr).strip().splitlines()[-20:])
        raise ImageError(f"{' '.join(argv[:4])} … ended with {process.returncode}:\n{said}")
    return str(stdout)


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and all that it has started, and give it time to remove its mounts and temporary files."""
    for number, grace_s in ((signal.SIGTERM, END_GRACE_S), (signal.SIGKILL, END_GRACE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=grace_s)


if __name__ == "__main__":
    sys.exit(main())
