"""Which workers of this machine run, and with which queues."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from clearml_access import processes
from pipeline.local_stack import MachineSettings, status, workers


@pytest.fixture
def settings(tmp_path: Path) -> MachineSettings:
    return MachineSettings.from_environ({"CLEARML_PODS_STATE": str(tmp_path)})


def record(settings: MachineSettings, name: str, queue: str, *, runs: bool) -> None:
    file = settings.workers_folder / name / workers.PID_FILE
    file.parent.mkdir(parents=True)
    start = processes.start_of(psutil.Process()) if runs else "before"
    processes.Record(os.getpid(), start, {"queues": [queue]}).write(file)


def test_where_a_worker_runs_the_workers_are_kept_as_they_were_started(settings):
    record(settings, "controllers", "services", runs=False)
    record(settings, "steps-1", "gpu", runs=True)
    kept = workers.as_running(settings)
    assert [(spec.name, spec.queue) for spec in kept.workers] == [("controllers", "services"), ("steps-1", "gpu")]


def test_where_no_worker_runs_the_workers_are_the_default_ones(settings):
    record(settings, "steps-1", "gpu", runs=False)
    assert workers.as_running(settings) == settings


def test_status_shows_the_queue_that_a_worker_serves(settings):
    record(settings, "steps-1", "gpu", runs=True)
    assert [(row.name, row.queue) for row in status(settings).workers] == [("steps-1", "gpu")]
