"""A task's own lines on its console, without those of the agent, the SDK and other libraries.

An agent prints its configuration, the task's record and the installed packages before it starts a task: more than 150
lines for each. Only lines of a known form are left out, so that a line of an unknown one is always shown; and never a
traceback or an error. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from clearml_access.console import plain

_BLOCKS = tuple(
    (re.compile(start), re.compile(body))
    for start, body in (
        (r"Current configuration \(clearml_agent v", r"-{5,}$|[\w-]+\.[^ ]+ =( |$)"),
        (r"Executing task id \[", r"(repository|branch|version_num|tag|docker_cmd|entry_point|working_dir) =( |$)"),
        (r"Summary - installed python packages:", r"(pip|conda):$|- \S+( @ \S+)?$"),
        (r"Skipping \d+ pre-installed packages:", r"- \S+$"),
        # A warning is followed by the line of source that it is about.
        (r"\S*/(site|dist)-packages/\S+:\d+: \w*Warning: ", r"  \S"),
        (r"(Parameters|Configurations|Overrides):$", r"\{.*\}$"),
    )
)
"""The first line of a block, and the form of those that belong to it."""

_LINE = re.compile(
    "|".join(
        (
            r"task [0-9a-f]{32} pulled from [0-9a-f]{32} by worker ",
            r"Using environment (access|secret) key CLEARML_API_|Storing stdout and stderr log to '",
            r"Running task '[0-9a-f]{32}'$|Leaving process id \d+$|DONE: Running task '[0-9a-f]{32}', exit status 0$",
            r"\d+ requirement\(s\) already satisfied by this image$",
            r"Python interpreter \S+ is set from environment var",
            r"Using Python \S+ environment at: ",
            r"Checked \d+ packages? in |Would make no changes",
            r"INFO: Using legacy resolver for PIP ",
            r"Remaining \d+ additional packages to install",
            r"Requirement already satisfied: |Collecting |  (Downloading|Using cached) ",
            r"Installing collected packages: ",
            r"Running task id \[|\[[^\]]*\]\$ \S*python\S* ",
            r"Environment setup completed successfully|Starting Task Execution:|Process completed successfully",
            r"ClearML (Task: created new task id=|(results|pipeline|dataset) page: |Monitor: )",
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - clearml[\w.]* - (DEBUG|INFO|WARNING) - ",
            r"Launching the next \d+ steps$|Launching step: ",
        )
    )
)
"""Lines of the agent, of pip and of the SDK."""

_TROUBLE = re.compile(r"\b(Traceback|\w*Error|ERROR|\w*Exception|FATAL|CRITICAL)\b")

_TRACEBACK = "Traceback (most recent call last)"


READ_LINES = 600
"""How many lines of a console's end are read to find its own: those of agents and libraries are up to 400."""


def last_own(lines: Sequence[str], most: int) -> list[str]:
    """Return the last of a task's own lines among those of its console; where it has none, the last of all."""
    return (list(OwnLines().of(lines)) or list(lines))[-most:]


class OwnLines:
    """Takes a console line by line, and gives those that are the task's own."""

    def __init__(self) -> None:
        self.left_out = 0
        """How many lines were not given."""
        self._was_own = True
        self._body: re.Pattern[str] | None = None
        self._in_traceback = False

    def of(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the task's own lines out of the next lines of its console."""
        for line in lines:
            if self.is_own(line):
                yield line
            else:
                self.left_out += 1

    def is_own(self, line: str) -> bool:
        """Return whether the next line of the console is the task's own; a blank one goes with the line before it."""
        text = plain(line)
        if text:
            self._was_own = self._judged(text)
        return self._was_own

    def _judged(self, text: str) -> bool:
        if self._continues_traceback(text):
            return True
        if self._body is not None and self._body.match(text):
            return False
        self._body = next((body for start, body in _BLOCKS if start.match(text)), None)
        if self._body is not None:
            return False
        return not _LINE.match(text) or _TROUBLE.search(text) is not None

    def _continues_traceback(self, text: str) -> bool:
        """Return whether a line is part of a traceback, its last line included: the one that is not indented."""
        if _TRACEBACK in text:
            self._in_traceback, self._body = True, None
            return True
        was = self._in_traceback
        self._in_traceback = was and text.startswith((" ", "\t"))
        return was
