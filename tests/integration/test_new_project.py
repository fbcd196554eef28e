"""A project of `pipeline new` passes its own tests at once, in an environment with its packages alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import pipeline.cli
from tests.integration.test_clients import environment_of

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_new_project_passes_its_own_tests(tmp_path: Path) -> None:
    assert pipeline.cli.main(["new", "house-prices", "--folder", str(tmp_path)]) == 0
    command = [str(environment_of("fixtures")), "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path / "house-prices", capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
