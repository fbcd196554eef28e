"""How a task ended: its status as sentences, and what its console says last. Pure.

Whoever changes a status gives a reason and a message of a few words, each in its own way: an agent says "worker
execution exit code 1" and "Changed by clearml-agent gpu:0", a user's code may say anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from clearml_localserver.web.ansi import LONGEST_LINE, to_text

SHOWN_LINES = 20
"""Last lines of a console that a page shows beside a failed task."""

READ_EVENTS = 200
"""Last reports of a console among which an exception is looked for."""

READ_CHARACTERS = 200_000

_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Failed|Warning)(?:: .+)?")
"""A line that names an exception, where there is no traceback before it."""

_BEFORE_ITS_CODE = re.compile(
    r"No matching distribution found for .+|Failed cloning repository\b"
    r"|can't open file .+: \[Errno 2\] No such file or directory"
)
"""What pip, the agent and Python say of a task that ends before its own code runs."""

_BY_AGENT = re.compile(r"Changed by (?P<program>[\w-]+) (?P<worker>\S+)")
_EXIT_CODE = re.compile(r"worker execution exit code (?P<code>-?[0-9]+)")
_FROM_AGENT = {
    "task was stopped by tasks.stop": "stopped the task, as somebody had asked",
    "user abort": "ended the task: its process was interrupted",
    "worker execution done": "ended the task: its process returned exit code 0",
    "worker started execution": "started the task",
    "worker starting task execution": "is preparing the task",
    "starting execution soon": "took the task from its queue",
    "failed cloning repository": "ended the task: the repository could not be cloned",
}
"""What an agent's words for a change mean."""

_KNOWN = {
    "web page": "It was changed on the web page",
    "new run from the web page": "It was enqueued on the web page",
    "user aborted": "A user aborted it",
    "taken out of its queue": "It was taken out of its queue",
    "abort request": "Somebody asked for its abort",
    "pipeline aborted": "Its pipeline was aborted on the web page",
    "pipeline step failed": "A step of the pipeline failed",
    "pipeline aborted and failed": "The pipeline was aborted after a step had failed",
    "completed": "It reported its own completion",
    "k8s pending scheduler": "The Kubernetes agent is creating its pod",
    "moving to k8s pending queue": "The Kubernetes agent is moving it to a pod",
}
"""Reasons of SDK, agent and pages, in lower case, as sentences."""

_SIGNALS = {
    130: "an interrupt",
    134: "SIGABRT",
    137: "SIGKILL, often for lack of memory",
    139: "SIGSEGV",
    143: "SIGTERM",
}


@dataclass(frozen=True)
class Failure:
    """Why something failed, as a page shows it."""

    title: str
    """What failed: the name of a step or a task."""

    task_id: str
    cause: str
    """The exception's own line; where the console has none, the status as a sentence."""

    lines: Sequence[str] = ()
    """The last lines of the console."""

    at: int = 0
    """When the last of them was printed, in ms."""


def sentences(task: dict[str, Any]) -> str:
    """Return why a task has its status and who changed it, as whole sentences; empty where nothing was said."""
    reason, message = ((task.get(name) or "").strip() for name in ("status_reason", "status_message"))
    agent = _BY_AGENT.fullmatch(message)
    if agent:
        who = f"The agent {agent['worker']}"
        if code := _EXIT_CODE.fullmatch(reason):
            return f"{who} ended the task: its process returned exit code {code['code']}{_signal(int(code['code']))}."
        if reason in _FROM_AGENT:
            return f"{who} {_FROM_AGENT[reason]}."
        return f"{who} changed the status: {_sentence(reason)}" if reason else f"{who} changed the status."
    if message.lower() == "changed by k8s glue":
        message, reason = "", f"The Kubernetes agent ended the task: {reason.removeprefix('K8S glue error: ')}"
    if reason.startswith("pod: "):
        reason, message = f"Its pod ended: {message or reason[5:]}", ""
    said = [_KNOWN.get(text.lower(), text) for text in (reason, message) if text]
    return " ".join(_sentence(text) for text in dict.fromkeys(said))


def _signal(code: int) -> str:
    name = _SIGNALS.get(code)
    return f" ({name})" if name else ""


def _sentence(text: str) -> str:
    """Return a text as a sentence: with a capital letter, unless that would change a name, and with an end."""
    first = text.split(maxsplit=1)[0] if text.split() else ""
    if first.isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ":", "…")) else f"{text}."


def printed_lines(messages: Iterable[str]) -> list[str]:
    """Return the lines of console reports as they read, without blank ones; each has a greatest length."""
    whole = "\n".join(message.rstrip("\n") for message in messages)[-READ_CHARACTERS:]
    lines = (to_text(line).rstrip("\r").rpartition("\r")[2].rstrip() for line in whole.split("\n"))
    return [line[:LONGEST_LINE] for line in lines if line]


def cause(lines: Sequence[str]) -> str:
    """Return the line in which the last traceback names its exception, or the last line that names one.

    Without either, what ended the task before its own code ran, if a line says so; else nothing.

    An agent's own reason for a failed task is "exit code 1".
    """
    found, inside = "", False
    for line in lines:
        if _TRACEBACK in line:
            inside = True
        elif inside and not line.startswith((" ", "\t")):
            found, inside = line, False
    if found:
        return found
    if named := next((line for line in reversed(lines) if _RAISED.fullmatch(line)), ""):
        return named
    return next((match[0] for line in reversed(lines) if (match := _BEFORE_ITS_CODE.search(line))), "")
