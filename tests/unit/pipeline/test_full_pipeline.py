"""The pipeline inside the pipeline, as far as it is data: its parameters, its state, its drawing."""

import ast
import json

import pytest

from clearml_access.run_records import as_json, read_run
from pipeline.amazon_reviews import full_pipeline
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.amazon_reviews.model import fit_model
from pipeline.amazon_reviews.model.trained import read_metrics
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE, PIPELINES
from pipeline.controllers.controller_task import controller_task
from pipeline.runs.report import flatten, lay_out

SPLIT, TRAIN, TEST = DATA_PREPARE.steps


def dag(graph, **jobs):
    nodes = {name: {"job_id": jobs.get(name), "parents": list(parents)} for name, parents in graph.items()}
    return {"Pipeline": {"value": json.dumps(nodes)}}


def controller(id, status, graph, parent=None, **jobs):
    return {
        "id": id,
        "name": id,
        "type": "controller",
        "status": status,
        "parent": parent,
        "runtime": {} if status in ("created", "queued") else {"_pipeline_hash": "x:1.0"},
        "configuration": dag(graph, **jobs),
    }


def task(name, status, parent, **fields):
    return {"id": f"id-{name}", "name": name, "type": "training", "status": status, "parent": parent, **fields}


def full_run(status, inner_status, steps, fit=None):
    """A full run: its own status, that of data_prepare, those of its steps, that of fit_model."""
    outer = controller("run", status, FULL_PIPELINE.graph, data_prepare="inner")
    tasks = [controller("inner", inner_status, DATA_PREPARE.graph, parent="run")]
    tasks += [task(name, state, "inner") for name, state in zip(DATA_PREPARE.steps, steps, strict=False)]
    tasks += [task("fit_model", fit, "run")] if fit else []
    return read_run(outer, tasks, FULL_PIPELINE)


def test_every_parameter_reaches_a_step():
    names = {parameter.name for parameter in FULL_PIPELINE.parameters}
    assert len(names) == len(FULL_PIPELINE.parameters)
    inner = {parameter.name for parameter in DATA_PREPARE.parameters}
    last = {parameter.name for parameter in fit_model.PARAMETERS}
    assert inner <= names <= inner | last
    made = {"train_dataset_version", "test_dataset_version"}
    assert last - names == made | {"publish"}, "what is made on the way, and publishing, is not asked for"


@pytest.mark.parametrize("definition", PIPELINES.values(), ids=list(PIPELINES))
def test_a_controllers_script_compiles_and_names_its_module(definition):
    script = controller_task(definition).entry_script
    ast.parse(script)
    assert f"from {definition.module} import main" in script


def test_steps_inside_are_named_by_their_path():
    assert FULL_PIPELINE.all_steps == (
        "data_prepare",
        *(f"data_prepare.{step}" for step in DATA_PREPARE.steps),
        "fit_model",
    )
    assert FULL_PIPELINE.whole_graph[f"data_prepare.{TRAIN}"] == (f"data_prepare.{SPLIT}",)
    assert set(FULL_PIPELINE.all_steps) - set(FULL_PIPELINE.work_steps) == {"data_prepare"}


def test_features_get_the_number_of_the_versions_they_are_made_of():
    parameters = {"Args/train_dataset_version": "1.2.2.post2", "Args/alpha": "1.0"}
    assert full_pipeline._name_features(None, None, parameters) is True
    assert parameters["Args/dataset_version"] == "1.2.4.post2"


@pytest.mark.parametrize(
    ("run", "statuses", "ended", "outcome", "failed"),
    [
        (
            full_run("in_progress", "queued", []),
            ["queued", "pending", "pending", "pending", "pending"],
            False,
            "running",
            [],
        ),
        (
            full_run("in_progress", "in_progress", ["completed", "in_progress"]),
            ["running", "completed", "running", "pending", "pending"],
            False,
            "running",
            [],
        ),
        (
            full_run("completed", "completed", ["completed"] * 3, "completed"),
            ["completed"] * 5,
            True,
            "completed",
            [],
        ),
        (
            full_run("failed", "failed", ["failed"]),
            ["failed", "failed", "skipped", "skipped", "skipped"],
            True,
            "failed",
            [f"data_prepare.{SPLIT}"],  # not data_prepare, which failed for its sake
        ),
        (  # the inner controller itself
            full_run("failed", "failed", []),
            ["failed", "skipped", "skipped", "skipped", "skipped"],
            True,
            "failed",
            ["data_prepare"],
        ),
        (
            full_run("failed", "completed", ["completed"] * 3, "failed"),
            ["completed"] * 4 + ["failed"],
            True,
            "failed",
            ["fit_model"],
        ),
        (  # the outer controller is gone, the inner pipeline goes on
            full_run("stopped", "in_progress", ["in_progress"]),
            ["running", "running", "pending", "pending", "skipped"],
            False,
            "running",
            [],
        ),
    ],
)
def test_a_runs_state_tells_of_the_pipeline_inside_it(run, statuses, ended, outcome, failed):
    assert [step.name for step in run.all_steps] == list(FULL_PIPELINE.all_steps)
    assert [step.status for step in run.all_steps] == statuses
    assert (run.ended, run.outcome) == (ended, outcome)
    assert [step.name for step in run.failed_steps] == failed


def test_before_the_graph_is_known_the_definition_tells_the_steps():
    run = read_run({"id": "run", "status": "queued"}, [], FULL_PIPELINE)
    assert [(step.name, step.parents) for step in run.steps] == list(FULL_PIPELINE.graph.items())


def test_the_json_has_the_inner_steps_inside_their_step():
    run = full_run("completed", "completed", ["completed"] * 3, "completed")
    document = as_json(run, mode="queue", outcome="completed", datasets={}, report=None)
    data_prepare, fit = document["steps"]
    assert [step["name"] for step in data_prepare["steps"]] == list(DATA_PREPARE.steps)
    assert "steps" not in fit


def test_the_drawing_has_the_inner_steps_in_a_frame():
    steps = flatten(full_run("completed", "completed", ["completed"] * 3, "completed").steps)
    assert {step.name: step.parents for step in steps} == {
        f"data_prepare.{SPLIT}": (),
        f"data_prepare.{TRAIN}": (f"data_prepare.{SPLIT}",),
        f"data_prepare.{TEST}": (f"data_prepare.{SPLIT}",),
        "fit_model": (f"data_prepare.{TRAIN}", f"data_prepare.{TEST}"),
    }
    drawing = lay_out(steps)
    (frame,) = drawing.frames
    assert frame.title == "data_prepare"
    inside = [box for box in drawing.boxes if frame.x <= box.x <= frame.x + frame.width]
    assert [box.title for box in inside] == list(DATA_PREPARE.steps)


def test_metrics_are_read_by_name_in_their_order():
    variants = {name: {"metric": "Test set", "variant": name, "value": 0.5} for name in ("auc", "accuracy", "loss")}
    assert list(read_metrics({"m": variants, "other": {}})) == ["accuracy", "auc"]
