"""A shell whose PYTHONWARNINGS makes errors of warnings: commands run, and so does what they start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, subprocess, sys, warnings
import click
from command_line.main import run

@click.command()
def command():
    warnings.warn("old", DeprecationWarning)
    print("went on")
    subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('old'); print('started')"], check=True)
    print("left:", os.environ["PYTHONWARNINGS"])

sys.exit(run(command, [], program="p"))
"""


def ran(value: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONWARNINGS": value}
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("value", "left"),
    [("error", ""), ("e", ""), ("ignore::UserWarning,error::DeprecationWarning, error", "ignore::UserWarning")],
)
def test_a_warning_ends_no_command_and_nothing_that_it_starts(value, left):
    done = ran(value, "-c", CODE)
    assert done.stdout == f"went on\nstarted\nleft: {left}\n"
    assert f"PYTHONWARNINGS={value}: warnings of libraries are not treated as errors\n" in done.stderr


@pytest.mark.parametrize("value", ["", "default", "ignore::DeprecationWarning"])
def test_other_filters_stay_and_nothing_is_said(value):
    done = ran(value, "-c", CODE)
    assert done.stdout.endswith(f"left: {value}\n") and "PYTHONWARNINGS" not in done.stderr


def test_a_configuration_is_read_although_its_parser_warns(tmp_path: Path, monkeypatch):
    """The message was that the file cannot be read: PyparsingDeprecationWarning."""
    (tmp_path / "clearml.conf").write_text('api { api_server: "http://127.0.0.1:1", credentials { access_key: "a" } }')
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(tmp_path / "clearml.conf"))
    done = ran("error", "-m", "pipeline", "workers", "status")
    assert "cannot be read" not in done.stdout + done.stderr
    assert "export CLEARML_WEB_HOST=https://… CLEARML_FILES_HOST=https://… CLEARML_API_SECRET_KEY=…" in done.stderr
