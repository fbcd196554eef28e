"""A pytest plugin: a live server on free ports for tests of code that uses ClearML, and agents for its queues.

`clearml_server` is the server, `clearml_workers` are the agents (`clearml_localserver.agent_workers`). The server is a
process of its own with a data folder of its own; the environment of the test session is set so that an unmodified SDK
talks to it, and put back at the end. The SDK keeps its first connection for the life of a process, hence one server per
session (with pytest-xdist, one per worker process); `clearml_server_factory` makes more for code that runs in
subprocesses.

Every pytest of the environment imports this module: it imports nothing of the server.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clearml_localserver.agent_workers import ClearmlWorkers

COMMAND = (sys.executable, "-m", "clearml_localserver")
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 15.0

OTHER_TASKS = ("CLEARML_PROC_MASTER_ID", "TRAINS_PROC_MASTER_ID", "CLEARML_TASK_ID", "TRAINS_TASK_ID")
"""By these the SDK takes a process for a part of another one's task, and records nothing of its own. `Task.init` leaves
two of them behind, an agent all."""

READY = "localserver ready:"
LAST_LINES = 30
"""Of a server that did not start: more of what it said is in its log."""

LOGS: dict[Path, None] = {}
"""The log files of all servers started in this process, in that order."""


class ServerStartError(RuntimeError):
    """A server did not start; the message has what it said."""


@dataclass
class ClearmlServer:
    """A running server.

    Attributes:
        data: Its data folder.
        api_url: Address of the API; likewise `web_url` and `files_url`.
        process: The server process.
    """

    data: Path
    api_url: str
    web_url: str
    files_url: str
    process: subprocess.Popen[str]

    @property
    def credentials(self) -> tuple[str, str]:
        """Access key and secret key."""
        found = json.loads((self.data / "credentials.json").read_text(encoding="utf-8"))
        return found["access_key"], found["secret_key"]

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which the SDK, the agent and the command line tools find this server, each with its own task."""
        access_key, secret_key = self.credentials
        return {
            "CLEARML_CONFIG_FILE": str(self.data / "clearml.conf"),
            "CLEARML_API_HOST": self.api_url,
            "CLEARML_WEB_HOST": self.web_url,
            "CLEARML_FILES_HOST": self.files_url,
            "CLEARML_API_ACCESS_KEY": access_key,
            "CLEARML_API_SECRET_KEY": secret_key,
            "CLEARML_CACHE_DIR": str(self.data / "cache"),
        } | dict.fromkeys(OTHER_TASKS, "")

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)

    def stop(self) -> int:
        """End the server cleanly and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def restart(self) -> None:
        """Start the server again on the same ports and data."""
        ports = [url.rpartition(":")[2] for url in (self.api_url, self.web_url, self.files_url)]
        self.process = _start(self.data, *ports).process


def _start(data: Path, *ports: str, command: Sequence[str] = COMMAND) -> ClearmlServer:
    data = data.resolve()
    names = ("--api-port", "--web-port", "--files-port")
    options = [word for pair in zip(names, ports or ("0", "0", "0"), strict=True) for word in pair]
    log_file = data.parent / f"{data.name}.log"
    LOGS[log_file] = None
    with log_file.open("a", encoding="utf-8") as log:
        begin = log.tell()
        process = subprocess.Popen(
            [*command, "--data", str(data), *options, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            cwd=data.parent,  # the folder that a test runs in may hold another package of the server's name
        )
    line = _first_line(process)
    if not line.startswith(READY):
        if line:  # a last word, or the end of its output
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_DEADLINE_S)
        exit_code = process.poll()
        process.kill()
        rest, _ = process.communicate(timeout=STOP_DEADLINE_S)
        with log_file.open(encoding="utf-8", errors="replace") as log:
            log.seek(begin)
            said = (line + rest + log.read()).strip().splitlines()
        why = "was not ready in time" if exit_code is None else f"ended with exit code {exit_code}"
        raise ServerStartError("\n".join([f"the ClearML server {why}: {' '.join(command)}", *said[-LAST_LINES:]]))
    words = line.split()
    urls = {name: words[words.index(name) + 1] for name in ("api", "web", "files")}
    return ClearmlServer(data, urls["api"], urls["web"], urls["files"], process)


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return the first line that the process prints, an empty line if there is none, an empty text when time is up."""
    assert process.stdout is not None  # noqa: S101 - it was given a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(timeout=START_DEADLINE_S)
    return process.stdout.readline() or "\n" if ready else ""


@contextmanager
def running_server(data: Path, command: Sequence[str] = COMMAND) -> Iterator[ClearmlServer]:
    """Run a server on `data` (on free ports) for the length of the block.

    Args:
        data: Its data folder.
        command: What starts a server, without its options; its program by an absolute path or by name.

    Raises:
        ServerStartError: It ends before it is ready, or takes too long.
    """
    server = _start(data, command=command)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def clearml_server_factory() -> Iterator[Callable[[], ClearmlServer]]:
    """Make servers that end with the test session; their data goes with them."""
    root = Path(tempfile.mkdtemp(prefix="clearml-server-"))
    servers: list[ClearmlServer] = []

    def make() -> ClearmlServer:
        try:
            servers.append(_start(root / str(len(servers))))
        except ServerStartError as error:  # what the server said, not where in this file that was found out
            pytest.fail(str(error), pytrace=False)
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def clearml_server(clearml_server_factory: Callable[[], ClearmlServer]) -> Iterator[ClearmlServer]:
    """Give a live ClearML-compatible server; the SDK in this process and its children talks to it."""
    server = clearml_server_factory()
    with _environ(server.environment):
        yield server


@contextmanager
def _environ(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for the length of the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    yield
    for name in variables:
        os.environ.pop(name)
        if name in before:
            os.environ[name] = before[name]


@pytest.fixture(scope="session")
def clearml_workers(
    clearml_server: ClearmlServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClearmlWorkers]:
    """Give live `clearml-agent` workers of that server, which run tasks of the queues `services` and `default`.

    Tasks run in the environment of the tests. `start` starts more workers, for other queues.
    """
    from clearml_localserver.agent_workers import WORKERS, ClearmlWorkers, WorkerError
    from clearml_localserver.checkout import remote_in_place_of_none

    project = request.config.rootpath
    pythonpath = [str(project / path) for path in request.config.getini("pythonpath")]
    folder = tmp_path_factory.mktemp("clearml-workers")
    workers = ClearmlWorkers(clearml_server, folder, project, pythonpath)
    with _environ(remote_in_place_of_none(project, folder / "gitconfig", os.environ)):
        try:
            workers.start_all(list(WORKERS))
            yield workers
        except WorkerError as error:
            pytest.fail(str(error), pytrace=False)
        finally:
            workers.stop()
