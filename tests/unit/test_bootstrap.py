"""`./task`, the bootstrap: its messages where something is missing, and what it hands on. CI runs it for real."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

SCRIPT = Path(__file__).parents[2] / "task"
NEEDED = ("sh", "dirname", "readlink", "uname", "mkdir", "mktemp", "rm", "mv", "cp")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(SCRIPT, folder / "task")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with a shell's own helpers and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def run(clone: Path, path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "task", *arguments], env={"PATH": str(path), **environ}, capture_output=True, text=True, timeout=20
    )


def tools_folder() -> str:
    text = SCRIPT.read_text(encoding="utf-8")
    pins = dict(re.findall(r"^(UV|GO_TASK)=(\S+)$", text, re.MULTILINE))
    return f"{pins['UV']}-{pins['GO_TASK']}"


def test_without_python_it_says_what_to_install(clone: Path, path: Path) -> None:
    ended = run(clone, path)
    assert ended.returncode == 1
    assert "Error: python3 is not on PATH" in ended.stderr
    assert "apt install python3" in ended.stderr


def test_a_python_without_pip_and_venv_is_named(clone: Path, path: Path) -> None:
    program(path, "python3", "exit 1")
    ended = run(clone, path)
    assert ended.returncode == 1
    assert "python3 has neither pip nor venv" in ended.stderr
    assert "apt install python3-venv" in ended.stderr


def test_a_failed_fetch_names_the_index_settings_and_leaves_nothing(clone: Path, path: Path) -> None:
    program(path, "python3", 'case "$*" in *--version*) exit 0 ;; esac; echo "no route to the index" >&2; exit 1')
    ended = run(clone, path)
    assert ended.returncode == 1
    assert "no route to the index" in ended.stderr
    assert "could not be fetched" in ended.stderr
    assert "PIP_INDEX_URL" in ended.stderr
    assert list((clone / ".tools").iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PIP_CERT": "/ca.pem", "PIP_INDEX_URL": "http://index"}, "/ca.pem http://index"),
        ({"PIP_CERT": "/ca.pem", "SSL_CERT_FILE": "/own.pem", "UV_DEFAULT_INDEX": "http://own"}, "/own.pem http://own"),
        ({}, " "),
    ],
)
def test_uv_is_given_pips_settings(clone: Path, path: Path, environ: dict[str, str], said: str) -> None:
    program(path, "python3", "exit 1")
    program(path, "uv", 'echo "[$SSL_CERT_FILE $UV_DEFAULT_INDEX]"; exit 1')
    ended = run(clone, path, **environ)
    assert ended.stdout == f"[{said}]\n"


def test_the_environments_are_fetched_with_pips_certificates() -> None:
    tasks = yaml.safe_load((SCRIPT.parent / "Taskfile.yml").read_text(encoding="utf-8"))["tasks"]
    syncing = {name for name, task in tasks.items() if "uv sync" in str(task)}
    assert {"environment", "agent-environment"} <= syncing
    given = {name: tasks[name].get("env", {}).get("SSL_CERT_FILE") for name in syncing}
    assert given == dict.fromkeys(syncing, "{{.PIP_CERT}}")


def test_programs_that_do_not_run_here_are_not_kept(clone: Path, path: Path) -> None:
    made = 'mkdir -p "$target/bin"; for name in uv task; do printf "exit 126\\n" > "$target/bin/$name"; done'
    executable = 'chmod +x "$target/bin/uv" "$target/bin/task"'
    (path / "chmod").symlink_to(shutil.which("chmod") or "")
    find_target = 'while [ "$1" != --target ]; do shift; done; target=$2'
    program(path, "python3", f'case "$*" in *--version*) exit 0 ;; esac; {find_target}; {made}; {executable}')
    ended = run(clone, path)
    assert ended.returncode == 1
    assert "does not run on this machine" in ended.stderr
    assert list((clone / ".tools").iterdir()) == []


def test_arguments_and_the_fetched_programs_are_handed_on(clone: Path, path: Path) -> None:
    tools = clone / ".tools" / tools_folder() / "bin"
    program(tools, "uv", "echo this is uv")
    program(tools, "task", 'uv; for argument; do echo "[$argument]"; done; exit 7')
    ended = run(clone, path, "run-pipeline", "--", "--set", "a=b c")
    assert ended.returncode == 7
    assert ended.stdout.splitlines() == [
        "this is uv", "[--dir]", f"[{clone}]", "[run-pipeline]", "[--]", "[--set]", "[a=b c]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "handed_on"),
    [
        (["run-pipeline", "--set", "a=b c"], ["run-pipeline", "--", "--set", "a=b c"]),
        (["run-pipeline", "--", "--set", "x=1"], ["run-pipeline", "--", "--set", "x=1"]),
        (["logs", "-f", "--", "-x"], ["logs", "--", "-f", "--", "-x"]),
        (["-x", "run-pipeline", "--json"], ["-x", "run-pipeline", "--", "--json"]),
        (["-v", "run-pipeline", "--json"], ["-v", "run-pipeline", "--", "--json"]),
        (["--force", "-s", "setup", "-q"], ["--force", "-s", "setup", "--", "-q"]),
        (["undeploy-agent", "--yes"], ["undeploy-agent", "--", "--yes"]),
        (["lint", "test"], ["lint", "test"]),
        (["test", "NAME=value", "-v"], ["test", "NAME=value", "--", "-v"]),
        (["--list"], ["--list"]),
        (["--summary", "test", "--json"], ["--summary", "test", "--json"]),
        ([""], [""]),
        ([], []),
    ],
)
def test_options_after_a_task_are_for_its_command(
    clone: Path, path: Path, typed: list[str], handed_on: list[str]
) -> None:
    tools = clone / ".tools" / tools_folder() / "bin"
    program(tools, "uv", "exit 0")
    program(tools, "task", 'for argument; do echo "[$argument]"; done')
    ended = run(clone, path, *typed)
    assert ended.stdout.splitlines() == ["[--dir]", f"[{clone}]", *(f"[{argument}]" for argument in handed_on)]


def test_a_link_to_the_script_finds_the_repository(clone: Path, path: Path, tmp_path: Path) -> None:
    tools = clone / ".tools" / tools_folder() / "bin"
    program(tools, "uv", "exit 0")
    program(tools, "task", 'echo "$2"')
    link = tmp_path / "link"
    link.symlink_to(clone / "task")
    ended = subprocess.run([link], env={"PATH": str(path)}, capture_output=True, text=True, timeout=20)
    assert ended.stdout == f"{clone}\n"


def test_a_folder_that_cannot_be_written_is_named(clone: Path, path: Path) -> None:
    program(path, "python3", "exit 0")
    (clone / ".tools").write_text("a file in its place: root may write everywhere else", encoding="utf-8")
    ended = run(clone, path)
    assert ended.returncode == 1
    assert f"Error: {clone} cannot be written" in ended.stderr
    assert ended.stderr.count("\n") == 3  # what is fetched, the error, the hint
