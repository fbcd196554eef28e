"""The pytest plugin in a session of its own, as in another project's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

TESTS = """
import os, pathlib

def test_one(clearml_server, record_property):
    assert os.environ["CLEARML_API_HOST"] == clearml_server.api_url
    pathlib.Path(os.environ["SEEN"], f"{os.getpid()} one").write_text(clearml_server.api_url)

def test_two(clearml_server):
    pathlib.Path(os.environ["SEEN"], f"{os.getpid()} two").write_text(clearml_server.api_url)
"""


def run(folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder that is no part of this project."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "clearml_localserver.py").write_text("raise SystemExit('a file of the tests, not the server')")
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:socket", *options]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_processes_of_xdist_have_a_server_each(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    done = run(tmp_path, "-n", "2", "--dist", "each", SEEN=str(seen))
    assert done.returncode == 0, done.stdout
    by_process: dict[str, set[str]] = {}
    for path in seen.iterdir():
        by_process.setdefault(path.name.partition(" ")[0], set()).add(path.read_text())
    assert [len(addresses) for addresses in by_process.values()] == [1, 1]
    assert len(set.union(*by_process.values())) == 2


def test_a_server_that_cannot_start_fails_the_tests_with_its_own_message(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\")")
    done = run(tmp_path, PYTHONPATH=str(broken))
    assert done.returncode == 1
    assert "the ClearML server ended with exit code" in done.stdout
    assert "ModuleNotFoundError: No module named 'uvicorn'" in done.stdout
    assert "2 errors" in done.stdout
    assert "pytest_plugin.py" not in done.stdout, "where that was found out is of no use to the reader"
