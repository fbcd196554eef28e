"""`examples/`: scripts that know of the ClearML SDK alone run on this machine's own workers, as they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.pipeline_cli import COMMAND_TIMEOUT_S

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def submitted(cli, settings):
    """Both scripts, started in a folder outside this repository."""
    cli("server", "up")
    folder = cli.folder / "elsewhere"
    shutil.copytree(ROOT / "examples", folder)
    environ = cli.environ | {"CLEARML_CONFIG_FILE": str(settings.configuration)}
    for script in ("function_steps.py", "decorated.py"):
        command = [sys.executable, script]
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        assert done.returncode == 0, done.stderr


def test_function_steps_run_and_run_again_with_another_parameter(cli, submitted):
    done = cli("watch", "Function steps", "--json")
    assert done.code == 0, done.stderr
    assert [step["name"] for step in done.document["steps"]] == ["make_numbers", "summarise", "check"]
    again = cli("rerun", done.document["run_id"], "--set", "limit=9", "--json")
    assert again.code == 40
    assert "step check: ValueError: mean 10.04 is over 9" in again.document["error"]
    assert {step["name"]: step["status"] for step in again.document["steps"]} == {
        "make_numbers": "cached",
        "summarise": "cached",
        "check": "failed",
    }


def test_a_decorated_pipeline_runs(cli, submitted):
    done = cli("watch", "Decorated", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "completed"
    assert "[controller] mean 10.04" in cli("logs", "Decorated").stdout.splitlines()
