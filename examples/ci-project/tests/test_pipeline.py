"""The pipeline on real agents: controller and steps are tasks that workers take from their queues."""

import re

import pytest
from clearml import Task


def start(run, *arguments):
    """Start the pipeline, and return the id of its controller."""
    return re.search(r"pipeline (\w{32})", run("price_pipeline.py", *arguments))[1]


def test_the_pipeline_hands_the_price_on(dataset, run, clearml_workers):
    controller = start(run, "--dataset", dataset)
    clearml_workers.wait(controller)

    steps = {task.name: task for task in Task.get_tasks(task_filter={"parent": controller})}
    assert sorted(steps) == ["check", "fit", "read"]
    assert "100 rows" in clearml_workers.console(steps["read"].id)
    price = float(steps["check"].get_parameter("return/price"))
    assert price == pytest.approx(3_000, rel=0.05)


def test_a_failed_check_fails_the_pipeline(dataset, run, clearml_workers):
    controller = start(run, "--dataset", dataset, "--most", "10")
    with pytest.raises(RuntimeError, match="which is over 10"):
        clearml_workers.wait(controller)
