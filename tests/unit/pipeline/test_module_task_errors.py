"""A task that failed: its error is named, with its exit code, by what stands on its console."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.errors import RunError
from pipeline.module_tasks import execution

SERVER = SimpleNamespace(task_page=lambda project, task: f"http://server/{task}")
TASK = SimpleNamespace(name="TF-IDF", failure=RunError)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("pipeline.errors.InputFileError: no such file", 22),
        ("clearml_access.errors.ServerUnreachableError: no answer", 31),
        ("ValueError: somebody else's", None),
        ("pipeline.errors.NoSuchError: unknown here", None),
    ],
)
def test_an_error_of_ours_is_found_by_its_name(line, code):
    error = execution._raised(SERVER, TASK, "task", ["Traceback (most recent call last):", line])
    assert (error and error.exit_code) == code
    assert error is None or line.partition(": ")[2] in error.message
