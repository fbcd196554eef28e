"""The steps as functions, and the pipeline on real agents; clearml-localserver's fixtures start server and agents."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clearml import Task
from new_pipeline import check_mean, make_numbers

SCRIPT = Path(__file__).parents[1] / "new_pipeline.py"


def test_steps_are_functions_that_need_no_clearml():
    assert make_numbers(3, 0) == make_numbers(3, 0)
    assert check_mean([1.0, 3.0], limit=5) == 2.0
    with pytest.raises(ValueError, match=re.escape("mean 2.00 is over 1")):
        check_mean([1.0, 3.0], limit=1)


def test_agents_run_the_pipeline(clearml_server, clearml_workers, tmp_path):
    started = subprocess.run(
        [sys.executable, str(SCRIPT), "--rows", "50"],
        cwd=tmp_path,
        env=os.environ | clearml_server.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert started.returncode == 0, started.stdout + started.stderr
    controller = re.search(r"run (\w{32})", started.stdout)[1]
    clearml_workers.wait(controller)

    steps = {task.name: task for task in Task.get_tasks(task_filter={"parent": controller})}
    assert sorted(steps) == ["check_mean", "make_numbers"]
    assert "50 numbers made" in clearml_workers.console(steps["make_numbers"].id)
    assert float(steps["check_mean"].get_parameter("return/mean")) == pytest.approx(10, abs=1)
