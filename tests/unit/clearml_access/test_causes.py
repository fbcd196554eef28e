"""The line of a console that says why a task failed, and what helps."""

from __future__ import annotations

import pytest

from clearml_access.causes import cause, help_for

TRACEBACK = ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>']
NO_REMOTE = "Can't get url information for git repo in /home/me/project"
NO_SCRIPT = "can't open file '/tmp/venv/code/run.py': [Errno 2] No such file or directory"
NO_PACKAGE = "No matching distribution found for humanize==99.0.0"


@pytest.mark.parametrize(
    ("lines", "found", "helps"),
    [
        ([], "", ""),
        (["all is well"], "", ""),
        ([*TRACEBACK, "ValueError: broken", "Process failed, exit code 1"], "ValueError: broken", ""),
        ([*TRACEBACK, "ValueError: first", "pipeline.errors.RunError: no such step"], "no such step", ""),
        (["  ValueError: quoted in a text"], "", ""),
        (
            [
                "ERROR: Could not find a version that satisfies the requirement humanize==99.0.0 (from versions: 4.1)",
                f"ERROR: {NO_PACKAGE}",
                "clearml_agent: ERROR: Could not install task requirements!",
                "Command '['/venv/bin/python', '-m', 'pip', 'install']' returned non-zero exit status 1.",
            ],
            NO_PACKAGE,
            "packages=[…]",
        ),
        ([f"\x1b[31mERROR: {NO_PACKAGE}\x1b[0m"], NO_PACKAGE, "packages=[…]"),
        (["clearml_agent: ERROR: Failed cloning repository. "], "Failed cloning repository", "push the commit"),
        (
            [f"2026-11-28 22:00:00,000 - clearml.detectors - WARNING - {NO_REMOTE}", f"/usr/bin/python: {NO_SCRIPT}"],
            NO_REMOTE,
            "a remote that the worker reaches",
        ),
        ([f"/usr/bin/python: {NO_SCRIPT}"], NO_SCRIPT, "a remote that the worker reaches"),
        ([NO_REMOTE, *TRACEBACK, "ValueError: broken"], "ValueError: broken", ""),
        ([NO_REMOTE, "done"], "", ""),
    ],
)
def test_the_cause_is_a_line_of_the_console_and_known_ones_have_help(lines: list[str], found: str, helps: str) -> None:
    assert cause(lines) == found
    said = help_for(found)
    assert helps in said
    assert bool(helps) is bool(said)
