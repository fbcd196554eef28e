"""Workers of the fixture: what ends with the tests, and what is said where the agent is not installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from clearml_localserver.agent_workers import ClearmlWorkers, WorkerError

RUNNER = [sys.executable, "-m", "clearml_localserver.until_stdin_closes", sys.executable, "-c"]


def test_a_command_keeps_its_exit_code() -> None:
    with subprocess.Popen([*RUNNER, "raise SystemExit(7)"], stdin=subprocess.PIPE, start_new_session=True) as runner:
        assert runner.wait(60) == 7


def test_a_command_ends_with_all_that_it_started_when_stdin_closes() -> None:
    """Also what takes no notice of SIGTERM, as a task may do."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(3600)"
    code = f"import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
    code += "p.stdout.readline()\nprint(p.pid, flush=True)\np.wait()\n"
    with subprocess.Popen(
        [*RUNNER, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as runner:
        assert runner.stdout and runner.stdin
        grandchild = psutil.Process(int(runner.stdout.readline()))
        runner.stdin.close()
        runner.wait(60)
    psutil.wait_procs([grandchild], timeout=60)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_missing_agent_is_named_with_the_extra_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "clearml_agent" else name)
    workers = ClearmlWorkers(SimpleNamespace(), tmp_path, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(WorkerError) as raised:
        workers.start("default")
    first, hint = str(raised.value).splitlines()
    assert first == f"the fixture clearml_workers needs clearml-agent, which {sys.executable} does not have"
    assert hint == 'Hint: pip install "clearml-localserver[sdk,agent]"'
