"""The interpreter that agents are given: a private copy of the environment, and uv behind its pip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.machine.environment import copy_environment, write_interpreter


@pytest.fixture
def source(tmp_path):
    """A small environment with one distribution."""
    site = tmp_path / "source/lib/python3.11/site-packages"
    (site / "thing-1.0.dist-info").mkdir(parents=True)
    (site / "thing-1.0.dist-info/RECORD").write_text("thing.py,,")
    (site / "thing.py").write_text("x = 1\n")
    (tmp_path / "source/bin").mkdir()
    (tmp_path / "source/bin/python").symlink_to(sys.executable)
    return tmp_path / "source"


def test_a_copy_shares_its_files_and_keeps_its_links(source, tmp_path):
    python = copy_environment(source, tmp_path / "copy")
    assert python == tmp_path / "copy/bin/python"
    assert os.readlink(python) == sys.executable
    thing = "lib/python3.11/site-packages/thing.py"
    assert (tmp_path / "copy" / thing).samefile(source / thing)


def test_a_fresh_copy_is_kept_and_a_stale_one_is_made_anew(source, tmp_path):
    target = tmp_path / "copy"
    site = target / "lib/python3.11/site-packages"
    copy_environment(source, target)
    (target / "kept").touch()
    copy_environment(source, target)
    assert (target / "kept").exists()
    (site / "other-2.0.dist-info").mkdir()  # what a step that pins something else leaves behind
    (site / "other-2.0.dist-info/RECORD").write_text("")
    copy_environment(source, target)
    assert not (target / "kept").exists()
    assert not (site / "other-2.0.dist-info").exists()


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """The interpreter of a worker, with a uv that only says how it was called."""
    uv = tmp_path / "bin dir" / "uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\nprintf "uv"; printf " <%s>" "$@"\n[ ! -e "$UV_FAILS" ]\n')
    uv.chmod(0o700)
    monkeypatch.setenv("UV", str(uv))
    return write_interpreter(tmp_path / "python", Path(sys.executable), "steps-1")


def run(interpreter: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(interpreter), *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )


# What clearml-agent 1.9.2 runs for a task, and what happens instead.
REAL = f"<--python> <{sys.executable}>"
CALLS = [
    (["freeze", "--all"], f"uv <pip> <freeze> <--exclude-editable> {REAL}"),
    (["freeze"], f"uv <pip> <freeze> <--exclude-editable> {REAL}"),
    (["install", "pip<22.3 ; python_version >= '3.10'", "--upgrade"],
     f"uv <pip> <install> {REAL} <pip<22.3 ; python_version >= '3.10'>"),
    (["install", "Cython", "--use-deprecated=legacy-resolver"], ""),
    (["install", "-r", "/tmp/a b.txt", "--use-deprecated=legacy-resolver", "--extra-index-url", "http://x/"],
     f"uv <pip> <install> {REAL} <-r> </tmp/a b.txt> <--extra-index-url> <http://x/>"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), CALLS)
def test_uv_answers_what_the_agent_asks_of_pip(interpreter, arguments, expected):
    done = run(interpreter, "-m", "pip", "--disable-pip-version-check", *arguments)
    assert (done.returncode, done.stdout) == (0, expected)


def test_pip_itself_is_asked_where_uv_cannot(interpreter, tmp_path):
    (tmp_path / "fails").touch()
    arguments = ["-m", "pip", "install", "no-such-thing-anywhere==0", "--upgrade"]
    done = run(interpreter, *arguments, UV_FAILS=str(tmp_path / "fails"), PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode != 0
    assert "No matching distribution found for no-such-thing-anywhere==0" in done.stderr


def test_everything_else_is_python(interpreter):
    done = run(interpreter, "-u", "-c", "import sys; print(sys.executable, sys.argv[1:])", "a b", "$HOME")
    assert done.stdout == f"{sys.executable} ['a b', '$HOME']\n"
    assert run(interpreter, "-c", "raise SystemExit(7)").returncode == 7


def test_without_uv_the_interpreter_is_python_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    interpreter = write_interpreter(tmp_path / "python", Path(sys.executable), "steps-1")
    assert "pip" not in interpreter.read_text().replace("pipeline", "")
    assert run(interpreter, "-c", "print(1)").stdout == "1\n"
