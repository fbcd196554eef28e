"""Names of the SDK that it may change: all in one table, as the installed SDK has them, used in one package only."""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.amazon_reviews.data_prepare import Controller
from pipeline.sdk import private_names
from pipeline.sdk.private_names import TABLE, PrivateName

ROOT = Path(__file__).parents[3]
HOME = ROOT / "pipeline" / "sdk"
ROOTS = ("pipeline", "deploy", "bench", "cluster", "images", "clearml_access", "command_line", "maintenance")
STANDARD_LIBRARY = {"_asdict", "_exit", "_fields", "_getframe", "_replace"}
AGENT = ROOT / "images" / "agent"
"""Runs in the agent's environment, without the SDK: its private names are the agent's."""


@functools.cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    paths = [path for root in ROOTS for path in sorted((ROOT / root).rglob("*.py"))]
    ours = [path for path in paths if AGENT not in path.parents and ".venv" not in path.parts]
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in ours)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_the_installed_sdk_has_every_name_as_the_table_says():
    """In a process of its own: other tests of this one may have patched the SDK."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sdk.private_names"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize(
    ("path", "form", "found"),
    [
        ("clearml.automation.controller.PipelineController._launch_node", "(self, step)", "(self, node)"),
        ("clearml.automation.controller.PipelineController._no_such_name", "(self)", "gone"),
        ("clearml.no_such_module.Thing._name", "(self)", "gone"),
        ("clearml.automation.controller.PipelineController._args_section", "int", "str"),
        ("clearml.automation.controller.PipelineController._no_such_name", "instance attribute", "gone"),
        ("clearml.automation.controller", "text no such text", "gone"),
    ],
)
def test_what_has_moved_is_named_with_what_there_is_now(monkeypatch, path, form, found):
    monkeypatch.setattr(private_names, "TABLE", (PrivateName(path, form, "for this test"),))
    (line,) = private_names.differences()
    assert line.startswith(f"{path} is {found}, expected: {form} (")


def test_each_name_stands_in_the_table_once_and_with_its_reason():
    assert len({(name.path, name.form) for name in TABLE}) == len(TABLE)
    assert all(name.why for name in TABLE)


def test_each_name_in_the_table_is_used():
    text = "\n".join(path.read_text(encoding="utf-8") for path in HOME.glob("*.py") if path.name != "private_names.py")
    for name in TABLE:
        used = name.form.removeprefix("text ") if name.form.startswith("text ") else name.path.rpartition(".")[2]
        assert used in text, name


def test_no_private_name_is_used_outside_the_adapters():
    """A private attribute that nothing here defines is another package's."""
    own, used = set(), []
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and is_private(node.attr):
                if isinstance(node.ctx, ast.Store) and getattr(node.value, "id", "") in ("self", "cls"):
                    own.add(node.attr)
                if HOME not in path.parents:
                    used.append((node.attr, f"{path.relative_to(ROOT)}:{node.lineno}"))
    foreign = [place for name, place in used if name not in own | STANDARD_LIBRARY]
    assert foreign == []


def test_the_adapters_use_no_private_name_that_is_not_in_the_table():
    known = {name.path.rpartition(".")[2] for name in TABLE}
    for path in HOME.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)
        } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
                assert node.attr in known, f"{path.name}:{node.lineno}: {node.attr}"


def test_no_other_class_is_derived_from_one_of_the_sdk():
    for path, tree in sources():
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "clearml"
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and HOME not in path.parents:
                bases = {getattr(base, "id", "") for base in node.bases}
                assert not bases & imported, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_controller_overrides_public_methods_of_its_adapter_only():
    adapter = Controller.__mro__[1]
    assert adapter.__module__ == "pipeline.sdk.controller"
    assert [name for name in vars(Controller) if is_private(name) and hasattr(adapter, name)] == []


def test_nothing_is_patched_by_an_import():
    import subprocess
    import sys

    code = """
import zipfile, tempfile
from clearml.backend_interface.task.task import Task
from clearml.storage.callbacks import ProgressReport
from clearml.utilities import parallel
plain = lambda: (Task._edit_lock, ProgressReport._report, parallel.ZipFile, parallel.mkstemp)
before = plain()
from pipeline.amazon_reviews import data_prepare, full_pipeline
from pipeline.amazon_reviews.model import fitting, registry
from pipeline.datasets import datasets
from pipeline.sdk import steps, datasets as sdk_datasets
assert plain() == before
steps.prepare(), sdk_datasets.prepare()
patched = plain()
assert not any(one is other for one, other in zip(patched, before))
steps.prepare()
assert Task._edit_lock is patched[0]
"""
    subprocess.run([sys.executable, "-E", "-c", code], check=True, timeout=60)  # without what a task starts with


def test_every_process_of_ours_prepares_the_sdk_before_it_joins_a_task():
    """Without it a `clearml.conf` of default settings makes the SDK fork a reporter, which reads our answers."""
    unprepared = []
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                calls = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
                if "Task.init" in calls and "prepare" not in calls[: calls.index("Task.init")]:
                    unprepared.append(f"{path.name}: {function.name}")
    assert unprepared == []


@pytest.mark.parametrize(
    "line",
    [
        "from pipeline.sdk import steps; steps.prepare()",
        "from pipeline.sdk import datasets; datasets.prepare()",
        "from pipeline.sdk.controller import PatchedController\n"
        "try: PatchedController(name='', project='', version='', packages=[], step_beginning='', is_run_again=None)\n"
        "except Exception: pass",
    ],
)
def test_no_reporter_is_forked_whatever_the_configuration_says(line, tmp_path):
    configuration = tmp_path / "clearml.conf"
    configuration.write_text("sdk { development { report_use_subprocess: true } }\n", encoding="utf-8")
    code = f"{line}\nfrom clearml import Task\nprint(bool(Task._report_subprocess_enabled))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CLEARML_CONFIG_FILE": str(configuration)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr
