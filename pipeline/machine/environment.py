"""The interpreter that an agent runs steps in: a copy of this environment, and a quick answer to the agent's pip calls.

Outside system: the file system; `uv` is only named, the agent runs it. Two things are made per worker:

- `env/`, a copy of the environment by hard links (0.5 s, no disk space): a step that pins something else gets it
  installed there, and neither the project's environment nor the worker next door ever notices.
- `python`, the interpreter that the agent is told to use. The agent runs `pip` five times a task (upgrade pip, list,
  Cython, requirements, list: 4.1 s in this environment); uv answers the same questions in 0.3 s.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from pathlib import Path

INTERPRETER = """\
#!/bin/sh
# The interpreter of worker {name}, written by `task server-up`; pipeline/machine/environment.py says why.
real={python}
{pip}# A step must not outlive its agent: nobody would be left to report how it ended.
exec {guard}"$real" "$@"
"""

PIP_BY_UV = """\
if [ "$1 $2" = "-m pip" ]; then
    shift 2
    [ "$1" = --disable-pip-version-check ] && shift
    case "$1" in
    freeze)
        # Without the project itself: it is on no index, so nobody could install it from this list.
        exec {uv} pip freeze --exclude-editable --python "$real" ;;
    install)
        # Wanted for old source distributions; with build isolation they bring their own.
        [ "$2" = Cython ] && exit 0
        # --upgrade (of pip, on every run) would ask the index even when its bounds are met; the other is pip's alone.
        for argument; do
            shift
            case "$argument" in --upgrade | --use-deprecated=*) ;; *) set -- "$@" "$argument" ;; esac
        done
        shift
        {uv} pip install --python "$real" "$@" && exit 0
        set -- install "$@" ;; # an index that only pip is configured for
    esac
    exec "$real" -m pip "$@"
fi
"""


def copy_environment(source: Path, target: Path) -> Path:
    """Make `target` a hard-linked copy of environment `source` unless it is one; return its interpreter."""
    python = target / "bin" / "python"
    if fingerprint(source) != fingerprint(target) or not python.exists():
        staging = target.with_name(target.name + ".new")
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(source, staging, symlinks=True, copy_function=_link)
        shutil.rmtree(target, ignore_errors=True)
        staging.replace(target)
    return python


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def fingerprint(environment: Path) -> str:
    """Return a text that changes whenever something is installed into the environment or removed from it."""
    records = environment.glob("lib/python*/site-packages/*.dist-info/RECORD")
    installed = sorted(f"{record.parent.name} {record.stat().st_mtime_ns}" for record in records)
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()


def write_interpreter(path: Path, python: Path, name: str) -> Path:
    """Write the executable that the agent is given as the steps' interpreter; return its path."""
    uv = os.environ.get("UV") or shutil.which("uv")
    setpriv = shutil.which("setpriv")
    text = INTERPRETER.format(
        name=name,
        python=shlex.quote(str(python)),
        pip=PIP_BY_UV.format(uv=shlex.quote(uv)) if uv else "",
        guard=f"{shlex.quote(setpriv)} --pdeathsig TERM " if setpriv else "",
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(0o700)
    return path
