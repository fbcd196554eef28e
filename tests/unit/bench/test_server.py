"""`bench-server -- --beside PYTHON`: which command starts the server of another version."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import harness, rivals
from bench.declaration import BenchmarkError
from bench.server import command_of


def interpreter(folder: Path, module: str) -> str:
    """An interpreter whose environment has a server under that name."""
    package = folder / "packages" / module
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("raise SystemExit('not to be imported')")
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "packages"} exec {sys.executable} -S "$@"\n')
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize("module", ["localserver", "clearml_localserver"])
def test_the_module_of_an_old_and_of_a_new_version_is_found(module: str, tmp_path: Path) -> None:
    python = interpreter(tmp_path, module)
    assert command_of(python, tmp_path) == (python, "-m", module)


def test_this_environment_s_own_server_is_found_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(sys.executable).parent)
    assert command_of(f"./{Path(sys.executable).name}", tmp_path) == (sys.executable, "-m", "clearml_localserver")


def test_an_environment_without_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"has none of the modules clearml_localserver, localserver"):
        command_of(interpreter(tmp_path, "something_else"), tmp_path)
    with pytest.raises(BenchmarkError, match="no such program"):
        command_of(str(tmp_path / "absent"), tmp_path)


def test_another_version_beside_takes_no_target_away() -> None:
    benchmark = harness.BENCHMARKS["server"].load()
    assert benchmark.options([], quick=False)[1]
    assert benchmark.options(["--beside", "python"], quick=False)[1]
    assert not benchmark.options(["--rounds", "1"], quick=False)[1]


def test_a_clone_without_the_earlier_commit_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "HOME", tmp_path / "rivals")
    monkeypatch.setattr(rivals, "COMMIT", "0" * 40)
    with pytest.raises(BenchmarkError, match="git fetch --unshallow"):
        rivals.earlier_python(print)


def test_what_is_half_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "HOME", tmp_path / "rivals")
    monkeypatch.setenv("UV", "/bin/false")
    with pytest.raises(BenchmarkError, match="uv venv failed"):
        rivals.mlflow_python(print)
    assert list((tmp_path / "rivals").iterdir()) == []
