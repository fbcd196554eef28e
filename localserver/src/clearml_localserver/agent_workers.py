"""The workers of the fixture `clearml_workers`: unmodified `clearml-agent` daemons on a test's server.

Their tasks run in the environment of the tests, so that a task starts in seconds and finds the packages that the tests
find; a task's own list of packages is not installed. Outside systems: the command line of clearml-agent, and the
server's API.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clearml_localserver.checkout import url_rewrites

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
CALL_DEADLINE_S = 30.0
LOOK_S = 0.2
LAST_LINES = 40

CONTROLLERS_QUEUE, DEFAULT_QUEUE = "services", "default"
"""Where the SDK puts controllers and steps unless told otherwise."""

WORKERS = (
    ("controllers", (CONTROLLERS_QUEUE, DEFAULT_QUEUE)),
    ("steps-1", (DEFAULT_QUEUE,)),
    ("steps-2", (DEFAULT_QUEUE,)),
)
"""Names and queues of the workers that every session gets. A controller holds its worker until its steps are done."""

FOREIGN = ("CLEARML_", "TRAINS_")
"""Variables of the caller's that would speak to the agent behind its configuration's back."""

UNWANTED = {"PYTHONDONTWRITEBYTECODE"}
"""A task would compile what it imports, each time."""

ENDED = ("completed", "published", "failed", "stopped", "closed")


class WorkerError(RuntimeError):
    """A worker does not start, or what it was to run has not completed."""


class Server(Protocol):
    """What the workers need to know of their server."""

    api_url: str
    web_url: str
    files_url: str

    @property
    def credentials(self) -> tuple[str, str]:
        """Access key and secret key."""


@dataclass
class ClearmlWorker:
    """One agent daemon.

    Attributes:
        name: Its name, which is the end of its id.
        queues: The queues that it serves, the most urgent first.
        folder: Its own folder.
        process: The process that ends with this one, and the daemon with it.
    """

    name: str
    queues: tuple[str, ...]
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def id(self) -> str:
        """The id that the server knows it by."""
        return worker_id(self.name)

    @property
    def console(self) -> str:
        """What the daemon has said, and the output of its tasks."""
        return (self.folder / "agent.log").read_text(encoding="utf-8", errors="replace")


class ClearmlWorkers:
    """The workers of a test session.

    Attributes:
        server: Their server.
        workers: All of them, in the order in which they were started.
    """

    def __init__(self, server: Server, folder: Path, checkout: Path, pythonpath: Sequence[str] = ()) -> None:
        self.server = server
        self.workers: list[ClearmlWorker] = []
        self._folder = folder
        self._checkout = checkout
        self._pythonpath = pythonpath

    def start(self, *queues: str) -> ClearmlWorker:
        """Start one more worker, and wait until it takes tasks.

        Args:
            queues: The queues that it serves, the most urgent first; they are made if they do not exist.

        Raises:
            WorkerError: It ends, or the server does not know it in time.
        """
        [worker] = self.start_all([(f"worker-{len(self.workers) + 1}", queues)])
        return worker

    def start_all(self, wanted: list[tuple[str, tuple[str, ...]]]) -> list[ClearmlWorker]:
        """Start workers by name and queues, side by side; wait until all take tasks.

        Raises:
            WorkerError: One ends, or the server does not know it in time.
        """
        missing = [module for module in ("clearml_agent", "clearml") if importlib.util.find_spec(module) is None]
        if missing:
            names = " and ".join(module.replace("_", "-") for module in missing)
            raise WorkerError(
                f"the fixture clearml_workers needs {names}, which {sys.executable} does not have\n"
                'Hint: pip install "clearml-localserver[sdk,agent]"'
            )
        known = {queue["name"] for queue in self.call("queues.get_all", only_fields=["name"])["queues"]}
        # Here, and not by the daemons: two that make one queue at a time refuse each other.
        for queue in sorted({queue for _, queues in wanted for queue in queues} - known):
            self.call("queues.create", name=queue)
        started = [self._launch(name, queues) for name, queues in wanted]
        self.workers += started
        self._wait_until_known(started)
        return started

    def stop(self) -> None:
        """End all workers, and the tasks that they run."""
        for worker in self.workers:
            with suppress(BrokenPipeError):
                worker.process.stdin.close()  # type: ignore[union-attr]
        for worker in self.workers:
            try:
                worker.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)
                worker.process.wait()

    def wait(self, task: str, timeout_s: float = 300.0) -> dict[str, Any]:
        """Wait until a task has completed, such as a pipeline's controller; return its record.

        Args:
            task: Its id.
            timeout_s: After how many seconds it is given up.

        Raises:
            WorkerError: It has ended otherwise, or has not ended in time, or no worker is left; the message has the
                last lines of the console of that task and of its steps that did not complete.
        """
        __tracebackhide__ = True  # the message says all
        deadline = time.monotonic() + timeout_s
        while True:
            record: dict[str, Any] = self.call("tasks.get_by_id", task=task)["task"]
            if record["status"] in ENDED:
                break
            if time.monotonic() > deadline:
                raise WorkerError(self._why(record, f"is {record['status']} after {timeout_s:.0f} s"))
            if all(worker.process.poll() is not None for worker in self.workers):
                raise WorkerError(self._why(record, f"is {record['status']}, and no worker is left"))
            time.sleep(LOOK_S)
        if record["status"] not in ("completed", "published"):
            raise WorkerError(self._why(record, f"has ended with status {record['status']}"))
        return record

    def console(self, task: str) -> str:
        """Return what a task has printed, from the server."""
        return "".join(f"{line}\n" for line in self._lines(task))

    def call(self, endpoint: str, **fields: Any) -> dict[str, Any]:
        """Call the server's API, and return the data of its reply.

        Raises:
            WorkerError: The server refuses the call, or does not answer.
        """
        basic = base64.b64encode(":".join(self.server.credentials).encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - the address of a test's own server
            f"{self.server.api_url}/{endpoint}",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {basic}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # proxies are for the internet
        try:
            with opener.open(request, timeout=CALL_DEADLINE_S) as reply:
                return json.load(reply)["data"]  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            said = json.loads(error.read() or b"{}").get("meta", {}).get("result_msg", error.reason)
            raise WorkerError(f"{endpoint} is refused: {said}") from error
        except OSError as error:
            raise WorkerError(f"the server at {self.server.api_url} does not answer {endpoint}: {error}") from error

    def _launch(self, name: str, queues: tuple[str, ...]) -> ClearmlWorker:
        folder = self._folder / name
        (folder / "tmp").mkdir(mode=0o700, parents=True)
        configuration = folder / "clearml.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps(self._configuration(folder), indent=2), encoding="utf-8")
        command = [
            "-m",
            "clearml_agent",
            "--config-file",
            str(configuration),
            "daemon",
            "--foreground",
            "--queue",
            *queues,
        ]
        with (folder / "agent.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "clearml_localserver.until_stdin_closes", sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(name, folder),
                cwd=folder,
                start_new_session=True,
            )
        return ClearmlWorker(name, queues, folder, process)

    def _configuration(self, folder: Path) -> dict[str, Any]:
        access_key, secret_key = self.server.credentials
        cache = self._folder / "cache"
        return {
            "api": {
                "api_server": self.server.api_url,
                "web_server": self.server.web_url,
                "files_server": self.server.files_url,
                "credentials": {"access_key": access_key, "secret_key": secret_key},
            },
            "agent": {
                "venvs_dir": str(folder / "venvs"),
                "venvs_cache": {"path": str(cache / "venvs")},
                "vcs_cache": {"path": str(folder / "vcs")},
                "pip_download_cache": {"path": str(cache / "pip")},
            },
            "sdk": {
                # As a subprocess, reporting is looked at every 5 s, twice: 10 s more at the end of each task.
                "development": {"report_use_subprocess": False},
                "storage": {"cache": {"default_base_dir": str(cache / "storage")}},
            },
        }

    def _environment(self, name: str, folder: Path) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN) and key not in UNWANTED}
        no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1")))
        return (
            {"HOME": str(folder)}  # of a user without an entry in the list of users
            | kept
            | url_rewrites(self._checkout, kept)
            | {
                "CLEARML_WORKER_ID": worker_id(name),
                # Tasks run with the agent's own interpreter, which is that of the tests: nothing is installed.
                "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL": "1",
                # How often the agent looks whether its task has ended; its own 5 s are spent twice for each task.
                "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": str(LOOK_S),
                "CLEARML_AGENT_TEMP_STDOUT_FILE_DIR": str(folder / "tmp"),
                "TMPDIR": str(folder / "tmp"),
                "PYTHONUNBUFFERED": "1",
                "PYTHONPATH": os.pathsep.join(filter(None, (*self._pythonpath, kept.get("PYTHONPATH")))),
                "NO_PROXY": no_proxy,
                "no_proxy": no_proxy,
            }
        )

    def _wait_until_known(self, started: list[ClearmlWorker]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not {worker.id for worker in started} <= (known := self._known()):
            for worker in started:
                if (code := worker.process.poll()) is not None:
                    raise WorkerError(_with_lines(f"worker {worker.id} ended with exit code {code}", worker.console))
            if time.monotonic() > deadline:
                late = next(worker for worker in started if worker.id not in known)
                why = f"worker {late.id} is not known to the server after {START_DEADLINE_S:.0f} s"
                raise WorkerError(_with_lines(why, late.console))
            time.sleep(LOOK_S)

    def _known(self) -> set[str]:
        return {worker["id"] for worker in self.call("workers.get_all")["workers"]}

    def _why(self, record: dict[str, Any], what: str) -> str:
        steps = self.call(
            "tasks.get_all", parent=[record["id"]], only_fields=["id", "name", "status"], search_hidden=True
        )["tasks"]
        parts = [f'task "{record["name"]}" ({record["id"]}) {what}']
        for task in (record, *(step for step in steps if step["status"] not in ("completed", "published"))):
            said = "\n".join(self._lines(task["id"])[-LAST_LINES:]) or "nothing"
            parts.append(f'--- "{task["name"]}" ({task["status"]}) said:\n{said}')
        if "can't open file" in parts[1] and (record.get("script") or {}).get("repository"):
            parts.append(
                "Hint: agents see what git knows of the checkout: is the script committed, or added (git add)?"
            )
        return "\n".join(parts)

    def _lines(self, task: str) -> list[str]:
        reply = self.call("events.get_task_log", task=task, order="asc", batch_size=5000)
        return [line for event in reply["events"] for line in str(event.get("msg", "")).splitlines()]


def worker_id(name: str) -> str:
    """Return the id of the worker of a name."""
    return f"{socket.gethostname()}:{name}"


def _with_lines(what: str, console: str) -> str:
    return "\n".join([what, *console.strip().splitlines()[-LAST_LINES:]])
