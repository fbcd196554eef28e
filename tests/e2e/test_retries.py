"""What a queue's values say of its tasks, on a real cluster: more memory after it ran out, an end of waiting."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import yaml

from clearml_access import pod_records
from clearml_access.agent_values import IN_CLONE
from clearml_access.tasks import reason_of
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import stage, until
from tests.e2e.deployer import QUEUE, ROOT, Deployer, run_task, status

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ENDED = ("completed", "failed", "stopped")
PENDING_MINUTES = "0.8"
"""Pods that can start take seconds."""

RUN_TIMEOUT_S = 600


@pytest.fixture(scope="module")
def small(deploy: Deployer, tmp_path_factory: pytest.TempPathFactory) -> Deployer:
    """An agent whose task pods get little memory, and do not wait for long."""
    env = yaml.safe_load(IN_CLONE.read_text())["agentk8sglue"]["extraEnvs"]
    env += [{"name": "CLEARML_PODS_MAX_PENDING_MINUTES", "value": PENDING_MINUTES}]
    template = {"resources": {"limits": {"memory": "256Mi"}}}
    path = tmp_path_factory.mktemp("values") / "small.yaml"
    path.write_text(yaml.safe_dump({"agentk8sglue": {"extraEnvs": env, "basePodTemplate": template}}))
    small = replace(deploy, values=(path,))
    with stage("an agent for small pods"):
        small.run("install", "--no-canary")
    return small


@pytest.fixture(scope="module")
def waiting(small: Deployer, api: ApiClient) -> str:
    """A task that no node has room for; it waits while the other test runs."""
    return run_task(api, "print('no room')", container={"arguments": "--memory-reservation=9000g"})


def record(api: ApiClient, task: str) -> dict[str, Any]:
    return dict(api("tasks.get_by_id", task=task)["task"])


def test_a_step_that_ran_out_of_memory_is_run_again_with_more(small, waiting, api, tmp_path):
    argv = [sys.executable, "-m", "tests.e2e.hungry_pipeline", QUEUE, str(tmp_path / "run")]
    environ = small.env | {"CLEARML_CACHE_DIR": str(tmp_path / "cache")}
    with stage("a step that needs more memory"):
        done = subprocess.run(
            argv, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
        )
    (step,) = api("tasks.get_all", parent=[(tmp_path / "run").read_text()], search_hidden=True)["tasks"]
    console = "\n".join(event["msg"] for event in api("events.get_task_log", task=step["id"], order="asc")["events"])
    assert (done.returncode, step["status"]) == (0, "completed"), f"{reason_of(step)}\n{console}\n{done.stdout}"
    assert step["container"]["arguments"] == "--memory=512m --memory-reservation=256m"
    (why,) = yaml.safe_load(step["hyperparams"]["properties"]["earlier_attempts"]["value"])
    assert "OOMKilled, exit code 137" in why
    assert why.endswith("memory limit 256Mi, then 512Mi")
    until("its second pod's phases are on record", lambda: "run" in pod_records.phases_of(record(api, step["id"])))
    assert "pod" not in record(api, step["id"])["runtime"], "the first pod's end is not the second one's"


def test_a_task_that_no_node_has_room_for_ends_in_the_schedulers_words(small, waiting, api):
    until("it has ended", lambda: status(api, waiting) in ENDED)
    found = record(api, waiting)
    assert (found["status"], found["status_reason"]) == ("failed", "pod: Unschedulable")
    assert f"did not start within {PENDING_MINUTES} min" in found["status_message"]
    assert "Insufficient memory" in found["status_message"]
    until("its pod is gone", lambda: not [pod for pod in small.pods() if pod["metadata"]["name"].endswith(waiting)])
