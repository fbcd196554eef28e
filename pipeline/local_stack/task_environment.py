"""What a worker's interpreter has done in Python: its environment made again, or an environment of its own for a task.

Run by the script that `pipeline.local_stack.environment` writes, and only when a task asks for other packages or has
changed the environment of all. What it prints is on the task's console. Outside systems: uv, pip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from pipeline.local_stack.environment import WorkerEnvironment
from pipeline.local_stack.kept_environments import Pins

MODULE = "pipeline.local_stack.task_environment"
"""This one."""

NICE = 19
"""How much less urgent the copy that is kept is than the task that it was made for."""


def install(environment: WorkerEnvironment, process: psutil.Process, uv: str, words: Sequence[str]) -> int:
    """Give a task what it asks for, in an environment of its own; return the exit code.

    Args:
        environment: The worker's.
        process: The agent's process of the task.
        uv: The program; none if empty.
        words: What follows `install`.
    """
    before = environment.pins_of(process)
    try:
        pins = (before or Pins()).with_words(words)
    except OSError:  # pip says which file that is
        pins = Pins(can_keep=False)
    template = environment.kept.find(pins)
    if template and _take(environment, process, template, pins):
        return 0
    if template or before is None:
        environment.own(process)
        earlier = before.lines if before else ()
        words = [*(line for line in earlier if not line.startswith("-")), *words]
    code = _run_installer(str(environment.task_path / "bin" / "python"), uv, words)
    environment.remember(pins if code == 0 else Pins(can_keep=False))
    if code == 0:
        _keep(environment, pins)
    return code


def _take(environment: WorkerEnvironment, process: psutil.Process, template: Path, pins: Pins) -> bool:
    try:
        environment.own(process, template, pins)
    except OSError as error:  # it has just been removed
        print(f"{template} cannot be used: {error}; its packages are installed again", flush=True)
        return False
    print(f"What this task pins is there already: {template.parent}", flush=True)
    return True


def _run_installer(python: str, uv: str, words: Sequence[str]) -> int:
    if uv:
        try:
            done = subprocess.run([uv, "pip", "install", "--python", python, *words], check=False)
        except OSError as error:  # another version has taken its place since the worker was started
            print(f"{error}; pip is asked", flush=True)
        else:
            if done.returncode == 0:
                return 0
    # An index that only pip is configured for.
    return subprocess.run([python, "-m", "pip", "install", *words], check=False).returncode


def _keep(environment: WorkerEnvironment, pins: Pins) -> None:
    try:
        half = environment.kept.begin_to_keep(environment.task_path, pins)
    except OSError as error:
        print(f"What was installed is not kept for other tasks in {environment.kept_folder}: {error}", flush=True)
        return
    if half is None:
        return
    _finish_beside(environment, half)
    print(f"What was installed is kept for tasks with the same pins: {environment.kept.place(pins)}", flush=True)


def _finish_beside(environment: WorkerEnvironment, half: Path) -> None:
    """Let a process of its own do the rest: the task does not wait for it. It ends with the worker."""
    folders = (environment.folder, environment.source, environment.kept_folder)
    subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE, *map(str, folders), "finish", str(half)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Do `restore`, `own PID`, `install PID UV WORDS` or `finish FOLDER`; return the exit code.

    Args:
        arguments: The worker's folder, its source environment, the folder of what is kept, the action and its words.
    """
    folder, source, kept, action, *rest = arguments
    environment = WorkerEnvironment(Path(folder), Path(source), Path(kept))
    if action == "restore":
        environment.restore()
    elif action == "own":
        environment.own(psutil.Process(int(rest[0])))
    elif action == "install":
        return install(environment, psutil.Process(int(rest[0])), rest[1], rest[2:])
    else:
        os.nice(NICE)
        environment.kept.finish(Path(rest[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
