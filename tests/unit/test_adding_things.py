"""The changes that CONTRIBUTING.md shows, each made once in a copy: the files it names are all that is touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from clearml_access.agent_values import IN_CLONE
from clearml_access.credentials import Secret, Server
from deploy.plan import Plan
from deploy.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_BYTECODE = shutil.ignore_patterns("__pycache__", ".venv")

STEP = '''"""Step `word_counts`: how many words the training set has."""

from pathlib import Path


def word_counts(frame: Path) -> int:
    """Return the number of lemmas in a processed set."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import count_words

    mark("work")
    return count_words(frame)
'''
WORK = '''

def count_words(frame: Path) -> int:
    """Return the number of lemmas in a processed set."""
    return int(pl.read_parquet(frame)["corpus"].list.len().sum())
'''
DECLARED = """        "word_counts": FunctionStep(
            f"{_STEPS}.word_counts",
            inputs={"frame": "${train_processing.processed_train_dataframe}"},
            outputs=("words",),
        ),
"""
CHECK = '''

def temporary_folder(session: Session) -> Finding:
    """Does the folder exist into which charts are unpacked."""
    return warn("TMPDIR=/gone does not exist", "export TMPDIR=/tmp")
'''
LISTED = """        once("temporary-folder", "folder for temporary files", lambda: temporary_folder(session)),
"""
ASKED = """
from deploy.checks.check import run
from deploy.commands import doctor
from deploy.session import Session
from deploy.settings import Settings

(check,) = (each for each in doctor._all(Session(Settings(), {}), None) if each.id == "temporary-folder")
(result,) = run([check])
print(result.level.name, result.title, result.finding.evidence, result.finding.fix, sep=" | ")
"""
CHECKED = """
from pipeline.controllers.function_steps import add_function_steps
from pipeline.amazon_reviews.definitions import DATA_PREPARE

class Recorder:
    def add_function(self, name, function, *, inputs, outputs):
        print(name, function.__module__, function.__name__, dict(inputs), outputs)

add_function_steps(Recorder(), DATA_PREPARE.functions, 1)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pipeline", "deploy", "helm", "clearml_access", "command_line"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=WITHOUT_BYTECODE)
    return tmp_path


@pytest.fixture
def python(copy: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = os.environ | {"PYTHONPATH": str(copy), "HOME": str(copy)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=copy, env=environ, capture_output=True, text=True, timeout=60
        )

    return run


def insert_behind(path: Path, line: str, text: str) -> None:
    before = path.read_text()
    assert before.count(line) == 1, line
    path.write_text(before.replace(line, line + text))


def home_of_the_definition(copy: Path) -> Path:
    (found,) = (
        path for path in (copy / "pipeline").rglob("*.py") if "\nDATA_PREPARE = Definition(" in path.read_text()
    )
    return found


def test_a_step_is_three_files(copy: Path, python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    (copy / "pipeline/amazon_reviews/steps/word_counts.py").write_text(STEP)
    work = copy / "pipeline/amazon_reviews/step_work.py"
    work.write_text(work.read_text() + WORK)
    insert_behind(home_of_the_definition(copy), '        "test_processing": _processing("test"),\n', DECLARED)

    shown = python("-m", "pipeline", "run", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "  word_counts after train_processing  [queue pods]" in shown.stdout
    module = home_of_the_definition(copy).relative_to(copy).with_suffix("").as_posix().replace("/", ".")
    added = python("-c", CHECKED.replace("pipeline.graph.definitions", module))
    assert added.returncode == 0, added.stderr
    assert (
        "word_counts pipeline.amazon_reviews.steps.word_counts word_counts "
        "{'frame': '${train_processing.processed_train_dataframe}'} ('words',)"
    ) in added.stdout


def test_a_parameter_is_two_files(copy: Path, python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    stratify = '    Parameter("stratify", True, "Keep the share of each polarity equal in train and test set"),\n'
    most = '    Parameter("most_rows", 0, "Largest number of reviews that are taken; 0 takes all"),\n'
    insert_behind(home_of_the_definition(copy), stratify, most)
    step = copy / "pipeline/amazon_reviews/steps/train_test_split.py"
    insert_behind(step, "    stratify: bool,\n", "    most_rows: int,\n")

    helped = python("-m", "pipeline", "run", "--help")
    assert (
        "most_rows        Largest number of reviews that are taken; 0 takes all [whole number, default 0]"
        in helped.stdout
    )
    taken = python("-m", "pipeline", "run", "--dry-run", "--set", "most_rows=1000")
    assert taken.returncode == 0 and "most_rows = 1000" in taken.stdout, taken.stderr
    refused = python("-m", "pipeline", "run", "--dry-run", "--set", "most_rows=many")
    assert refused.returncode == 10 and "parameter most_rows: 'many' is not a whole number" in refused.stderr
    assert python("-m", "pipeline", "run-full", "--dry-run", "--set", "most_rows=5").returncode == 0


def test_a_check_of_the_doctor_is_one_file(copy: Path, python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    home = copy / "deploy/checks/environment.py"
    home.write_text(home.read_text() + CHECK)
    clock = '        once("clock", "clocks agree", lambda: clock(session), ("kubernetes",)),\n'
    insert_behind(home, clock, LISTED)
    asked = python("-c", ASKED)
    said = "WARN | folder for temporary files | TMPDIR=/gone does not exist | export TMPDIR=/tmp"
    assert asked.stdout.strip() == said, asked.stderr


def planned(path: Path, text: str) -> Plan:
    """Return the release that a queue file makes."""
    shared = yaml.safe_load(IN_CLONE.read_text())
    server = Server("https://api", "https://web", "https://files", Secret("AK"), Secret("the secret"), "test")
    return Plan.of(Settings().of_queue("gpu", path), server, shared, [], yaml.safe_load(text), chart_defaults={})


def test_a_second_queue_with_another_image_is_a_file_of_values() -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    (text,) = re.findall(r"```yaml\n# helm/queues/gpu.yaml\n(.*?)```", page, re.DOTALL)
    found = planned(Path("helm/queues/gpu.yaml"), text)
    assert (found.settings.release, found.settings.namespace) == ("clearml-agent-gpu", "clearml")
    assert (found.queues, found.task_image) == (("gpu",), "registry.example.com/clearml-pods-task-gpu:0.1.0-py3.11")
    assert found.agent_image.endswith("clearml-pods-agent:0.1.0-py3.11")
    pod = found.values["agentk8sglue"]["basePodTemplate"]
    assert pod["nodeSelector"] == {"accelerator": "nvidia"}
    assert pod["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": 1}
    assert pod["resources"]["requests"] == {"cpu": "50m", "memory": "256Mi"}


def test_the_example_of_a_queue_can_be_installed_and_is_not_installed_unasked() -> None:
    folder = IN_CLONE.parent / "queues"
    assert [path.name for path in folder.iterdir()] == ["gpu.yaml.example"]
    found = planned(folder / "gpu.yaml", (folder / "gpu.yaml.example").read_text())
    assert (found.queues, found.max_pods) == (("gpu",), 2)
    assert found.pins == planned(folder / "gpu.yaml", "agentk8sglue: {queue: gpu}").pins
