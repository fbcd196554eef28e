"""Answers the agent's pip calls in a task pod where nothing has to be installed, and hands on the others.

Before every step the agent runs pip five times: upgrade pip, list, install Cython, install the step's requirements,
list again. Each costs 0.5 s and more, and the first asks the package index. In an image that already holds what a
step pins, all five are looked up in the installed packages' records in 0.1 s and without a network. A step that pins
something else gets it: then the real pip runs, with the arguments as they came.

It must never answer what it does not understand: any option or requirement it does not know goes to pip.
Standard library and `packaging` only. Outside system: pip.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

HARMLESS = {
    "--upgrade",
    "-U",
    "--disable-pip-version-check",
    "--quiet",
    "-q",
    "--no-cache-dir",
    "--use-deprecated=legacy-resolver",
}
"""Options that change nothing when nothing has to be installed. Here, "upgrade" means: what satisfies the request."""

SOURCES = {"--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--trusted-host"}
"""Options with a value that say where a package would come from."""

HABITS = {"Cython"}
"""What the agent installs on its own account, by name on the command line, for sources that pip builds in an
environment of their own anyway. A step that lists it in its requirements means it."""

TOOLS = {"pip", "setuptools", "wheel", "distribute"}
"""What `pip freeze` leaves out, unless it is told `--all`."""

PIP = (sys.executable, "-m", "pip")


class AskPip(Exception):  # noqa: N818 - a decision, no error
    """Only pip can answer this."""


def answer(arguments: list[str]) -> str:
    """Return what to print for a pip command line that needs no pip.

    Raises:
        AskPip: It does.
    """
    words = [word for word in arguments if word != "--disable-pip-version-check"]
    if words[:1] == ["freeze"] and set(words[1:]) <= {"--all"}:
        return freeze(everything="--all" in words)
    if words[:1] == ["install"]:
        named, files = split(words[1:])
        wanted = [text for text in named if text not in HABITS]
        wanted += [text for file in files for text in from_file(file)]
        if all(is_satisfied(text) for text in wanted):
            return f"{len(wanted)} requirement(s) already satisfied by this image\n"
    raise AskPip


def split(words: list[str]) -> tuple[list[str], list[Path]]:
    """Return the requirements and the requirements files of an `install` command line."""
    named, files = [], []
    rest = iter(words)
    for word in rest:
        if word in ("-r", "--requirement"):
            files.append(Path(next(rest, "")))
        elif word in SOURCES:
            next(rest, None)
        elif not word.startswith("-"):
            named.append(word)
        elif word not in HARMLESS and word.partition("=")[0] not in SOURCES:
            raise AskPip
    return named, files


def from_file(path: Path) -> Iterator[str]:
    """Yield the requirements in a requirements file."""
    try:
        lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    except OSError as error:
        raise AskPip from error
    for line in lines:
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        if text.startswith("-"):
            if re.split(r"[\s=]", text)[0] not in SOURCES:
                raise AskPip
        elif text:
            yield text


def is_satisfied(text: str) -> bool:
    """Return whether what is installed is what one requirement asks for."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError as error:
        raise AskPip from error
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise AskPip from error
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    if wanted.url or wanted.extras:  # what an address or an extra brings is for pip to find out
        raise AskPip
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def freeze(*, everything: bool, path: list[str] | None = None) -> str:
    """Return what `pip freeze` prints of the packages in `path`."""
    rows = {}
    for package in metadata.distributions(path=path or sys.path):
        if package.read_text("direct_url.json"):  # installed from an address, which only pip spells out
            raise AskPip
        name = package.metadata["Name"]
        if everything or name not in TOOLS:
            rows[name.lower()] = f"{name}=={package.version}\n"
    return "".join(rows[name] for name in sorted(rows))


def main() -> None:
    """Answer, or become pip."""
    try:
        sys.stdout.write(answer(sys.argv[1:]))
    except AskPip:
        os.execv(PIP[0], [*PIP, *sys.argv[1:]])  # noqa: S606 - no shell: the agent's own words, to pip


if __name__ == "__main__":
    main()
