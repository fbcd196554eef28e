"""The training script as people run it: what it leaves on the server."""

import json
from pathlib import Path

import pytest
from clearml import Dataset, Task
from train import fit


def test_a_line_is_found_without_clearml():
    assert fit([(1, 3), (2, 5), (3, 7)]) == pytest.approx((2, 1))


def test_a_dataset_version_has_its_file(dataset):
    assert Dataset.get(dataset_id=dataset).list_files() == ["houses.csv"]


def test_training_stores_parameters_error_and_model(dataset, run):
    assert "mean absolute error" in run("train.py", "--dataset", dataset)

    task = Task.get_task(project_name="House prices", task_name="train")
    assert task.status == "completed"
    assert task.get_parameter("Args/dataset") == dataset
    assert task.get_reported_single_value("mean absolute error") < 6_000
    [stored] = task.models["output"]
    model = json.loads(Path(stored.get_weights()).read_text())
    assert model["slope"] == pytest.approx(3_000, rel=0.05)
