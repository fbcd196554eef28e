"""Lines of a task's console, taken from two places: where one ends, the other goes on. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

WINDOW = 400
"""How many of the last printed lines are compared."""

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
