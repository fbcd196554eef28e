"""Programs that a command runs to their end, and that end in good order where the command is interrupted.

`subprocess.run` kills its program a quarter of a second after Ctrl-C, in the middle of whatever it changes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from command_line import interrupts

KILL_S = 5.0


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    grace_s: float,
    tell: bool = True,
    stderr: int | None = subprocess.PIPE,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program; return its exit code, what it wrote to stdout, and what to stderr.

    It is in a session of its own, so Ctrl-C reaches this process alone, which hands on one SIGTERM.

    Args:
        argv: The program and its arguments.
        env: Its environment.
        timeout_s: How long it may take.
        grace_s: How long it may take to end after an interrupt. A second interrupt ends the wait.
        tell: Send it SIGTERM at an interrupt; otherwise it is only waited for.
        stderr: Where its stderr goes.
        folder: Its working folder; default: that of this process.

    Raises:
        subprocess.TimeoutExpired: It did not end in time, and has been ended.
        KeyboardInterrupt: There was an interrupt; the program has ended.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with interrupts.held():
            process = subprocess.Popen(
                argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True,
                cwd=folder, start_new_session=True,
            )  # fmt: skip
        out, err = process.communicate(timeout=timeout_s)
    except BaseException as error:
        if process is not None:
            _end(process, grace_s, tell=tell or isinstance(error, subprocess.TimeoutExpired))
        raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def _end(process: subprocess.Popen[str], grace_s: float, *, tell: bool) -> None:
    """Wait until a program has ended; kill it where it does not."""
    try:
        if tell:
            process.terminate()
        process.communicate(timeout=grace_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.terminate()
        try:
            process.communicate(timeout=KILL_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.communicate()
