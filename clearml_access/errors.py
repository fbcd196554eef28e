"""The base of every error that a user can act on, and the errors of talking to a ClearML server.

Exit codes belong to the command lines: `pipeline.errors` and `deploy.errors` have one table each (`exit_code_of`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class UserFacingError(Exception):
    """A failure that the user can act on. A command line prints it without a traceback.

    Args:
        message: What failed, on which object, and why, in one sentence.
        hint: The next thing to do, best a command to paste.
        evidence: What was seen: events, last log lines.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, evidence: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence
        self.document: dict[str, object] = {}
        """What a command adds to the JSON object that `--json` prints of this error."""


class ConfigurationError(UserFacingError):
    """A file or a variable that names the server, the queue, the agent or the images is missing or wrong."""


class NoCredentialsError(ConfigurationError):
    """No server or no access key is configured."""


class ServerError(UserFacingError):
    """The ClearML server, one of its queues or its workers cannot do what is asked."""


class ServerUnreachableError(ServerError):
    """The server does not answer."""


class CallRefusedError(ServerError):
    """The server answered a call with an error.

    Attributes:
        subcode: ClearML's result subcode.
    """

    def __init__(self, message: str, *, subcode: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.subcode = subcode


class CredentialsError(ServerError):
    """The server refuses the access key."""


class StopError(UserFacingError):
    """A process outlived SIGKILL, or belongs to another user."""


def parse_error(error: Exception) -> str:
    """Return what a parser's error says without the file's content, which may hold keys: its type, line and column.

    Raise what is made of it `from None`: a traceback would show the parser's own message.
    """
    name = type(error).__name__
    mark = getattr(error, "problem_mark", None)  # PyYAML, counting from 0
    if mark is not None:
        return f"{name} in line {mark.line + 1}, column {mark.column + 1}"
    line, column = getattr(error, "lineno", None), getattr(error, "column", None)  # pyparsing
    if line is None:
        found = re.search(r"\(line: (\d+), col: (\d+)\)", str(error))  # pyhocon
        line, column = found.groups() if found else (None, None)
    return f"{name} in line {line}, column {column}" if line else name


def exit_code_of(kind: type[BaseException], codes: Mapping[type[BaseException], int]) -> int:
    """Return the exit code of a kind of error: of its nearest class that is in `codes` or has one of its own."""
    for base in kind.__mro__:
        if base in codes:
            return codes[base]
        if "exit_code" in vars(base):
            return int(vars(base)["exit_code"])
    return 1
