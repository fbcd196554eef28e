"""The consoles of a run while it runs: the controller's and every step's, line by line, each after its step's name.

Read from the server's events, so it is all the same whether a process or a pod wrote them, and on which machine. A
line is never lost and never repeated: writers use clocks of their own, and a console's events may reach the server
late and out of order, so what was taken is remembered, and what the server counts is compared with it. Blank lines are
left out, and unless all lines are asked for, those of agents and libraries. Outside systems: the ClearML server,
through its adapter, and the console that it prints on.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from rich.text import Text

from clearml_access.console import LAST_WORDS_S, Events, Source
from clearml_access.errors import CallRefusedError, ServerUnreachableError
from clearml_access.own_lines import OwnLines
from clearml_access.run_records import ENDED, RunState
from command_line.console import Console
from pipeline.errors import RunError
from pipeline.runs.states import Observer

LOOK_EVERY_S = 1.0
CONTROLLER = "controller"
STYLES = ("cyan", "green", "magenta", "yellow", "blue")


class Server(Events, Protocol):
    """What is asked of the server."""

    def tasks_in_hand(self) -> set[str]:
        """Return the tasks that live workers have not let go of."""


@dataclass
class _Followed:
    """A task of the run."""

    label: str
    style: str
    source: Source
    own: OwnLines
    ended: float | None = field(default=None)
    """When it was first seen ended."""
    refused: bool = False
    """Whether the server has refused its console."""


class Follower:
    """Prints the consoles of a run, and hands everything on to the observer that shows its state.

    Use it as a context manager: at its end it prints the rest.

    Args:
        server: The ClearML server.
        console: Where to print.
        observer: Shows the run's state.
        raw: Print all lines, also those of the agent, the SDK and other libraries.
    """

    def __init__(self, server: Server, console: Console, observer: Observer, *, raw: bool = False) -> None:
        self._raw = raw
        self._server = server
        self._console = console
        self._observer = observer
        self._followed: dict[str, _Followed] = {}
        self._width = len(CONTROLLER)
        self._looked = float("-inf")

    def __enter__(self) -> Follower:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, RunError):
            with contextlib.suppress(KeyboardInterrupt):  # the run has ended; the reader has seen enough
                self.finish()

    def note(self, text: str) -> None:
        """Hand it on."""
        self._observer.note(text)

    def update(self, run: RunState) -> None:
        """Print what is new on the consoles, then hand the state on: a step's lines come before its end."""
        self._add(run)
        if time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._print_new()
        self._observer.update(run)

    def finish(self) -> None:
        """Print the rest after the run's end: wait until no worker has anything of it in hand, 20 s at most."""
        give_up = time.monotonic() + LAST_WORDS_S
        while self._in_hand() and time.monotonic() < give_up:
            self._print_new()
            time.sleep(LOOK_EVERY_S / 2)
        if not self._print_new(all_of_it=True):
            self._observer.note("the server does not answer: the last lines of the consoles are missing here")
        left_out = sum(followed.own.left_out for followed in self._followed.values())
        if left_out:
            self._observer.note(f"{left_out} lines of agents and libraries are not shown; --raw shows all")

    def _in_hand(self) -> bool:
        try:
            return not self._followed.keys().isdisjoint(self._server.tasks_in_hand())
        except ServerUnreachableError:
            return True

    def _add(self, run: RunState) -> None:
        """Follow the run's tasks from the moment they are known; a cached step's console is another run's."""
        self._width = max(len(name) for name in (CONTROLLER, *(step.name for step in run.all_steps)))
        tasks = [(CONTROLLER, run.run_id, run.status)]
        tasks += [(step.name, step.task_id, step.status) for step in run.all_steps if step.task_id and not step.cached]
        # Of a step that comes from the cache, `PipelineDecorator` makes a task and deletes it again.
        current = {task_id for _, task_id, _ in tasks}
        for task_id in [task_id for task_id, one in self._followed.items() if one.refused and task_id not in current]:
            del self._followed[task_id]
        for label, task_id, status in tasks:
            if task_id not in self._followed:
                style = STYLES[len(self._followed) % len(STYLES)]
                self._followed[task_id] = _Followed(label, style, Source(self._server, task_id), OwnLines())
            if status in ENDED:
                followed = self._followed[task_id]
                followed.ended = followed.ended or time.monotonic()

    def _print_new(self, *, all_of_it: bool = False) -> bool:
        """Print what is new; return whether the server answered."""
        self._looked = time.monotonic()
        for followed in self._followed.values():
            quiet = followed.ended is not None and self._looked - followed.ended > LAST_WORDS_S
            if quiet and not all_of_it:
                continue
            try:
                lines = followed.source.lines(all_of_it=all_of_it)
            except ServerUnreachableError:
                return False  # the run's own watch says so; what was not read is read later
            except CallRefusedError as error:
                if followed.refused or all_of_it:
                    self._observer.note(f"the console of {followed.label} cannot be read: {error.message}")
                followed.refused = True
                continue
            for line in lines if self._raw else followed.own.of(lines):
                self._console.print(self._labelled(followed, line), soft_wrap=True, highlight=False)
        return True

    def _labelled(self, followed: _Followed, line: str) -> Text:
        """Return the line after its step's name: aligned and in colours on a terminal, as `./task logs` has it else."""
        text = Text.from_ansi(line)  # of a progress bar only its last state
        if self._console.is_terminal:
            return Text.assemble((followed.label.ljust(self._width), followed.style), (" │ ", "dim"), text)
        return Text.assemble(f"[{followed.label}] ", text.plain)
