"""Statuses as sentences, and the line of a console that names what went wrong."""

from __future__ import annotations

import pytest
from clearml_localserver.web.outcome import cause, printed_lines, sentences


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("", "", ""),
        (
            "worker execution exit code 1",
            "Changed by clearml-agent w:0",
            "The agent w:0 ended the task: its process returned exit code 1.",
        ),
        (
            "worker execution exit code 137",
            "Changed by clearml-agent w:0",
            "The agent w:0 ended the task: its process returned exit code 137 (SIGKILL, often for lack of memory).",
        ),
        (
            "task was stopped by tasks.stop",
            "Changed by clearml-agent w:0",
            "The agent w:0 stopped the task, as somebody had asked.",
        ),
        ("no space", "Changed by clearml-agent w:0", "The agent w:0 changed the status: No space."),
        ("pod: OOMKilled", "The pod p needed more than 2 GB", "Its pod ended: The pod p needed more than 2 GB."),
        ("Pipeline step failed", "", "A step of the pipeline failed."),
        ("user aborted", "user aborted", "A user aborted it."),
        ("web page", "aborted without its worker", "It was changed on the web page. Aborted without its worker."),
        ("train_model did not end!", "", "train_model did not end!"),
    ],
)
def test_a_status_is_told_in_sentences(reason: str, message: str, said: str) -> None:
    assert sentences({"status_reason": reason, "status_message": message}) == said


TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in <module>',
    "    1 / 0",
    "ZeroDivisionError: division by zero",
]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], ""),
        (["all is well"], ""),
        ([*TRACEBACK, "2026-11-28 00:00:00 Process failed, exit code 1"], "ZeroDivisionError: division by zero"),
        ([*TRACEBACK, "While handling it:", "Traceback (most recent call last):", "  File", "own.Timeout: 3"],
         "own.Timeout: 3"),
        (["Traceback (most recent call last):", "  File", "AssertionError"], "AssertionError"),
        (["ValueError: bad input", "cleaning up"], "ValueError: bad input"),
        (["ERROR: No matching distribution found for a==9", "clearml_agent: ERROR: Could not install requirements!"],
         "No matching distribution found for a==9"),
        (["clearml_agent: ERROR: Failed cloning repository. "], "Failed cloning repository"),
    ],
)  # fmt: skip
def test_the_last_tracebacks_own_line_is_the_cause(lines: list[str], found: str) -> None:
    assert cause(lines) == found


def test_lines_read_as_a_terminal_shows_them() -> None:
    assert printed_lines(["\x1b[31mred\x1b[0m\n\n", "10 %\r100 %\r\nend  "]) == ["red", "100 %", "end"]
