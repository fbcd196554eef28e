"""A path that a person types is relative to the folder in which they typed it; tasks run in the clone."""

import os
from pathlib import Path

import click
import pytest

from command_line.main import run
from command_line.options import FilePath, NameOrPath

found: dict[str, object] = {}


@click.command()
@click.argument("source", type=FilePath(exists=True), required=False)
@click.option("--report", type=FilePath(), default=Path("report.html"))
@click.option("--queues", type=FilePath(), envvar="TEST_QUEUES")
@click.option("--chart", type=NameOrPath())
def command(**values: object) -> None:
    found.update(values, kubeconfig=os.environ.get("KUBECONFIG"), folder=os.environ.get("CLEARML_PODS_FOLDER"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person's folder, which is not this process's."""
    found.clear()
    (tmp_path / "train.csv").touch()
    (tmp_path / "chart").mkdir()
    monkeypatch.setenv("CLEARML_PODS_FOLDER", str(tmp_path))
    return tmp_path


def test_paths_are_relative_to_the_persons_folder(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_QUEUES", "queues")
    assert run(command, ["train.csv", "--report", "a/b.html", "--chart", "chart"], program="test") == 0
    assert (found["source"], found["report"]) == (folder / "train.csv", folder / "a" / "b.html")
    assert (found["queues"], found["chart"]) == (folder / "queues", str(folder / "chart"))
    assert found["folder"] is None, "what the command starts would read it, too"


def test_a_file_that_is_missing_is_named_in_full(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run(command, ["test.csv"], program="test") == 2
    assert str(folder / "test.csv") in capsys.readouterr().err


def test_defaults_names_and_absolute_paths_stay(folder: Path):
    assert run(command, ["--chart", "clearml-agent"], program="test") == 0
    assert (found["report"], found["chart"], found["source"]) == (Path("report.html"), "clearml-agent", None)
    assert run(command, ["--chart", "oci://chart", "--report", "/r.html"], program="test") == 0
    assert (found["report"], found["chart"]) == (Path("/r.html"), "oci://chart")


def test_a_variable_with_several_paths_is_read_so_too(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUBECONFIG", "train.csv:/etc/hostname:missing")
    assert run(command, [], program="test") == 0
    assert found["kubeconfig"] == f"{folder}/train.csv:/etc/hostname:missing"


def test_without_a_task_paths_are_relative_to_the_own_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CLEARML_PODS_FOLDER", raising=False)
    monkeypatch.setenv("KUBECONFIG", "kubeconfig")
    assert run(command, ["pyproject.toml", "--chart", "tests"], program="test") == 0
    assert (found["source"], found["chart"], found["kubeconfig"]) == (Path("pyproject.toml"), "tests", "kubeconfig")
