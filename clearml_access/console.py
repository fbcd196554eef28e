"""A task's console: lines as they come to the server, and lines from two places, where one continues the other."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

WINDOW = 400
"""How many of the last printed lines are compared."""

OVERLAP_MS = 30_000
"""How far back each look goes: what came late by less is found at once, anything else by the server's count."""

LAST_WORDS_S = 20.0
"""An agent looks at its task's output every 5 s, and a step completes itself before that: its last lines come after its
end, also to its pod's log. This is how long they are waited for at most."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def plain(line: str) -> str:
    """Return a line as it reads: without colours, the last state of a progress bar, no trailing blanks."""
    return _ANSI.sub("", line).rstrip("\r").rpartition("\r")[2].rstrip()


def after(printed: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return those of `lines` that come after what was printed already.

    Both are the same console, seen from the pod and from the server: each has lines that the other has not (the pod's
    start, the agent's notes), so the two are aligned and the rest behind the last common part is new.
    """
    if not printed:
        return list(lines)
    seen = [plain(line) for line in printed][-WINDOW:]
    have = [plain(line) for line in lines]
    # Blank lines are everywhere and prove nothing.
    common = [
        block
        for block in difflib.SequenceMatcher(None, seen, have, autojunk=False).get_matching_blocks()
        if any(have[block.b : block.b + block.size])
    ]
    return list(lines[common[-1].b + common[-1].size :]) if common else list(lines)


class Events(Protocol):
    """What is asked of the server."""

    def console_events(self, task_id: str, after: float | None = None) -> tuple[list[dict[str, Any]], int]:
        """Return a task's console events after a moment, oldest first, and how many there are in all."""


class Source:
    """One task's console, as far as it was taken."""

    def __init__(self, server: Events, task_id: str) -> None:
        self._server = server
        self._task_id = task_id
        self._taken: Counter[tuple[float, int]] = Counter()
        self._newest: float | None = None
        self._known = 0
        """How many of the events that the server has were taken."""
        self._explained = 0
        """The server's last count that differed from that, after all of the console was read again."""

    def lines(self, *, all_of_it: bool = False) -> list[str]:
        """Return the lines that have come since the last call.

        Args:
            all_of_it: Read the console from its beginning, whatever the server counts.
        """
        start = None if self._newest is None or all_of_it else self._newest - OVERLAP_MS
        events, total = self._server.console_events(self._task_id, start)
        fresh = self._fresh(events)
        self._known = len(events) if start is None else self._known + len(fresh)
        if total not in (self._known, self._explained):
            events, total = self._server.console_events(self._task_id)
            fresh += self._fresh(events)
            self._known = len(events)  # less than before if the task was reset
            self._explained = total
        return [line for event in fresh for line in _lines(str(event.get("msg") or ""))]

    def _fresh(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those that were not taken yet, and take them. Equal ones of one moment are told apart by number."""
        here: Counter[tuple[float, int]] = Counter()
        fresh = []
        for event in events:
            moment = float(event.get("timestamp") or 0)
            key = (moment, hash((event.get("worker"), event.get("msg"))))
            here[key] += 1
            if here[key] > self._taken[key]:
                self._taken[key] += 1
                fresh.append(event)
            self._newest = max(moment, self._newest or moment)
        return fresh


def _lines(message: str) -> Iterator[str]:
    return (line.rstrip() for line in message.split("\n") if line.strip())
