"""`pipeline new`: a small project of somebody's own, of the shape of this one, which passes its own test at once.

`template/` is that project, under the name New pipeline; writing it is copying it under another name. Nothing in it
imports this package. Outside system: the file system.
"""

from __future__ import annotations

import keyword
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

from clearml_access.own_server import PROJECT
from pipeline.errors import OutputFileError, SettingsError

TEMPLATE = Path(__file__).parent / "template"

DISTRIBUTION, MODULE, TITLE = "new-pipeline", "new_pipeline", "New pipeline"
"""How the template spells its name."""

INSTALL = ".venv/bin/pip install -e '.[test]'"
"""How the template spells the command that installs its packages."""

DOT_FILES = {"gitignore": ".gitignore"}
"""Files that would have an effect in this repository."""

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SHORTEST = 3
"""ClearML takes no project with a shorter name."""


def check_name(name: str) -> None:
    """Find out whether a project can have a name.

    Raises:
        SettingsError: It cannot; the message says why.
    """
    module = name.replace("-", "_")
    hint = "for example: .venv/bin/python -m pipeline new house-prices"
    if not NAME.fullmatch(name) or len(name) < SHORTEST:
        raise SettingsError(
            f"{name!r} cannot be the name of a project: at least {SHORTEST} lower-case letters and digits, "
            "with single hyphens between them, a letter first",
            hint=hint,
        )
    if keyword.iskeyword(module) or find_spec(module):
        raise SettingsError(f"{name!r} cannot be the name of a project: a Python module has that name", hint=hint)


def install_command() -> str:
    """Return the command that installs a project's packages: in a clone, the server that its tests need comes from it.

    The server's package may not be on an index.
    """
    server = PROJECT / "localserver"
    if not (server / "pyproject.toml").is_file():
        return INSTALL
    return INSTALL.replace(" -e ", f" {shlex.quote(f'{server}[sdk,agent]')} -e ")


def write_project(name: str, folder: Path) -> Path:
    """Write a new project into a folder below `folder` that has its name; return that folder.

    Raises:
        SettingsError: The name cannot be that of a project.
        OutputFileError: The folder exists already, or cannot be written.
    """
    check_name(name)
    target = folder / name
    if target.exists() or target.is_symlink():
        raise OutputFileError(
            f"{target} exists already: nothing was written",
            hint="choose another name, or another place with --folder FOLDER",
        )
    words = {
        INSTALL: install_command(),
        DISTRIBUTION: name,
        MODULE: name.replace("-", "_"),
        TITLE: name.replace("-", " ").capitalize(),
    }
    staging = target.with_name(f".{name}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            relative = source.relative_to(TEMPLATE).as_posix()
            file = staging / _renamed(DOT_FILES.get(relative, relative), words)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_renamed(source.read_text(encoding="utf-8"), words), encoding="utf-8")
        staging.rename(target)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise OutputFileError(
            f"{target} cannot be written: {error.strerror}", hint="choose another place with --folder FOLDER"
        ) from error
    return target


def _renamed(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text
