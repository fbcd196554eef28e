"""The pytest plugin: what it costs a session that does not use it, and what it says when the server does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from clearml_localserver import pytest_plugin
from clearml_localserver.pytest_plugin import ServerStartError, running_server


def test_the_plugin_imports_nothing_of_the_server() -> None:
    code = "import sys, pytest; before = set(sys.modules); import clearml_localserver.pytest_plugin\n"
    code += "new = {name for name in sys.modules if name.partition('.')[0] not in sys.stdlib_module_names} - before\n"
    code += "print(sorted(new))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['clearml_localserver', 'clearml_localserver.pytest_plugin']\n"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a test may take: only a failure that does not wait for it passes."""
    monkeypatch.setattr(pytest_plugin, "START_DEADLINE_S", 3600.0)
    monkeypatch.setattr(pytest_plugin, "STOP_DEADLINE_S", 3600.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("import no_such_module", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("print('on standard output'); raise SystemExit(7)", 7, "on standard output"),
        ("import sys; sys.exit('Error: the folder is in use')", 1, "Error: the folder is in use"),
        ("import os; os.close(1); raise SystemExit(3)", 3, ""),
    ],
)
def test_a_server_that_ends_at_once_is_told_with_its_own_words(
    code: str, exit_code: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ServerStartError) as raised, running_server(tmp_path / "data", (sys.executable, "-c", code)):
        pass
    first, *rest = str(raised.value).splitlines()
    assert first.startswith(f"the ClearML server ended with exit code {exit_code}: {sys.executable} -c ")
    assert said in "\n".join(rest)


def test_a_server_that_says_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_plugin, "START_DEADLINE_S", 0.01)
    command = (sys.executable, "-c", "import time; time.sleep(3600)")
    with pytest.raises(ServerStartError, match="was not ready in time"), running_server(tmp_path / "data", command):
        pass


def test_words_of_an_earlier_server_on_the_same_data_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "data.log").write_text("what the one before said\n")
    command = (sys.executable, "-c", "raise SystemExit('this one')")
    with pytest.raises(ServerStartError) as raised, running_server(tmp_path / "data", command):
        pass
    assert "this one" in str(raised.value)
    assert "before" not in str(raised.value)
