"""The programs that build images: docker, podman and buildah, as command lines; running one, and ending it.

Outside systems: these programs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clearml_access.errors import UserFacingError
from command_line import interrupts

PROJECT = Path(__file__).resolve().parents[1]
COMMAND_TIMEOUT_S = 600
END_GRACE_S = 10


IMAGE_NAME = re.compile(r"([a-zA-Z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*")
"""An image's name without a tag."""

NO_REGISTRY = re.compile(r"pinging container registry|no such host|connection refused|i/o timeout|failed to resolve")
NO_LOGIN = re.compile(r"unauthorized|authentication required|denied", re.IGNORECASE)
NO_BASE = "--debian-base makes the base image of Debian's packages; --base IMAGE names another"


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

    push: tuple[str, ...] = ()
    """Hands the image to the registry that its name begins with."""


# Debian's buildah and podman run a build's commands under chroot: also in containers and without cgroup rights.
ISOLATED = ("--isolation", "chroot", "--layers", "--format", "docker")
BUILDERS = (
    Builder(
        "docker",
        build=("docker", "build"),
        save=("docker", "save", "--output", "{archive}", "{image}"),
        size=("docker", "image", "inspect", "--format", "{{{{.Size}}}}", "{image}"),
        load_base=("docker", "import", "{archive}", "{image}"),
        push=("docker", "push", "--quiet", "{image}"),
    ),
    Builder(
        "podman",
        build=("podman", "build", *ISOLATED),
        save=("podman", "save", "--format", "docker-archive", "--output", "{archive}", "{image}"),
        size=("podman", "image", "inspect", "--format", "{{{{.Size}}}}", "{image}"),
        load_base=("podman", "import", "{archive}", "{image}"),
        push=("podman", "push", "--quiet", "{image}"),
    ),
    Builder(
        "buildah",
        build=("buildah", "build", *ISOLATED),
        save=("buildah", "push", "--quiet", "{image}", "docker-archive:{archive}:{image}"),
        size=(),
        load_base=(),
        push=("buildah", "push", "--quiet", "{image}"),
    ),
)


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


def filled(template: tuple[str, ...], image: str, archive: Path) -> list[str]:
    """Return a builder's command line for an image and an archive."""
    return [word.format(image=image, archive=archive) for word in template]


def _works(argv: Sequence[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def run_command(
    argv: Sequence[str], timeout_s: int = COMMAND_TIMEOUT_S, hints: Sequence[tuple[re.Pattern[str], str]] = ()
) -> str:
    """Run a program in this project's folder; return what it prints.

    Args:
        argv: The program and its arguments.
        timeout_s: It is ended after so many seconds.
        hints: What helps where its last lines say this.

    Raises:
        ImageError: It is not installed, fails, or does not end in time; the message has its last lines.
    """
    process = None
    try:
        with interrupts.held():
            process = subprocess.Popen(
                argv, cwd=PROJECT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,  # a signal to it reaches all that it has started
            )  # fmt: skip
        stdout, stderr = process.communicate(timeout=timeout_s)
    except FileNotFoundError as missing:
        raise ImageError(f"{argv[0]} is not installed", hint=f"apt-get install {argv[0]}") from missing
    except BaseException as ended:
        if process is not None:
            _end(process)
        if isinstance(ended, subprocess.TimeoutExpired):
            raise ImageError(f"{' '.join(argv[:4])} … did not end within {timeout_s} s") from ended
        raise
    if process.returncode:
        said = "\n".join((stdout + stderr).strip().splitlines()[-20:])
        hint = next((hint for words, hint in hints if words.search(said)), None)
        raise ImageError(f"{' '.join(argv[:4])} … ended with {process.returncode}:\n{said}", hint=hint)
    return str(stdout)


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and all that it has started, and give it time to remove its mounts and temporary files."""
    for number, grace_s in ((signal.SIGTERM, END_GRACE_S), (signal.SIGKILL, END_GRACE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=grace_s)
