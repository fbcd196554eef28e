"""How a person reached a command: by its program, or by a task of the Taskfile, and in which folder they typed it.

`./task deploy-agent` runs `python -m deploy install` in the clone. The Taskfile hands over the task's name, which help
and hints show, and the person's folder, which the paths that they type are relative to. The two variables are read here
and nowhere else. They are removed from the environment: no process that the command starts is that task.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import click

TASK_VARIABLE = "CLEARML_PODS_TASK"
FOLDER_VARIABLE = "CLEARML_PODS_FOLDER"
PATH_VARIABLES = ("KUBECONFIG", "CLEARML_CONFIG_FILE")
"""Variables that libraries read; each holds a path, or several with colons between."""


@dataclass(frozen=True)
class Invocation:
    """What a person typed, and where."""

    task: str | None = None
    """Such as `./task deploy-agent`; None for a program."""

    folder: Path = Path()
    """What their relative paths are relative to; empty for this process's own folder."""

    verbose: bool = False
    """They asked for all there is to say."""

    def path(self, text: str) -> str:
        """Return a path that they typed as this process finds it; an address stays as it is."""
        there = self.folder / text
        return str(there) if self.folder.is_absolute() and text and "://" not in text and there.exists() else text


def taken_from_environment() -> Invocation:
    """Return how the person called, and make the paths in the environment those that they mean."""
    name = os.environ.pop(TASK_VARIABLE, "")
    call = Invocation(f"./task {name}" if name else None, Path(os.environ.pop(FOLDER_VARIABLE, "")))
    for variable in PATH_VARIABLES:
        if value := os.environ.get(variable):
            os.environ[variable] = os.pathsep.join(call.path(path) for path in value.split(os.pathsep))
    return call


def invocation_of(context: click.Context | None) -> Invocation:
    """Return how the command of a context was called."""
    call = context.find_root().obj if context else None
    return call if isinstance(call, Invocation) else Invocation()


class Context(click.Context):
    """A context whose root holds the task's call as its `obj`; usage, examples and "Try …" lines show that."""

    @property
    def command_path(self) -> str:
        """What a person types to get here."""
        return self._task or super().command_path

    def get_help(self) -> str:
        """Return the help, with the command's own examples as the person would type them."""
        text = super().get_help()
        if not self._task:
            return text
        program = re.escape(self._program)
        options = re.sub(rf"^( +){program} +(?=\S)", rf"\1{self._task} -- ", text, flags=re.MULTILINE)
        return re.sub(rf"^( +){program}$", rf"\1{self._task}", options, flags=re.MULTILINE)

    @property
    def _task(self) -> str | None:
        return invocation_of(self).task

    @property
    def _program(self) -> str:
        names = [str(self.info_name)]
        above = self.parent
        while above is not None:
            names.insert(0, str(above.info_name))
            above = above.parent
        return " ".join(names)
