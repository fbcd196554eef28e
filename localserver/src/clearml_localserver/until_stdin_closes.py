"""Runs a command until stdin closes, then ends it with everything that it has started.

So processes end with the program that started them, also where that was killed. Run as a module, with the command as
its arguments. What the command starts is known by its session: this process leads one of its own.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys

import psutil

LOOK_S = 0.2
END_DEADLINE_S = 10.0


def session() -> list[psutil.Process]:
    """Return the other processes of this process's session."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and os.getsid(process.pid) == os.getsid(0):
                found.append(process)
        except (ProcessLookupError, PermissionError):  # it has ended, or is none of ours
            continue
    return found


def main() -> int:
    """Run the command of the arguments; return its exit code."""
    process = psutil.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    while process.poll() is None:
        if select.select([sys.stdin], [], [], LOOK_S)[0]:  # nobody writes: what is to be read is the end
            process.terminate()  # an agent ends its task, and reports it as stopped
            break
    try:
        process.wait(END_DEADLINE_S)
    except psutil.TimeoutExpired:
        process.kill()
    for left in session():
        left.kill()
    return int(process.wait())


if __name__ == "__main__":
    sys.exit(main())
