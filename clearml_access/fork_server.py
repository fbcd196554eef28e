"""Processes that are forked from one that has done their imports, so that they begin at once. Linux only.

A server is forked from a process before that one has threads, connections or secrets of a task. Whoever asks it for a
process gets a child of its own, as from `Popen`: the server forks twice, the process between ends, and the kernel gives
the orphan to the nearest ancestor that asks for orphans. So it is seen, waited for, signalled and killed as before.

Where anything is unclear, there is no process, and the caller starts one in the plain way: another environment, a
server that is gone or does not answer, an operating system without this. A process begins its work only when its caller
has its number, so that none runs twice. Outside system: the operating system. Imports nothing but Python's own library,
since agents use it in their own environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 2**20
"""Longest command with its environment."""

ANSWER_S = 5.0
ADOPTION_S = 2.0
POLL_S, LONGEST_POLL_S = 0.0005, 0.05
PR_SET_CHILD_SUBREAPER = 36
GO = b"go"
THREADS = Path("/proc/self/task")

OF_LIBRARIES = frozenset({"jemalloc_bg_thd"})
"""Threads that a library starts when it is loaded, and again in a forked process."""


class UnavailableError(Exception):
    """There is no forked process: start one in the plain way."""


class ForkedProcess:
    """What is asked of a `Popen`, for a child that was forked elsewhere.

    Args:
        pid: The process, which is a child of this one.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code as `Popen` gives it; None while the process runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it, as `Popen` sees it
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It did not end within this time, in seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = POLL_S
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_POLL_S)
        return code


class ForkServer:
    """A process that forks others.

    Args:
        work: What each of them does, with the words that it is given.
        may_differ: Tells of the name of an environment variable whether a process may have another value of it than
            this one now: true only of names that nothing reads when it is imported.
    """

    def __init__(self, work: Callable[[list[str]], None], may_differ: Callable[[str], bool]) -> None:
        require_single_thread()
        self._may_differ = may_differ
        self._environ = dict(os.environ)
        self._one_at_a_time = threading.Lock()
        self._channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()  # a collection in a child would copy every page
        self.pid = os.fork()
        if self.pid == 0:
            self._channel.close()
            _serve(channel, work)
        channel.close()

    def start(
        self, words: Sequence[str], *, cwd: str, env: Mapping[str, str], stdout: int = 1, stderr: int = 2
    ) -> ForkedProcess:
        """Start a process with these words.

        Args:
            words: Told to `work`.
            cwd: Its folder.
            env: Its environment.
            stdout: File number of its output.
            stderr: File number of its errors.

        Raises:
            UnavailableError: Nothing was started.
        """
        changed = self._environ.items() ^ env.items()
        if foreign := sorted({name for name, _ in changed if not self._may_differ(name)}):
            raise UnavailableError(f"the environment differs in {', '.join(foreign)}")
        asked = {"words": list(words), "cwd": cwd, "env": dict(env), "parent": os.getpid()}
        with self._one_at_a_time, adopting():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with ours:
                try:
                    with theirs:
                        files = [0, stdout, stderr, theirs.fileno()]
                        socket.send_fds(self._channel, [json.dumps(asked).encode()], files, socket.MSG_DONTWAIT)
                    ours.settimeout(ANSWER_S)
                    pid = int(ours.recv(32) or 0)
                    if not pid:
                        raise UnavailableError("the fork server has ended")
                    ours.sendall(GO)
                except (OSError, ValueError) as error:
                    raise UnavailableError(f"the fork server does not answer: {error}") from error
        return ForkedProcess(pid)


def require_single_thread() -> None:
    """Check that a fork takes everything with it.

    Raises:
        UnavailableError: There are threads, or this is not Linux.
    """
    if not sys.platform.startswith("linux") or not THREADS.is_dir():
        raise UnavailableError("this is not Linux")
    if threading.active_count() != 1 or threading.current_thread() is not threading.main_thread():
        raise UnavailableError("there are threads")


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of orphans among the descendants, for a moment.

    Raises:
        UnavailableError: The kernel does not offer it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise UnavailableError(os.strerror(ctypes.get_errno()))
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _serve(channel: socket.socket, work: Callable[[list[str]], None]) -> None:
    """Fork a process for each command; end with the process that this one was forked from."""
    while True:
        message, files, _, _ = socket.recv_fds(channel, MOST_BYTES, 4)
        if not message:
            os._exit(0)
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if os.fork():
                os._exit(0)
            channel.close()
            _become(json.loads(message), files, between, work)
        for file in files:
            os.close(file)
        os.waitpid(between, 0)


def _become(asked: dict[str, Any], files: list[int], between: int, work: Callable[[list[str]], None]) -> None:
    """Be the process that was asked for, from its first line to its end."""
    with socket.socket(fileno=files.pop()) as caller:
        deadline = time.monotonic() + ADOPTION_S
        while os.getppid() == between and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if os.getppid() != asked["parent"]:
            os._exit(1)
        caller.sendall(b"%d" % os.getpid())
        if not select.select([caller], [], [], 2 * ANSWER_S)[0] or caller.recv(len(GO)) != GO:
            os._exit(1)
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    seed_again()
    work(asked["words"])
    sys.exit(0)


def seed_again() -> None:
    """Give this process random numbers of its own; Python's own module does so itself."""
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()


def run_script(words: list[str]) -> None:
    """Run a Python file with its arguments, as `python FILE …` does, and end this process."""
    file = words[0]
    main = type(sys)("__main__")
    main.__dict__.update(__file__=file, __builtins__=__builtins__, __cached__=None, __annotations__={})
    sys.modules["__main__"] = main
    sys.argv = list(words)
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(file).resolve().parent)
    name_process([sys.executable, *words])
    try:
        exec(compile(Path(file).read_bytes(), file, "exec", dont_inherit=True), main.__dict__)  # noqa: S102 - as Python does
    except SystemExit:
        raise
    except BaseException as error:
        _end_by(error)
    sys.exit(0)


def _end_by(error: BaseException) -> NoReturn:
    """End as Python does after an error, without the frames of this module in its traceback."""
    error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, KeyboardInterrupt):
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(1)


def name_process(words: Sequence[str]) -> None:
    """Show this command line in the process table, as far as that of the first process leaves room."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5), fields 48 and 49
        text = b"\0".join(os.fsencode(word) for word in words)
        if 0 < start < end:
            ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)
