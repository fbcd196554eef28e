"""The interpreter that an agent runs steps in: a copy of this environment, and a quick answer to the agent's pip calls.

Outside system: the file system; `uv` is only named, the agent runs it. Three things are made per worker:

- `env/`, a copy of the environment by hard links (0.5 s, no disk space). No task changes it for good: what a
  task installs there is found by the folder's time of change before the next task, and it is made again.
- `task-env/`, made when a task asks for something else than what is there, and its own: a copy of what is kept with
  the same pins (`kept_environments`), else of `env/` with what is asked for installed into it. Neither the next task
  nor another worker is affected.
- `python`, the interpreter that the agent is told to use. The agent runs `pip` five times a task (upgrade pip, list,
  Cython, requirements, list: 4.1 s in this environment); uv answers the same questions in 0.3 s. A task that asks for
  nothing else costs nothing more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from clearml_access.own_server import PROJECT
from clearml_access.processes import BOOT_ID, START_TICKS, start_of
from pipeline.local_stack.kept_environments import SITE, KeptEnvironments, Pins, link_tree
from pipeline.sdk import at_start

TASK_ENVIRONMENT, OWNER, UNCHANGED = "task-env", "task-env.owner", "env.unchanged"
"""In a worker's folder: a task's own environment; the process that it belongs to; when `env` was as it is to be."""

PINS = "pins.json"
"""In a task's own environment: what it has asked for so far."""

AT_START = Path(at_start.__file__).parent
"""What each process of a task runs first."""

INTERPRETER = """\
#!/bin/sh
# The interpreter of worker {name}; pipeline/local_stack/environment.py says why.
real={python}
helper() {{ {helper} "$@"; }}
start_of() {{
    [ -e {boot_id} ] || return
    read -r boot < {boot_id}
    read -r line < "/proc/$1/stat" 2>/dev/null || return
    set -- ${{line##*)}}
    shift {start_ticks}
    echo "$boot $1"
}}
# Some task has changed the environment of all tasks.
[ {site} -nt {unchanged} ] && helper restore
# The agent's process of a task calls pip, and becomes that task; a pid alone may be another process by now.
if [ -e {owner} ]; then
    read -r pid start < {owner}
    if [ "$pid" = "$$" ] || [ "$pid" = "$PPID" ]; then
        if [ ! -e {boot_id} ] || [ "$(start_of "$pid")" = "$start" ]; then real={task_python}; fi
    fi
fi
own_environment() {{
    [ "$real" = {task_python} ] || helper own "$PPID" || exit 1
    real={task_python}
}}
{pip}export PYTHONPATH={at_start}"${{PYTHONPATH:+:$PYTHONPATH}}"
# A step must not outlive its agent: no process would be left to report how it ended.
exec {guard}"$real" "$@"
"""

PIP = """\
if [ "$1 $2" = "-m pip" ]; then
    case " $* " in *" uninstall "*) own_environment ;; esac
    if [ "$3" = --disable-pip-version-check ] && [ "$4" = install ]; then shift 4; elif [ "$3" = install ]; then shift 3
    else exec "$real" "$@"; fi
    helper install "$PPID" "" "$@"
    exit
fi
"""

PIP_BY_UV = """\
if [ "$1 $2" = "-m pip" ]; then
    shift 2
    [ "$1" = --disable-pip-version-check ] && shift
    case "$1" in
    freeze)
        # Without the project itself: it is on no index, so it could not be installed from this list.
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
        said=$({uv} pip install --dry-run --python "$real" "$@" 2>&1) || said=
        case "$said" in *"Would make no changes"*) echo "$said"; exit 0 ;; esac
        helper install "$PPID" {uv} "$@"
        exit ;;
    uninstall)
        own_environment ;;
    esac
    exec "$real" -m pip "$@"
fi
"""


@dataclass(frozen=True)
class WorkerEnvironment:
    """The environments of one worker.

    Attributes:
        folder: The worker's own.
        source: The environment that its tasks' is a copy of.
        kept_folder: What all workers of this machine keep of tasks' own environments.
    """

    folder: Path
    source: Path
    kept_folder: Path

    @property
    def kept(self) -> KeptEnvironments:
        """What is kept of tasks' own environments."""
        return KeptEnvironments(self.kept_folder, self.path)

    @property
    def task_path(self) -> Path:
        """The environment of the task that was the last to ask for one of its own."""
        return self.folder / TASK_ENVIRONMENT

    @property
    def path(self) -> Path:
        """The environment of all tasks that ask for nothing else."""
        return self.folder / "env"

    def restore(self) -> Path:
        """Make the environment of all tasks what it is to be, unless it is; return its interpreter."""
        python = copy_environment(self.source, self.path)
        (self.folder / UNCHANGED).touch()
        return python

    def forget_task(self) -> None:
        """Remove the environment of the task that was the last to ask for one of its own."""
        (self.folder / OWNER).unlink(missing_ok=True)
        shutil.rmtree(self.task_path, ignore_errors=True)

    def own(self, process: psutil.Process, template: Path | None = None, pins: Pins | None = None) -> None:
        """Make an environment for one task.

        Args:
            process: The agent's process of that task.
            template: What it is to be a copy of; default: the environment of all tasks.
            pins: What is in it beyond that one; default: something that nobody knows.

        Raises:
            OSError: The template has been removed, or the disk is full.
        """
        self.forget_task()
        copy_environment(template or self.path, self.task_path)
        self.remember(pins or Pins(can_keep=False))
        (self.folder / OWNER).write_text(f"{process.pid} {start_of(process)}\n", encoding="ascii")

    def remember(self, pins: Pins) -> None:
        """Note what a task has asked for so far."""
        file = self.task_path / PINS
        file.unlink(missing_ok=True)  # a copy's is the template's own file
        file.write_text(json.dumps(asdict(pins)), encoding="utf-8")

    def pins_of(self, process: psutil.Process) -> Pins | None:
        """Return what a task has asked for so far; None if it has no environment of its own.

        Args:
            process: The agent's process of that task.
        """
        try:
            owner = (self.folder / OWNER).read_text(encoding="ascii").strip()
            said = json.loads((self.task_path / PINS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Pins(tuple(said["lines"]), said["can_keep"]) if owner == f"{process.pid} {start_of(process)}" else None

    def write_interpreter(self, python: Path, name: str) -> Path:
        """Write the executable that the agent is given as the steps' interpreter; return its path.

        Args:
            python: The interpreter of `path`.
            name: The worker.
        """
        uv = find_uv()
        setpriv = shutil.which("setpriv")
        task_python = self.task_path / "bin" / "python"
        # -P: a task's folder may hold a package of our name.
        helper = [
            sys.executable,
            "-P",
            "-m",
            "pipeline.local_stack.task_environment",
            str(self.folder),
            str(self.source),
            str(self.kept_folder),
        ]
        values = {
            "name": name,
            "python": shlex.quote(str(python)),
            "task_python": shlex.quote(str(task_python)),
            "helper": shlex.join(helper),
            "site": shlex.quote(str(next(self.path.glob(SITE), self.path))),
            "unchanged": shlex.quote(str(self.folder / UNCHANGED)),
            "owner": shlex.quote(str(self.folder / OWNER)),
            "boot_id": BOOT_ID,
            "start_ticks": START_TICKS,
            "at_start": shlex.quote(str(AT_START)),
            "uv": shlex.quote(uv or ""),
            "guard": f"{shlex.quote(setpriv)} --pdeathsig TERM " if setpriv else "",
        }
        values["pip"] = (PIP_BY_UV if uv else PIP).format(**values)
        path = self.folder / "python"
        path.write_text(INTERPRETER.format(**values), encoding="utf-8")
        path.chmod(0o700)
        return path


def find_uv() -> str | None:
    """Return the uv that workers use: that of `./task`, also where something else starts them."""
    fetched = (str(file) for file in sorted(PROJECT.glob(".tools/uv==*/bin/uv")))
    return os.environ.get("UV") or shutil.which("uv") or next(fetched, None)


def copy_environment(source: Path, target: Path) -> Path:
    """Make `target` a hard-linked copy of environment `source` unless it is one; return its interpreter."""
    python = target / "bin" / "python"
    if fingerprint(source) != fingerprint(target) or not python.exists():
        staging = target.with_name(target.name + ".new")
        shutil.rmtree(staging, ignore_errors=True)
        link_tree(source, staging, target)
        shutil.rmtree(target, ignore_errors=True)
        staging.replace(target)
    return python


def fingerprint(environment: Path) -> str:
    """Return a text that changes whenever something is installed into the environment or removed from it."""
    records = environment.glob(f"{SITE}/*.dist-info/RECORD")
    installed = sorted(f"{record.parent.name} {record.stat().st_mtime_ns}" for record in records)
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()
