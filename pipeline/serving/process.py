"""The inference process of this machine: `uvicorn` with clearml-serving's application. Start, find, end it.

Outside system: the operating system's processes, through `clearml_access.processes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

from clearml_access import processes
from pipeline.serving.service import own_environment
from pipeline.serving.settings import HOST, ServingSettings

APPLICATION = "pipeline.serving.application:app"

VARIABLE = "CLEARML_PODS_SERVING"
"""Carried by the process and what it starts."""

POLL_VARIABLE = "CLEARML_SERVING_POLL_FREQ"
POLL_MINUTES = "0.05"
"""How often the process asks the server for changes; clearml-serving's own default is five minutes."""


def find(settings: ServingSettings) -> psutil.Process | None:
    """Return the running process."""
    return processes.running(settings.pid_file)


def facts(settings: ServingSettings) -> dict[str, str]:
    """Return what was noted of the running process; nothing where none runs."""
    return last_facts(settings) if find(settings) else {}


def last_facts(settings: ServingSettings) -> dict[str, str]:
    """Return what was noted of the process that runs, or of one that has ended by itself since it was started."""
    record = processes.Record.read(settings.pid_file)
    return {name: str(value) for name, value in record.facts.items()} if record else {}


def address(settings: ServingSettings, noted: Mapping[str, str] | None = None) -> str:
    """Return where the running process answers; where none runs, where it would.

    Args:
        settings: Where.
        noted: What was noted of another process.
    """
    port = (facts(settings) if noted is None else noted).get("port", str(settings.port))
    return f"http://{HOST}:{port}/serve"


def start(
    settings: ServingSettings,
    environ: Mapping[str, str],
    *,
    python: Path,
    service: str,
    instance: str,
    noted: Mapping[str, str],
) -> psutil.Popen:
    """Start the process.

    Args:
        settings: Where.
        environ: Where the server is.
        python: An interpreter that has clearml-serving.
        service: The service's task.
        instance: The task that the process continues.
        noted: Facts to remember of it.
    """
    stop(settings)  # one without its pid file would hold the port
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    process = processes.start(
        [
            *(str(python), "-m", "uvicorn", APPLICATION),
            *("--host", HOST, "--port", str(settings.port), "--no-access-log"),
        ],
        env={POLL_VARIABLE: POLL_MINUTES}
        | own_environment(environ)
        | {
            VARIABLE: str(settings.folder),
            "CLEARML_SERVING_TASK_ID": service,
            "CLEARML_INFERENCE_TASK_ID": instance,
            "CLEARML_DEFAULT_BASE_SERVE_URL": settings.address,
            "CLEARML_DEFAULT_KAFKA_SERVE_URL": "",
            "CLEARML_BKG_THREAD_REPORT": "1",  # no second process for reports
            "PYTHONUNBUFFERED": "1",
        },
        folder=settings.folder,
        log=settings.log,
        pid_file=settings.pid_file,
    )
    processes.remember(settings.pid_file, service=service, instance=instance, port=settings.port, **noted)
    return process


def stop(settings: ServingSettings) -> bool:
    """End the process and what it started; return whether there was one."""
    found = processes.family(VARIABLE, str(settings.folder))
    processes.end(found)
    settings.pid_file.unlink(missing_ok=True)
    return bool(found)
