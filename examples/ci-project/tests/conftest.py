"""What the tests share: a version of the dataset, on the server that clearml-localserver's plugin starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def dataset(clearml_server):
    """Return the id of a dataset version with 100 rows."""
    from make_dataset import make_dataset

    return make_dataset(rows=100)


@pytest.fixture
def run(clearml_server, tmp_path):
    """Return a function that runs a script of the project in a process of its own, and returns what it prints."""

    def run_script(name, *arguments):
        done = subprocess.run(
            [sys.executable, str(PROJECT / name), *arguments],
            cwd=tmp_path,
            env=os.environ | clearml_server.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_script
