"""Steps that are processes of this machine are forked from their controller, with the SDK as a started one has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sdk.processes import variables_of
from pipeline.step_runtime.inherited import OF_A_TASK, without_task

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux only")

READ_AT_IMPORT = """
import json, os
read = set()


class Recorder(type(os.environ)):
    def __init__(self, plain):
        self.__dict__.update(plain.__dict__)

    def __getitem__(self, name):
        read.add(name)
        return super().__getitem__(name)


os.environ = Recorder(os.environ)
import pipeline.amazon_reviews.full_pipeline
print(json.dumps(sorted(read)))
"""

CONTROLLER = """
import os, sys
from pipeline.sdk import jobs
from pipeline.sdk.processes import variables_of

jobs.fork_local_steps()
for task, variables in (("a" * 32, {}), ("b" * 32, {}), ("c" * 32, {"OTHER": "value"})):
    env = dict(os.environ) | variables_of(task) | variables
    jobs.job.subprocess.Popen([sys.executable, "step.py"], cwd=".", env=env).wait(60)
"""

STEP = """
import os, sys
is_forked = "clearml.automation" in sys.modules
import clearml.config
other = os.environ.get("OTHER", "")
print(is_forked, clearml.config.running_remotely(), clearml.config.get_remote_task_id(), len(other))
"""


def run(folder: Path, text: str) -> str:
    """Run a program that has no task, and return what it prints."""
    script = folder / "controller.py"
    script.write_text(text)
    environ = without_task(os.environ)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environ, capture_output=True, text=True, timeout=120
    )
    assert not done.stderr
    return done.stdout


def test_of_the_variables_of_a_step_the_sdk_reads_only_its_task_when_it_is_imported(tmp_path):
    read = set(json.loads(run(tmp_path, READ_AT_IMPORT)))
    assert read & (OF_A_TASK | variables_of("").keys()) == {"CLEARML_TASK_ID", "TRAINS_TASK_ID"}


def test_a_forked_step_is_its_task_and_any_other_environment_has_a_process_that_is_started(tmp_path):
    (tmp_path / "step.py").write_text(STEP)
    assert run(tmp_path, CONTROLLER).splitlines() == [
        f"True True {'a' * 32} 0",
        f"True True {'b' * 32} 0",
        "A step is started, not forked: the environment differs in OTHER",
        f"False True {'c' * 32} 5",
    ]
