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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import click

from clearml_access import serving_values
from clearml_access.agent_values import AgentValues, python_of
from clearml_access.caches import cache_folder
from command_line.main import run
from command_line.options import CONTEXT, FilePath, as_json, examples, verbose
from images.builders import (
    BUILDERS,
    COMMAND_TIMEOUT_S,
    IMAGE_NAME,
    NO_BASE,
    NO_LOGIN,
    NO_REGISTRY,
    PROJECT,
    Builder,
    ImageError,
    filled,
    find_builder,
    run_command,
)
from images.project import Project, read_project

DEFAULT_TARGETS = ("task", "agent")
"""Who serves nothing does not wait for the image that serves."""

TARGETS = (*DEFAULT_TARGETS, "serving")

DOCKERFILE = "images/Dockerfile"
PROJECT_DOCKERFILE = "images/project.Dockerfile"
BUILD_TIMEOUT_S = 1_800

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
SOURCES = FilePath(exists=True, file_okay=False, readable=True)

LOCAL_CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Where a Debian machine's administrator puts the certificates of a company's proxy."""


def images() -> dict[str, str]:
    """Return each build target and the image that it makes, by its full name."""
    values = AgentValues.load()
    return {
        "task": full_name(values.default_image),
        "agent": full_name(values.agent_image),
        "serving": full_name(serving_values.image()),
    }


def full_name(image: str) -> str:
    """Return an image's name with its registry, as a node looks it up."""
    first = image.split("/")[0]
    if "/" in image and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if "/" in image else f"docker.io/library/{image}"


def build(
    target: str,
    image: str,
    builder: Builder,
    *,
    base: str | None,
    index: str | None,
    ca: bytes,
    dockerfile: str = DOCKERFILE,
    further: Mapping[str, str] | None = None,
    context: Path | None = None,
    s3: bool = False,
) -> None:
    """Build one target of a Dockerfile as `image`.

    Args:
        target: The target.
        image: The image's name.
        builder: What builds.
        base: Base image; None for the Dockerfile's.
        index: Package index likewise.
        ca: Certificates that the image trusts.
        dockerfile: The Dockerfile.
        further: More arguments of it.
        context: Folder of the build context `project`.
        s3: Whether steps have what the SDK needs for S3.

    Raises:
        ImageError: The build fails; the message ends with its last lines.
    """
    arguments = {"VERSION": image.rpartition(":")[2], "REVISION": _revision(), "CA_DIGEST": _digest(ca)}
    given = (("BASE", base), ("INDEX_URL", index), ("PYTHON", python_of(image)), ("S3", "s3" if s3 else None))
    arguments |= {name: value for name, value in given if value} | dict(further or {})
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    options += ["--build-context", f"project={context}"] if context else []
    with tempfile.NamedTemporaryFile(suffix=".pem") as secret:
        secret.write(ca)
        secret.flush()
        options += ["--secret", f"id=ca,src={secret.name}"]
        with _clean_up(builder) as marks:
            argv = [*builder.build, *marks, "--file", dockerfile, "--target", target, "--tag", image, *options, "."]
            run_command(argv, timeout_s=BUILD_TIMEOUT_S, hints=[(NO_REGISTRY, NO_BASE)] if base is None else ())


def build_project(
    project: Project,
    image: str,
    builder: Builder,
    *,
    base: str | None,
    index: str | None,
    ca: bytes,
    pythons: Mapping[str, str] | None = None,
) -> None:
    """Build a task image with the packages of somebody's own project.

    Args:
        project: The project.
        image: The image's name.
        builder: What builds.
        base: Base image; None for the Dockerfile's.
        index: Package index likewise.
        ca: Certificates that the image trusts.
        pythons: Where another Python than the base's is fetched, as arguments of the Dockerfile.

    Raises:
        ImageError: The build fails; the message ends with its last lines.
    """
    task_base = f"localhost/clearml-pods-task-base:{images()['task'].rpartition(':')[2]}"
    build("task-base", task_base, builder, base=base, index=index, ca=ca)
    with tempfile.TemporaryDirectory(prefix="clearml-pods-project-") as folder:
        project.write(Path(folder))
        build(
            "project",
            image,
            builder,
            base=None,
            index=index,
            ca=b"",
            dockerfile=PROJECT_DOCKERFILE,
            further={"TASK_BASE": task_base, "SDK": version("clearml")} | dict(pythons or {}),
            context=Path(folder),
            s3=project.s3,
        )


def push(builder: Builder, image: str) -> None:
    """Hand an image to its registry, with the log-in that the builder has.

    Raises:
        ImageError: The registry refuses it, or is not reached.
    """
    registry = image.split("/")[0]
    hints = (NO_LOGIN, f"{builder.name} login {registry}"), (NO_REGISTRY, f"is {registry} reached from here?")
    run_command(filled(builder.push, image, Path()), timeout_s=BUILD_TIMEOUT_S, hints=hints)


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
            for container in run_command(["buildah", "containers", "--quiet"]).split():
                with contextlib.suppress(ImageError):  # another build has removed it
                    if json.loads(run_command(["buildah", "inspect", container])).get("CNIConfigDir") == mark:
                        run_command(["buildah", "rm", container])
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
            run_command(["mmdebstrap", "--quiet", *DEBIAN_OPTIONS, "bookworm", str(half)])
    if builder.load_base:
        run_command(filled(builder.load_base, DEBIAN_BASE, archive))
        return DEBIAN_BASE
    container = run_command(["buildah", "from", "scratch"]).strip()
    try:
        run_command(["buildah", "add", "--quiet", container, str(archive), "/"])
        run_command(["buildah", "commit", "--quiet", "--format", "docker", "--timestamp", "0", container, DEBIAN_BASE])
    finally:
        run_command(["buildah", "rm", container])
    return DEBIAN_BASE


def save(builder: Builder, image: str, archive: Path) -> None:
    """Write `image` into an archive that a node can be given."""
    with _whole(archive) as half:
        run_command(filled(builder.save, image, half), timeout_s=COMMAND_TIMEOUT_S)


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
        return int(run_command(filled(builder.size, image, Path())))
    rows = json.loads(run_command(["buildah", "images", "--json", image]))
    number, unit = rows[0]["size"].split()
    return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def local_certificates() -> bytes:
    """Return the certificates that this machine trusts beyond Debian's."""
    return b"\n".join(path.read_bytes().strip() + b"\n" for path in sorted(LOCAL_CERTIFICATES.glob("*.crt")))


@click.command(context_settings=CONTEXT)
@click.argument("targets", metavar="[task] [agent] [serving]", nargs=-1, type=click.Choice(TARGETS))
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
@click.option(
    "--project", metavar="FOLDER", type=SOURCES, help="Build a task image with the packages of another project instead."
)
@click.option("--package", is_flag=True, help="With --project: install the project's own package, too.")
@click.option("--image", metavar="NAME", help="With --project: the image's name, without a tag.")
@click.option(
    "--python-mirror",
    envvar="UV_PYTHON_INSTALL_MIRROR",
    show_envvar=True,
    metavar="URL",
    help="With --project: fetch another Python than 3.11 from this mirror, not from GitHub.",
)
@click.option(
    "--python-list",
    envvar="UV_PYTHON_DOWNLOADS_JSON_URL",
    show_envvar=True,
    metavar="URL",
    help="With --project: a list of Pythons of your own, as uv reads it.",
)
@click.option("--s3", is_flag=True, help="Add boto3 to the task image, by which the SDK stores files in S3.")
@click.option("--push", "to_push", is_flag=True, help="Also push the images to the registry in their names.")
@as_json
@verbose
@examples(
    "python -m images.build --debian-base --archives /tmp/images",
    "python -m images.build --project ~/house-prices --image registry.example.com/team/house-prices --push",
)
def cli(
    targets: tuple[str, ...],
    builder: str | None,
    base: str | None,
    debian_base: bool,
    index_url: str | None,
    ca: Path | None,
    no_ca: bool,
    archives: Path | None,
    project: Path | None,
    package: bool,
    image: str | None,
    python_mirror: str | None,
    python_list: str | None,
    s3: bool,
    to_push: bool,
    as_json: bool,
) -> None:
    """Build the task image and the agent image, or those that are named; `serving` is for ./task deploy-serve.

    With --project, build a task image with the packages that another project's uv.lock, requirements.txt,
    pyproject.toml or environment.yml names. Its tag is a digest of them.
    """
    wanted = {target: images()[target] for target in targets or DEFAULT_TARGETS} if project is None else {}
    if project is None and (package or image):
        raise click.UsageError("--package and --image go with --project")
    if image and not IMAGE_NAME.fullmatch(image):
        raise click.UsageError(f"--image {image!r} is not as 'registry.example.com/team/house-prices': without a tag")
    if project is not None:
        if targets:
            raise click.UsageError("--project builds one image: name no other")
        theirs = read_project(project, package=package, s3=s3)
        wanted = {"project": f"{full_name(image or f'clearml-task-{theirs.name}')}:{theirs.tag}"}
        if not theirs.locked:
            click.echo(
                f"{theirs.kind} does not lock its packages: they may change under the same tag (uv lock locks them)"
            )
    program = find_builder(builder, debian_base=debian_base)
    certificates = b"" if no_ca else ca.read_bytes() if ca else local_certificates()
    if certificates:
        click.echo(f"the images trust {ca or LOCAL_CERTIFICATES} too")
    cache = cache_folder(os.environ) / "images"
    base = ensure_debian_base(program, cache) if debian_base else base
    results: list[dict[str, object]] = []
    for target, name in wanted.items():
        begun = time.monotonic()
        if project is None:
            build(target, name, program, base=base, index=index_url, ca=certificates, s3=s3)
        else:
            places = {"PYTHON_MIRROR": python_mirror or "", "PYTHON_DOWNLOADS": python_list or ""}
            build_project(theirs, name, program, base=base, index=index_url, ca=certificates, pythons=places)
        size, seconds = size_bytes(program, name), time.monotonic() - begun
        results.append({"target": target, "image": name, "bytes": size, "seconds": round(seconds, 1)})
        click.echo(f"{name}: {size / 1e6:.0f} MB, built in {seconds:.0f} s by {program.name}")
    if archives:  # once all are built: the archives of one call belong together
        archives.mkdir(parents=True, exist_ok=True)
        for row in results:
            file = archives / f"{row['target']}.tar"
            save(program, str(row["image"]), file)
            row["archive"] = str(file)
            click.echo(f"archive: {file}")
    for row in results if to_push else ():
        push(program, str(row["image"]))
        click.echo(f"{row['image']}: pushed")
    if as_json:
        click.echo(json.dumps({"images": results}))


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        words: What follows `python -m images.build`; default: the process's own.
    """
    return run(cli, words, program="python -m images.build")


def _revision() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout.strip() or "unknown"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
