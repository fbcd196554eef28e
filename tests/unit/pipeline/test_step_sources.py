"""Steps are shipped by source: what the SDK makes of each function must compile and stand alone."""

import ast
import logging
import subprocess
import sys

import pytest
from clearml import Task
from clearml.backend_interface.task import task as task_module
from clearml.backend_interface.task.populate import CreateFromFunction
from clearml.storage.callbacks import DownloadProgressReport, ProgressReport

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.amazon_reviews.steps.shard_joining import shard_joining
from pipeline.amazon_reviews.steps.shard_processing import shard_processing
from pipeline.amazon_reviews.steps.test_processing import test_processing as processing_of_test
from pipeline.amazon_reviews.steps.train_processing import train_processing
from pipeline.amazon_reviews.steps.train_test_split import train_test_split
from pipeline.controllers.controller_task import controller_task
from pipeline.controllers.step_scripts import STEP_BEGINNING, STEP_ENDING, finish_step_definition
from pipeline.provenance import source_digest
from pipeline.settings import step_requirements

STEPS = (train_test_split, train_processing, processing_of_test)
SHARDS = (shard_processing, shard_joining)
FUNCTIONS = {function.__name__: function for function in (*STEPS, *SHARDS)}


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.setattr(Task, "get_project_id", lambda *_, **__: "project")  # the one question to the server in it

    def generate(name, image=""):
        definition = CreateFromFunction.create_task_from_function(
            a_function=FUNCTIONS[name],
            function_kwargs={"some": "thing"},
            function_return=["result"],
            project_name="a project",
            task_name=name,
            packages=step_requirements(),
            repo="",
            auto_connect_frameworks=False,
            auto_connect_arg_parser=False,
            dry_run=True,
        )
        finish_step_definition(definition, image)
        return definition

    return generate


def test_every_step_has_a_function():
    assert {function.__name__ for function in STEPS} == set(DATA_PREPARE.steps)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_generated_step_compiles_and_completes_itself(generate, name):
    script = generate(name)["script"]
    ast.parse(script["diff"])
    assert f"def {name}(" in script["diff"]
    assert script["diff"].endswith(STEP_ENDING)
    assert f"source {source_digest()}" in script["diff"]
    assert not script["repository"]
    assert script["entry_point"] == f"{name}.py"
    assert "polars==" in script["requirements"]["pip"]


def test_the_digest_counts_every_module_that_a_step_or_the_task_tf_idf_loads():
    code = (
        "import sys; import pipeline.amazon_reviews.step_work, pipeline.amazon_reviews.model.fitting\n"
        "from pipeline.provenance import _STEP_CODE, ROOT\n"
        "counted = {str(path) for pattern in _STEP_CODE for path in ROOT.glob(pattern)}\n"
        "ours = ('pipeline.', 'clearml_access')\n"
        "loaded = {name: m.__file__ for name, m in sys.modules.items() if name.startswith(ours)}\n"
        "print(*sorted(name for name, file in loaded.items() if file not in counted))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_step_uses_nothing_that_stays_behind(generate, name):
    """Names a step reads are its arguments, what it imports inside, or builtins: module constants do not travel."""
    tree = ast.parse(generate(name)["script"]["diff"])
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    assert not function.decorator_list
    imports = [node for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
    assert imports
    assert all(node.level == 0 for node in imports)
    arguments = [*function.args.args, *([function.args.kwarg] if function.args.kwarg else [])]
    bound = {argument.arg for argument in arguments}
    bound |= {alias.asname or alias.name for node in imports for alias in node.names}
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert read <= bound | set(dir(__builtins__)) | {"float", "int", "str", "bool", "object"}


def test_an_image_is_set_and_counts_for_the_cache(generate):
    with_image, without = generate("train_processing", "image:1"), generate("train_processing")
    assert with_image["container"]["image"] == "image:1"
    assert with_image["script"]["diff"] != without["script"]["diff"]


def test_the_split_takes_exactly_the_pipelines_parameters():
    import inspect

    signature = inspect.signature(train_test_split)
    assert {name: item.annotation for name, item in signature.parameters.items()} == {
        parameter.name: parameter.type for parameter in DATA_PREPARE.parameters
    }


def test_the_controllers_script_compiles():
    task = controller_task(DATA_PREPARE)
    compile(task.entry_script, task.entry_name, "exec")


def test_a_step_shows_no_bar_for_its_inputs(monkeypatch, capsys):
    monkeypatch.setattr(ProgressReport, "_report", lambda *_: print("a bar"))
    for name in ("_report_subprocess_enabled", "_edit_lock"):  # set for the rest of a step's process; not for this one
        monkeypatch.setattr(task_module.Task, name, vars(task_module.Task)[name])
    report = DownloadProgressReport(100.0, True, "frame.parquet", logging.getLogger())
    report(50 << 20)
    assert capsys.readouterr().out == "a bar\n"
    exec(compile(STEP_BEGINNING, "step.py", "exec"), {})
    report(50 << 20)
    assert capsys.readouterr().out == ""
