"""Reads somebody's own project for a task image: which packages it has, and a digest that stands for them.

Pure but for reading the project's files and writing the folder that the build reads. `images/project.Dockerfile`
installs what that folder has; `images.build` builds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clearml_access.errors import UserFacingError

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = "3.11"
"""Of task images, and of the agent in all of them."""

PYTHONS = (PYTHON, "3.12", "3.13", "3.14", "3.10", "3.9")
"""What steps may have instead, the first that the project allows; the SDK and `images/task` run on all of them."""

ADDED = (
    "images/project.Dockerfile",
    "images/agent/uv.lock",
    "images/task/step-python",
    "pipeline/sdk/at_start/sitecustomize.py",
    "images/task/pip_shim.py",
    "clearml_access/kept_packages.py",
    "images/task/ssh.conf",
    "images/task/agent-python",
    "images/task/start_agent.py",
)
"""What this clone adds to an image of the project: the same tag stands for the same of this, too."""

CONDA = ("environment.yml", "environment.yaml")
KINDS = ("uv.lock", "requirements.txt", "pyproject.toml", *CONDA)
"""What says which packages there are; of several, the first that is there."""

LEFT_OUT = (".*", "venv", "env", "__pycache__", "*.pyc", "*.egg-info", "node_modules", "build", "dist")
"""What is not a part of a project's package, where no git says so; files that begin with a dot may have secrets."""


class ProjectError(UserFacingError):
    """No image can be made of the project; the message says why."""

    exit_code = 10


@dataclass(frozen=True)
class Project:
    """Somebody's own project, as an image is made of it.

    Attributes:
        folder: Where it is.
        name: Its name, as a part of an image's.
        kind: The name of the file that says which packages it has.
        files: What an image is made of, by the path in the folder that the build reads.
        python: The Python of its steps; the agent beside them has its own.
        s3: Whether the image also has what the SDK needs for S3.
    """

    folder: Path
    name: str
    kind: str
    files: dict[str, bytes]
    python: str = PYTHON
    s3: bool = False

    @property
    def tag(self) -> str:
        """The tag of its image: a digest of all that is installed, and the Python."""
        digest = hashlib.sha256()
        added = {f"clone/{name}": (PROJECT / name).read_bytes() for name in ADDED}
        added |= {"option/s3": b""} if self.s3 else {}
        for name, content in sorted((self.files | added).items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return f"{digest.hexdigest()[:12]}-py{self.python}"

    @property
    def locked(self) -> bool:
        """Whether the same files always give the same packages."""
        return self.kind == "uv.lock"

    def write(self, folder: Path) -> None:
        """Write what the build reads."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def read_project(folder: Path, *, package: bool = False, s3: bool = False) -> Project:
    """Read a project.

    Args:
        folder: Its folder.
        package: Whether the image has the project's own package, too.
        s3: Whether it has what the SDK needs for S3, too.

    Raises:
        ProjectError: No file says which packages it has, one cannot be read, it wants a Python that no image has, or it
            has no package.
    """
    kind = next((name for name in KINDS if (folder / name).is_file()), None)
    if kind is None:
        raise ProjectError(
            f"{folder} has no file that says which packages it needs",
            hint=f"one of: {', '.join(KINDS)} (uv lock makes the first)",
        )
    declared = _declared(folder)
    wanted = [(folder, str(declared.get("project", {}).get("requires-python", ""))), *_pinned_python(folder)]
    if kind in CONDA:
        lines, python = from_conda(folder / kind)
        wanted.append((folder / kind, python))
        files = {"requirements.txt": "".join(f"{line}\n" for line in lines).encode()}
    elif kind == "requirements.txt":
        files = dict(_with_included(folder, folder / kind))
    else:
        names = ("pyproject.toml", "uv.lock") if kind == "uv.lock" else ("pyproject.toml",)
        files = {name: _read(folder / name) for name in names}
    if package:
        if "build-system" not in declared:
            raise ProjectError(
                f"{folder} is not a package: its pyproject.toml has no [build-system]",
                hint="without --package the image has its packages alone; its code comes with each task",
            )
        files |= {f"source/{path}": (folder / path).read_bytes() for path in _sources(folder)}
    name = str(declared.get("project", {}).get("name") or folder.resolve().name)
    return Project(
        folder, re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "project", kind, files, _python(wanted), s3
    )


def from_conda(file: Path) -> tuple[list[str], str]:
    """Return the packages of a conda environment as requirements of pip, and its Python: no channel is asked.

    Raises:
        ProjectError: It is not such a file.
    """
    try:
        found = yaml.safe_load(_read(file))
    except yaml.YAMLError as error:
        raise ProjectError(f"{file} is not YAML: {str(error).splitlines()[0]}") from error
    entries = found.get("dependencies") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ProjectError(f"{file} has no list `dependencies`", hint="conda env export --from-history writes one")
    lines: list[str] = []
    python = ""
    for entry in entries:
        if isinstance(entry, dict):
            lines += [str(line) for line in entry.get("pip") or ()]
            continue
        text = str(entry).rpartition("::")[2].replace(" ", "")
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", text)
        if match is None:
            raise ProjectError(f"{file}: {entry!r} is not a package")
        name, version = match[1].lower(), match[2]
        if name == "python":
            python = _as_pip(version)
        elif name not in ("pip", "setuptools"):
            lines.append(name + _as_pip(version))
    return lines, python


def _as_pip(version: str) -> str:
    """Return a version of conda as pip writes it: `=1.2` is any 1.2, `=1.2.3=py311_0` and `==1.2.3` are that one."""
    exact = re.fullmatch(r"=([^=<>!,]+)=[^=,]*", version)
    if exact and not version.startswith("=="):
        return f"=={exact[1]}"
    fuzzy = re.fullmatch(r"=([0-9][0-9a-z.]*?)(?:\.\*)?", version)
    return f"=={fuzzy[1]}.*" if fuzzy else version


def _pinned_python(folder: Path) -> list[tuple[Path, str]]:
    """Return what `.python-version` says, as uv and pyenv write it: `3.12`, `3.12.1` or `cpython-3.12`."""
    file = folder / ".python-version"
    lines = _read(file).decode().split() if file.is_file() else []
    if not lines:
        return []
    number = re.fullmatch(r"(?:cpython[-@]?)?(\d+\.\d+)(?:\.\d+)?", lines[0])
    return [(file, f"=={number[1]}.*" if number else lines[0])]


def _python(wanted: Iterable[tuple[Path, str]]) -> str:
    """Return the first Python that fits all that is wanted.

    Args:
        wanted: The files, and what each says.

    Raises:
        ProjectError: None does, or a file says something else.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    left, said = list(PYTHONS), []
    for where, text in wanted:
        try:
            allowed = SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ProjectError(f"{where}: {text!r} is not a version of Python") from error
        left = [minor for minor in left if any(allowed.contains(f"{minor}.{patch}") for patch in range(30))]
        said += [f"{where} wants Python {text}"] if text else []
    if not left:
        raise ProjectError(
            f"{', '.join(said)}, and task images have Python {', '.join(PYTHONS)}",
            hint="an image of your own works, too, without the fast start: docs/deploy.md, A task's own image",
        )
    return left[0]


def _declared(folder: Path) -> dict[str, Any]:
    file = folder / "pyproject.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}") from error


def _with_included(folder: Path, file: Path) -> Iterable[tuple[str, bytes]]:
    """Yield a requirements file and those that it names, by their paths.

    Raises:
        ProjectError: One is missing, or outside of the project.
    """
    pending, seen = [file], set[Path]()
    while pending:
        current = pending.pop().resolve()
        if current in seen:
            continue
        seen.add(current)
        if not current.is_relative_to(folder.resolve()):
            raise ProjectError(f"{current} is outside of {folder}: the build reads the project alone")
        content = _read(current)
        yield current.relative_to(folder.resolve()).as_posix(), content
        named = re.findall(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)", content.decode(), re.MULTILINE)
        pending += [current.parent / name for name in named if "://" not in name]


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return content


def _sources(folder: Path) -> list[str]:
    """Return the files of a project: those that git knows, or where it is in no checkout, all that look like it."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        names = [name for name in done.stdout.split("\0") if name]
    else:
        ignored = shutil.ignore_patterns(*LEFT_OUT)
        names = []
        for path, folders, found in os.walk(folder):
            dropped = ignored(path, [*folders, *found])
            folders[:] = [name for name in folders if name not in dropped]
            names += [(Path(path) / name).relative_to(folder).as_posix() for name in found if name not in dropped]
    return sorted(name for name in names if (folder / name).is_file() and not (folder / name).is_symlink())
