"""`task test`: pytest, and aloud what it leaves out on this machine.

A marker expression of one's own (`task test -- -m browser`) is left as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
"""Where `tests/browser` looks for it, too."""

WITHOUT_CHROMIUM = (
    f"the browser tests (tests/browser): there is no {CHROMIUM}. With it: apt-get install chromium (or "
    "CHROMIUM=/path/to/chromium) and task test -- -m browser"
)
END_TO_END = (
    "the end-to-end tests (marker e2e), which take many minutes and root on Linux, or Docker. "
    "Run them: task test -- -m e2e"
)


def selection(arguments: Sequence[str], *, chromium: bool) -> tuple[list[str], list[str]]:
    """Return pytest's arguments, and a line for each group of tests that they leave out."""
    if any(argument.startswith("-m") for argument in arguments):
        return list(arguments), []
    left_out = {"e2e": END_TO_END} if chromium else {"e2e": END_TO_END, "browser": WITHOUT_CHROMIUM}
    expression = " and ".join(f"not {marker}" for marker in left_out)
    return ["-m", expression, *arguments], list(left_out.values())


def main(arguments: Sequence[str]) -> int:
    """Run the tests; return pytest's exit code."""
    chosen, left_out = selection(arguments, chromium=CHROMIUM.is_file())
    code = pytest.main(chosen)
    for line in left_out:
        print(f"LEFT OUT: {line}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
