"""What a command line does where stdout or stderr cannot be used, and where a traceback goes that nobody is shown.

This file is in the packages `command_line` and `clearml_localserver`, the same to the byte, which a test checks:
the wheel of the server is installed by itself, and the rest runs where there is no server.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback


def open_closed() -> None:
    """Give a process whose stdout or stderr was closed (`>&-`) one that takes everything.

    Otherwise the next file that is opened, such as a database, gets the number of the closed one, and whatever a child
    process prints.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # as long as the process


def take_all_characters() -> None:
    """Let stdout and stderr write `?` for a character that their encoding lacks, in place of an error in mid-work."""
    for stream in (sys.stdout, sys.stderr):
        is_utf_8 = str(getattr(stream, "encoding", "")).lower().replace("-", "") == "utf8"
        if isinstance(stream, io.TextIOWrapper) and not (is_utf_8 and stream.errors == "surrogateescape"):
            stream.reconfigure(errors="replace")


def stdout_fails() -> bool:
    """Return whether stdout is what could not be written, since an error does not say which file it is about.

    An empty line is printed: only that tells, as a stream drops a long text that it cannot write.
    """
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def discard_output() -> None:
    """Send what is still printed, also at the end of the process, to /dev/null: stdout takes nothing more."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def traceback_hint(program: str, *, verbose: bool) -> str:
    """Show the traceback that is being handled, or write it to a file; return what the user can do with it."""
    if verbose:
        traceback.print_exc()
        return "this is a defect of the program; report it with the traceback above"
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"{program}-", suffix=".traceback.txt")
        with open(descriptor, "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    except OSError:  # no room, or no folder for temporary files
        return "this is a defect of the program; run the command again with --verbose, and report the traceback"
    return f"this is a defect of the program; report it with the traceback in {path}"
