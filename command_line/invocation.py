"""How a person reached a command: by its program, or by a task of the Taskfile, whose name help and hints then show.

`./task deploy-agent` runs `python -m deploy install`. The Taskfile hands its task's name over in one variable, which is
read here and nowhere else. It is removed from the environment: no process that the command starts is that task.
"""

from __future__ import annotations

import os
import re

import click

VARIABLE = "CLEARML_PODS_TASK"


def taken_from_environment() -> str | None:
    """Return what the person typed if that was a task, such as `./task deploy-agent`."""
    name = os.environ.pop(VARIABLE, "")
    return f"./task {name}" if name else None


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
        task = self.find_root().obj
        return task if isinstance(task, str) else None

    @property
    def _program(self) -> str:
        names = [str(self.info_name)]
        above = self.parent
        while above is not None:
            names.insert(0, str(above.info_name))
            above = above.parent
        return " ".join(names)
