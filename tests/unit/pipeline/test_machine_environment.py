"""The interpreter that agents are given: a private copy of the environment, and uv behind its pip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.local_stack.environment import WorkerEnvironment, copy_environment


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


SITE = "lib/python3.11/site-packages"


@pytest.fixture
def environment(source, tmp_path):
    return WorkerEnvironment(tmp_path / "worker", source, tmp_path / "kept")


@pytest.fixture
def interpreter(environment, tmp_path, monkeypatch):
    """The interpreter of a worker, with a uv that only notes how it was called, and finds nothing to do."""
    uv = tmp_path / "bin dir" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        "#!/bin/sh\n"
        '{ printf "uv"; printf " <%s>" "$@"; echo; } >> "$UV_LOG"\n'
        '[ "$3" = --dry-run ] && echo "Would ${UV_WOULD:-make no changes}"\n'
        '[ ! -e "$UV_FAILS" ]\n'
    )
    uv.chmod(0o700)
    monkeypatch.setenv("UV", str(uv))
    monkeypatch.setenv("UV_LOG", str(tmp_path / "uv.log"))
    environment.folder.mkdir()
    return environment.write_interpreter(environment.restore(), "steps-1")


def run(interpreter: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(interpreter), *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )


def which(interpreter: Path) -> Path:
    """Return the interpreter that runs a script of this process, which stands for the agent's process of a task."""
    return Path(run(interpreter, "-c", "import sys; print(sys.executable)").stdout.strip())


# What clearml-agent 1.9.2 runs for a task, and what happens instead.
CALLS = [
    (["freeze", "--all"], "uv <pip> <freeze> <--exclude-editable> <--python> <{real}>\n"),
    (["freeze"], "uv <pip> <freeze> <--exclude-editable> <--python> <{real}>\n"),
    (["install", "pip<22.3 ; python_version >= '3.10'", "--upgrade"],
     "uv <pip> <install> <--dry-run> <--python> <{real}> <pip<22.3 ; python_version >= '3.10'>\n"),
    (["install", "Cython", "--use-deprecated=legacy-resolver"], ""),
    (["install", "-r", "/tmp/a b.txt", "--use-deprecated=legacy-resolver", "--extra-index-url", "http://x/"],
     "uv <pip> <install> <--dry-run> <--python> <{real}> <-r> </tmp/a b.txt> <--extra-index-url> <http://x/>\n"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), CALLS)
def test_uv_answers_what_the_agent_asks_of_pip(interpreter, environment, tmp_path, arguments, expected):
    done = run(interpreter, "-m", "pip", "--disable-pip-version-check", *arguments)
    log = tmp_path / "uv.log"
    assert (done.returncode, log.read_text() if log.exists() else "") == (
        0,
        expected.format(real=environment.path / "bin/python"),
    )
    assert which(interpreter) == environment.path / "bin/python"


def test_a_task_that_asks_for_something_else_gets_an_environment_of_its_own(interpreter, environment, tmp_path):
    own = environment.folder / "task-env/bin/python"
    assert run(interpreter, "-m", "pip", "install", "x==1", UV_WOULD="install 1 package").returncode == 0
    assert (tmp_path / "uv.log").read_text().splitlines() == [
        f"uv <pip> <install> <--dry-run> <--python> <{environment.path / 'bin/python'}> <x==1>",
        f"uv <pip> <install> <--python> <{own}> <x==1>",
    ]
    assert run(interpreter, "-m", "pip", "freeze").returncode == 0
    assert (tmp_path / "uv.log").read_text().splitlines()[-1].endswith(f"<--python> <{own}>")
    assert which(interpreter) == own
    # The next task is another process: so is one that has got the same pid since.
    owner = environment.folder / "task-env.owner"
    pid, start = owner.read_text().split(maxsplit=1)
    assert int(pid) == os.getpid()
    owner.write_text(f"{pid} {start.strip()}0\n")
    assert which(interpreter) == environment.path / "bin/python"
    assert run(interpreter, "-m", "pip", "install", "y==1", UV_WOULD="install 1 package").returncode == 0
    assert which(interpreter) == own


def test_what_a_task_has_installed_behind_our_back_is_gone_before_the_next(interpreter, environment, source):
    assert which(interpreter)
    left = environment.path / SITE / "left-1.0.dist-info"
    left.mkdir()
    (left / "RECORD").touch()
    (environment.path / SITE / "thing.py").unlink()
    assert which(interpreter) == environment.path / "bin/python"
    assert not left.exists()
    assert (environment.path / SITE / "thing.py").samefile(source / SITE / "thing.py")


def test_pip_itself_is_asked_where_uv_cannot(source, tmp_path, monkeypatch):
    monkeypatch.setenv("UV", "/bin/false")
    environment = WorkerEnvironment(tmp_path / "worker", source, tmp_path / "kept")
    environment.folder.mkdir()
    environment.restore()
    interpreter = environment.write_interpreter(Path(sys.executable), "steps-1")
    (environment.path / "bin/python").unlink()
    (environment.path / "bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (environment.path / "bin/python").chmod(0o700)
    arguments = ["-m", "pip", "install", "no-such-thing-anywhere==0", "--upgrade"]
    done = run(interpreter, *arguments, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode != 0
    assert "No matching distribution found for no-such-thing-anywhere==0" in done.stderr


def test_everything_else_is_python(interpreter, environment):
    done = run(interpreter, "-u", "-c", "import sys; print(sys.executable, sys.argv[1:])", "a b", "$HOME")
    assert done.stdout == f"{environment.path / 'bin/python'} ['a b', '$HOME']\n"
    assert run(interpreter, "-c", "raise SystemExit(7)").returncode == 7


def test_without_uv_a_task_that_installs_has_an_environment_of_its_own_too(environment, tmp_path, monkeypatch):
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    environment.folder.mkdir()
    interpreter = environment.write_interpreter(environment.restore(), "steps-1")
    assert run(interpreter, "-c", "print(1)").stdout == "1\n"
    assert which(interpreter) == environment.path / "bin/python"
    run(interpreter, "-m", "pip", "--disable-pip-version-check", "install", "--help")
    assert which(interpreter) == environment.folder / "task-env/bin/python"
