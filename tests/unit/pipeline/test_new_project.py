"""`pipeline new`: what it writes, and what it refuses. The written project's own tests run in `tests/integration`."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import pipeline.cli
from clearml_access import agent_values
from deploy.helm import values
from deploy.queue_values import merged
from deploy.settings import Settings

ROOT = Path(__file__).parents[3]
OURS = ("clearml_access", "command_line", "pipeline", "deploy", "images", "cluster", "bench", "maintenance")


def new(*words: str) -> int:
    return pipeline.cli.main(["new", *words])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    assert new("house-prices", "--folder", str(folder)) == 0
    return folder / "house-prices"


def test_the_project_has_its_name_and_no_other(project: Path) -> None:
    files = sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())
    assert files == [
        ".gitignore", "README.md", "Taskfile.yml", "house_prices.py", "pyproject.toml", "queue.yaml",
        "tests/test_house_prices.py",
    ]  # fmt: skip
    text = "".join((project / name).read_text() for name in files)
    assert not re.search("new.pipeline", text, re.IGNORECASE)
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] == "house-prices"
    assert {"setup", "test", "run"} < yaml.safe_load((project / "Taskfile.yml").read_text())["tasks"].keys()
    assert 'PipelineController(name="House prices"' in text


def test_its_readme_has_the_command_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("house-prices", "--folder", str(tmp_path)) == 0
    (line,) = [line.strip() for line in capsys.readouterr().out.splitlines() if "pip install" in line]
    assert f"pip install '{ROOT}/localserver[sdk,agent]' -e '.[test]'" in line
    assert line in (tmp_path / "house-prices" / "README.md").read_text().splitlines()
    monkeypatch.setattr("pipeline.new_project.PROJECT", tmp_path)
    assert new("other-prices", "--folder", str(tmp_path)) == 0
    assert "&& .venv/bin/pip install -e '.[test]'\n" in (tmp_path / "other-prices" / "README.md").read_text()


def test_nothing_in_it_imports_this_repository(project: Path) -> None:
    imported = {
        name
        for file in project.rglob("*.py")
        for name in re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE)
    }
    assert imported & {*OURS, "clearml_localserver"} == set()


def test_its_steps_are_functions(project: Path) -> None:
    code = "import house_prices as h; print(h.check_mean(h.make_numbers(1000, 0), 11) == h.check_mean([9, 11], 11))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"  # a mean of drawn numbers is not 10


def test_its_queue_file_is_one_of_deploys(project: Path, tmp_path: Path) -> None:
    file = yaml.safe_load((project / "queue.yaml").read_text())
    assert values.get(file, agent_values.QUEUE) == "house-prices"
    below = yaml.safe_load(agent_values.IN_CLONE.read_text())
    settings = Settings.from_environ({"AGENT_QUEUES": str(tmp_path)})
    assert values.get(merged(below, file, settings), agent_values.QUEUE) == "house-prices"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Houses", "at least 3 lower-case letters"),
        ("ab", "at least 3 lower-case letters"),
        ("2houses", "at least 3 lower-case letters"),
        ("house--prices", "at least 3 lower-case letters"),
        ("../houses", "at least 3 lower-case letters"),
        ("house_prices", "at least 3 lower-case letters"),
        ("json", "a Python module has that name"),
        ("clearml", "a Python module has that name"),
        ("pipeline", "a Python module has that name"),
        ("class", "a Python module has that name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(name, "--folder", str(tmp_path)) == 10
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "house-prices").mkdir()
    assert new("house-prices", "--folder", str(tmp_path)) == 24
    assert "exists already: nothing was written" in capsys.readouterr().err
    assert list((tmp_path / "house-prices").iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert new("house-prices", "--folder", str(tmp_path / "file")) == 2
