"""Fixtures that several suites share. Live servers come from localserver's own pytest plugin."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from clearml_localserver import pytest_plugin
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.server_faults import MARK
from hypothesis import HealthCheck, settings

from pipeline.local_stack.environment import AT_START
from tests.api_client import ApiClient

# Scripts that tests run with the SDK alone get what a worker gives to its tasks: one of many thousand hangs without it.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(AT_START), os.environ.get("PYTHONPATH"))))

# The same examples each time: what a random one finds would fail a change that has nothing to do with it.
# `--hypothesis-profile=default` looks for others. Without limits of time: on a busy machine an example takes longer
# than the 200 ms of Hypothesis, and drawing examples longer than its health check allows.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


def pytest_collection(session: pytest.Session) -> None:
    """Let each of several processes import another part of the files first.

    pytest rewrites the assertions of a file that it sees for the first time, which is most of the time of a collection.
    Processes that begin with the same file all rewrite the same files; so each finds most of them rewritten.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    root = session.config.rootpath
    named = [root / word.partition("::")[0] for word in session.config.args]
    files = sorted({file for path in named for file in (path.rglob("test_*.py") if path.is_dir() else [path])})
    first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for file in files[first:] + files[:first]:
        with suppress(Exception, pytest.skip.Exception):  # the collection says what is wrong with it
            importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))


@pytest.fixture
def api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """A client of the session's server."""
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        yield client


class FaultLines:
    """Reads the logs of all servers on from where it stood."""

    def __init__(self) -> None:
        self._read: dict[Path, int] = {}

    def new(self, logs: list[Path]) -> list[str]:
        """Return the lines on answers of 500 and above that were written since the last look."""
        return [line for log in logs for line in self._rest(log).splitlines() if MARK in line]

    def _rest(self, log: Path) -> str:
        if not log.is_file():
            return ""
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            text = file.read()
        self._read[log] = self._read.get(log, 0) + len(text)
        return text.decode(errors="replace")


@pytest.fixture(scope="session")
def fault_lines() -> FaultLines:
    return FaultLines()


@pytest.fixture(autouse=True)
def no_server_fault(
    request: pytest.FixtureRequest, fault_lines: FaultLines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a test that makes any server of this session answer 500 or above, unless it says why it does so."""
    own = [request.getfixturevalue("tmp_path")] if "tmp_path" in request.fixturenames else []
    yield
    logs = list(pytest_plugin.LOGS)
    if any(request.node.get_closest_marker(name) for name in ("integration", "e2e")):
        # Those of `server up`: its folder is a module's or this test's. Other tests have hundreds of them.
        shared = [folder for folder in tmp_path_factory.getbasetemp().iterdir() if not folder.name.startswith("test_")]
        logs += [log for folder in (*own, *shared) for log in folder.glob("*/server/server.log")]
    found = fault_lines.new(logs)
    declared = request.node.get_closest_marker("server_fault")
    if declared is None:
        assert found == [], "a server answered 500 or above; mend it, or declare it: @pytest.mark.server_fault(reason)"
    else:
        assert found, f"declared to cause a fault of the server ({declared.args[0]}), and caused none"


@pytest.fixture(autouse=True)
def no_leaked_umask() -> Iterator[None]:
    """Put the process's umask back: commands that run in it set one, and later tests would make other files."""
    umask = os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)
