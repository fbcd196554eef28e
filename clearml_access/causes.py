"""What a console says of why a task failed, and what helps. Pure.

An agent's own reason for a failed task is "worker execution exit code 1"; the cause is a line of its console.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from clearml_access.console import plain

OWN = ("pipeline.", "clearml_access.")
"""Modules whose errors say all in their own words: the kind adds nothing."""

_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Failed)): (?P<text>.+)")

_NO_REMOTE = re.compile(r"Can't get url information for git repo in .+")
"""The SDK warns so of a script whose repository has no remote."""


class _Known(NamedTuple):
    """A line of the agent, of pip or of Python that ends a task before its own code runs."""

    line: re.Pattern[str]
    help: str


_NO_PACKAGE = _Known(
    re.compile(r"No matching distribution found for .+"),
    "correct packages=[…] of the step, then start its script again",
)
_NOT_CLONED = _Known(
    re.compile(r"Failed cloning repository\b"),
    "push the commit, and give the worker access to the remote: docs/your-pipelines.md, What to know of the SDK; "
    "then start the script again",
)
_NO_SCRIPT = _Known(
    re.compile(r"can't open file .+: \[Errno 2\] No such file or directory"),
    "give the script's git repository a remote that the worker reaches, and push to it; or keep the script outside of "
    "any repository; then start it again",
)
_KNOWN = (_NO_PACKAGE, _NOT_CLONED, _NO_SCRIPT)


def cause(lines: Iterable[str]) -> str:
    """Return what the last traceback among a console's lines says, or a line of a known form after it; or nothing."""
    found, without_remote = "", ""
    for line in map(plain, lines):
        if raised := _RAISED.fullmatch(line):
            text = raised["text"]
            found = text if raised["kind"].startswith(OWN) else f"{raised['kind']}: {text}"
        elif (known := _known(line)) is not None:
            found = known
        elif match := _NO_REMOTE.search(line):
            without_remote = match[0]
    return without_remote if without_remote and _NO_SCRIPT.line.search(found) else found


def help_for(why: str) -> str:
    """Return what to do about a cause, as `cause` has returned it; nothing where running it again may help."""
    if _NO_REMOTE.fullmatch(why):
        return _NO_SCRIPT.help
    return next((known.help for known in _KNOWN if known.line.fullmatch(why)), "")


def _known(line: str) -> str | None:
    return next((match[0] for known in _KNOWN if (match := known.line.search(line))), None)
