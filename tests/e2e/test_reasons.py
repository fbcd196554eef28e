"""Tasks that end badly, all at once: each record says what was done to it, and the good ones between them complete."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.e2e.cluster_cli import until
from tests.e2e.deployer import Deployer, run_task, status

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_200)]

ALL_TIMEOUT_S = 600
ENDED = ("completed", "failed", "stopped")


@dataclass(frozen=True)
class Case:
    """A task, and what its record must say in the end."""

    name: str
    says: str = ""
    """In its reason or its message; empty: it completes."""

    code: str = "print('done')"
    container: dict[str, str] = field(default_factory=dict)


CASES = (
    Case("no home", container={"arguments": "-e HOME=/"}),
    Case("setup script beyond ASCII", container={"setup_shell_script": "echo 'grüß'"}),
    Case(
        "shared memory",
        code="import os; print(os.statvfs('/dev/shm').f_blocks)",
        container={"arguments": "--shm-size=64m"},
    ),
    Case("lone -e", "lacks its value", container={"arguments": "-e"}),
    Case("missing image", "ImagePull", container={"image": "clearml-pods-none:none"}),
    Case("image name", "InvalidImageName", container={"image": "not an image:"}),
    Case("script", "never started", container={"setup_shell_script": "exit 0"}),
    Case("broken script", "no such thing", container={"setup_shell_script": "echo no such thing; exit 3"}),
    Case("memory", "OOMKilled, exit code 137", code="x = []\nwhile True:\n    x.append(bytearray(2**26))"),
    Case("code", "exit code 7", code="raise SystemExit(7)"),
)


def record(api: ApiClient, task: str) -> dict[str, Any]:
    return dict(api("tasks.get_by_id", task=task)["task"])


def reasons(api: ApiClient, task: str) -> str:
    found = record(api, task)
    runtime = found.get("runtime") or {}
    return f"{found.get('status_reason')}; {found.get('status_message')}; {runtime.get('pod')}"


def console(api: ApiClient, task: str) -> list[str]:
    return [str(event["msg"]) for event in api("events.get_task_log", task=task, order="asc")["events"]]


def test_every_end_has_its_true_reason(installed, api):
    tasks = {case.name: run_task(api, case.code, name=case.name, container=case.container) for case in CASES}
    until(
        "all have ended",
        lambda: all(status(api, task) in ENDED for task in tasks.values()),
        timeout_s=ALL_TIMEOUT_S,
    )
    for case in CASES:
        task = tasks[case.name]
        assert status(api, task) == ("failed" if case.says else "completed"), (case.name, reasons(api, task))
        if case.says:
            until(f"{case.name}: it says why", lambda task=task, case=case: case.says in reasons(api, task))
        text = (record(api, task).get("runtime") or {}).get("pod")
        assert text is None or console(api, task).count(text) == 1, case.name
    until(
        "their pods are gone",
        lambda: not [pod for pod in installed.pods() if pod["metadata"]["name"].startswith("clearml-id-")],
    )
    assert "schedule " in record(api, tasks[CASES[0].name])["runtime"]["pod_phases"]


def test_a_full_quota_waits_and_says_so(installed, api):
    installed.kubectl("create", "quota", "full", "--hard=count/pods=1")  # the agent's own
    try:
        task = run_task(api, "print('room at last')")
        until("it says so", lambda: any("exceeded quota" in line for line in console(api, task)))
        assert status(api, task) == "queued"
    finally:
        installed.kubectl("delete", "quota", "full")
    until("the task completed", lambda: status(api, task) == "completed")
    assert sum("exceeded quota" in line for line in console(api, task)) == 1


@pytest.fixture
def two_running(installed: Deployer, api: ApiClient) -> Iterator[list[str]]:
    """Two tasks that run until the test ends them."""
    tasks = [run_task(api, "import time\nprint('begun', flush=True)\ntime.sleep(25)\nprint('done')") for _ in range(2)]
    until("both run", lambda: all("begun" in "".join(console(api, task)) for task in tasks))
    yield tasks
    for task in tasks:
        if status(api, task) not in ENDED:
            api("tasks.stop", task=task, force=True)


def test_a_restart_of_the_api_server_loses_and_repeats_nothing(installed, api, two_running):
    waiting = run_task(api, "print('begun')\nprint('done')")
    components = installed.cluster.run("status")["components"]
    (server,) = [row for row in components if row["name"] == "kube-apiserver"]
    os.kill(server["pid"], signal.SIGKILL)
    tasks = [*two_running, waiting, run_task(api, "print('begun')\nprint('done')")]
    until("all completed", lambda: all(status(api, task) in ENDED for task in tasks), timeout_s=ALL_TIMEOUT_S)
    assert {task: status(api, task) for task in tasks} == dict.fromkeys(tasks, "completed")
    for task in tasks:
        lines = [line.strip() for text in console(api, task) for line in text.splitlines()]
        assert [line for line in lines if line in ("begun", "done")] == ["begun", "done"]


def test_a_task_that_is_aborted_reset_and_enqueued_while_its_pod_ends_runs_again(installed, api, two_running):
    task, other = two_running
    queue = api("queues.get_all", name="^deployed$")["queues"][0]["id"]
    api("tasks.stopped", task=task, force=True)
    api("tasks.reset", task=task, force=True)
    api("tasks.edit", task=task, script={"diff": "print('again')"})
    api("tasks.enqueue", task=task, queue=queue)
    until("it completed", lambda: status(api, task) == "completed")
    assert "again" in "".join(console(api, task))
    assert status(api, other) in ("in_progress", "completed")
