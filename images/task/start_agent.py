"""Runs clearml-agent in a task pod as `python -m clearml_agent` does, and starts its second process without a delay.

The agent of a pod starts itself a second time: the first process watches, the second prepares the environment and
becomes the task's script. Each would import the same packages and parse the same default configuration, 0.4 s of
processor time. Here the second process is forked from the first once that is done, before there are threads, and waits
for its command. If it is not there, the agent's own way is taken.

The agent itself stays as it is. Run by /opt/agent/bin/agent-python only, in the agent's environment.
"""

from __future__ import annotations

import copy
import functools
import gc
import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODULE = "clearml_agent"
COMMAND = ["-u", "-m", MODULE]
"""How the agent starts itself: its interpreter with these words, and those that follow."""

MOST_BYTES = 2**20
"""Longest command with its environment: more than the kernel passes on at once."""


# The agent asks this little of `clearml_access.fork_server.ForkedProcess`. To share that class, two Dockerfiles and
# the digest of project images would name one more file, and every task pod would import it, for these ten lines.
class SparePopen:
    """What the agent asks of the `Popen` of its second process, for one that was forked before.

    Args:
        pid: The process, which is a child of this one.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code as `Popen` gives it; None while the process runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Spare:
    """A process that has done its imports and waits for its command."""

    def __init__(self) -> None:
        self._channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.collect()
        gc.freeze()  # a collection in the child would copy every page
        self.pid = os.fork()
        if self.pid == 0:
            self._channel.close()
            _wait_and_run(channel)
        channel.close()

    def take(self, words: list[str], *, stdout: Any, stderr: Any, cwd: str | None, env: Any) -> SparePopen:
        """Let it run a command of the agent's, once.

        Raises:
            OSError: It is not there any more, or the command is too long.
        """
        message = json.dumps({"words": words, "cwd": cwd, "env": env}).encode()
        try:
            socket.send_fds(self._channel, [message], [stdout.fileno(), stderr.fileno()])
        finally:
            self._channel.close()
        return SparePopen(self.pid)


def _wait_and_run(channel: socket.socket) -> None:
    """Wait for a command and become its process; end where the first process ends without one."""
    message, files, _, _ = socket.recv_fds(channel, MOST_BYTES, 2)
    channel.close()
    if not message:
        os._exit(0)
    asked = json.loads(message)
    for target, file in zip((1, 2), files, strict=True):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])
    if asked["cwd"]:
        os.chdir(asked["cwd"])
    run(asked["words"])


class SpareCommand:
    """The command of the agent's second process, which the spare process runs."""

    def __init__(self, command: Any, spare: Spare) -> None:
        self._command = command
        self._spare = spare

    def call_subprocess(self, start: Callable[..., Any], **options: Any) -> Any:
        """Return the process that runs the command, as the agent's `Argv` does."""
        wanted = {name: options.get(name) for name in ("stdout", "stderr", "cwd", "env")}
        if start is subprocess.Popen and options.keys() <= wanted.keys() and wanted["env"]:
            try:
                return self._spare.take(list(self._command)[1 + len(COMMAND) :], **wanted)
            except OSError as error:
                print(f"Warning: the agent starts its second process itself: {error}", flush=True)
        return self._command.call_subprocess(start, **options)


def keep_default_configuration() -> None:
    """Parse each of the agent's default configuration files once for both processes."""
    from clearml_agent import backend_api  # type: ignore[import-not-found]
    from clearml_agent.external.pyhocon import ConfigFactory  # type: ignore[import-not-found]

    folder = Path(backend_api.__file__).parent / "config/default"
    parse = ConfigFactory.parse_file
    kept = {str(path): parse(str(path)) for path in folder.glob("*.conf")}

    @functools.wraps(parse)
    def parse_file(filename: str, *words: Any, **options: Any) -> Any:
        if filename in kept and not words and not options:
            return copy.deepcopy(kept[filename])
        return parse(filename, *words, **options)

    ConfigFactory.parse_file = parse_file


def use(spare: Spare) -> None:
    """Let the agent's worker start its second process in the spare one."""
    from clearml_agent import commands

    class Worker(commands.Worker):  # type: ignore[misc]
        def _log_command_output(self, task_id: str, cmd: Any, *words: Any, **options: Any) -> Any:
            if list(cmd)[: 1 + len(COMMAND)] == [sys.executable, *COMMAND]:
                cmd = SpareCommand(cmd, spare)
            return super()._log_command_output(task_id, cmd, *words, **options)

    commands.Worker = Worker


def run(words: list[str]) -> None:
    """Run the agent's command line and end this process."""
    sys.argv = [MODULE, *words]
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
    sys.exit(0)


def main() -> None:
    """Run the agent with the words of this command line."""
    import clearml_agent.commands.worker  # type: ignore[import-not-found]  # noqa: F401 - what both processes need

    keep_default_configuration()
    use(Spare())
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
