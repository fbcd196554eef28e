"""`check-release`: what must hold before a version is tagged. Reads files and git; changes nothing."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from maintenance.pins import PINS, SourceError
from maintenance.update_pins import LOCKS

GIT_TIMEOUT_S = 60
LOCK_TIMEOUT_S = 300


@dataclass(frozen=True)
class Finding:
    """One check's result; `problem` is empty when it holds."""

    title: str
    problem: str = ""


def check(root: Path) -> Iterable[Finding]:
    """Yield one finding a check, in an order in which a maintainer repairs them."""
    version = _version(root / "pyproject.toml")
    server = _version(root / "localserver/pyproject.toml")
    tag = f"{version}-py{_python(root / 'pyproject.toml')}"
    for title, problem in (
        (f"CHANGELOG.md has a dated section {version}", lambda: _changelog(root / "CHANGELOG.md", version)),
        (
            f"localserver/CHANGELOG.md has a dated section {server}",
            lambda: _changelog(root / "localserver/CHANGELOG.md", server),
        ),
        (
            f"the images of helm/values-agent.yaml and helm/values-serving.yaml are tagged {tag}",
            lambda: _tags(root, tag),
        ),
        ("every pin is the same in all its places", lambda: _pins(root)),
        ("lock files match their projects", lambda: _locks(root)),
        ("nothing is uncommitted", lambda: _git(root, "status", "--porcelain")),
        (f"tag v{version} does not exist yet", lambda: _git(root, "tag", "--list", f"v{version}")),
    ):
        yield Finding(title, _said(problem))


def _said(problem: Callable[[], str]) -> str:
    try:
        return problem()
    except (OSError, SourceError, subprocess.TimeoutExpired) as error:
        return str(error)


def _version(path: Path) -> str:
    version: str = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"]
    return version


def _python(path: Path) -> str:
    """Return the one minor version of Python that the project allows: `requires-python = "==3.11.*"`."""
    wanted: str = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["requires-python"]
    return wanted.removeprefix("==").removesuffix(".*")


def _changelog(path: Path, version: str) -> str:
    text = path.read_text(encoding="utf-8")
    if not re.search(rf"(?m)^## {re.escape(version)} \(\d{{4}}-\d{{2}}-\d{{2}}\)$", text):
        return f"{path} has no line `## {version} (YYYY-MM-DD)`: rename the section Unreleased"
    unreleased = re.search(r"(?ms)^## Unreleased$(.*?)(?=^## |\Z)", text)
    if unreleased and unreleased[1].strip():
        return f"{path} still has entries under Unreleased"
    return ""


def _tags(root: Path, wanted: str) -> str:
    for file, image in (("values-agent.yaml", "clearml-pods-task"), ("values-serving.yaml", "clearml-pods-serving")):
        text = (root / "helm" / file).read_text(encoding="utf-8")
        tags = set(re.findall(rf"(?m)^\s*[^#\n]*{image}:([\w.-]+)", text))
        if tags != {wanted}:
            return f"in {file} it is tagged {', '.join(sorted(tags)) or 'nothing'}"
    return ""


def _pins(root: Path) -> str:
    for pin in PINS:
        pin.current(root)
    return ""


def _locks(root: Path) -> str:
    for lock in LOCKS:
        if lock.command[:2] != ("uv", "lock"):
            continue  # a compiled list has no project to be compared with
        command = [*(word for word in lock.command if word != "--upgrade"), "--check"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=LOCK_TIMEOUT_S, check=False)
        if done.returncode:
            return f"{lock.file} is not up to date: {' '.join(command[:-1])}"
    return ""


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
    )
    return ", ".join(done.stdout.split("\n")[:3]).strip(", ")
