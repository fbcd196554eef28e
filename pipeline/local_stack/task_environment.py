"""What a worker's interpreter has done in Python: its environment made again, or an environment of its own for a task.

Run by the script that `pipeline.local_stack.environment` writes, and only when a task asks for other packages or has
changed the environment of all.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from pipeline.local_stack.environment import WorkerEnvironment


def main(arguments: list[str]) -> None:
    """Do `restore`, or `own PID`, for the worker whose folder and source environment come first."""
    folder, source, action, *rest = arguments
    environment = WorkerEnvironment(Path(folder), Path(source))
    if action == "restore":
        environment.restore()
    else:
        environment.own(psutil.Process(int(rest[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
