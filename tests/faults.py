"""Restarts the API server, kills the agent and deletes task pods under load; then compares records and causes.

`python -m tests.faults` makes a cluster, or uses the one that E2E_CLUSTER names, with the images that the values name.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from clearml_localserver.pytest_plugin import running_server

from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli
from tests.e2e.deployer import Deployer, run_task

ENDED = ("completed", "failed", "stopped")
CODE = "import time\nprint('begun', flush=True)\ntime.sleep({seconds})\nprint('done', flush=True)\n"
END_S = 900


class Faults:
    """What is done to a deployed agent, and to which tasks."""

    def __init__(self, deploy: Deployer, seed: int) -> None:
        self._deploy = deploy
        self._random = random.Random(seed)
        self.deleted: set[str] = set()

    def restart_api_server(self) -> str:
        components = self._deploy.cluster.run("status")["components"]
        (server,) = [row for row in components if row["name"] == "kube-apiserver"]
        os.kill(server["pid"], signal.SIGKILL)
        return "the API server restarts"

    def kill_agent(self) -> str:
        (agent, *_) = self._deploy.agents()
        self._deploy.kubectl("delete", "pod", agent["metadata"]["name"], "--grace-period=0", "--force")
        return "the agent is killed"

    def delete_task_pod(self) -> str:
        names = [pod["metadata"]["name"] for pod in self._deploy.pods() if pod["status"].get("phase") == "Running"]
        tasks = [name for name in names if name.startswith("clearml-id-")]
        if not tasks:
            return "no task pod runs"
        name = self._random.choice(tasks)
        self._deploy.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")
        self.deleted.add(name.removeprefix("clearml-id-"))
        return f"{name} is deleted"

    def until_answered(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and self._deploy.cluster.state() != "running":
            time.sleep(1)


def judged(api: ApiClient, task: str, *, deleted: bool) -> str:
    """Return what is wrong with a task's end; nothing if it is as it should be."""
    record: dict[str, Any] = api("tasks.get_by_id", task=task)["task"]
    lines = [
        line.strip()
        for event in api("events.get_task_log", task=task, order="asc")["events"]
        for line in str(event["msg"]).splitlines()
    ]
    status, began = record["status"], lines.count("begun")
    if began > 1:
        return f"ran {began} times"
    if status == "completed":
        return "" if lines.count("done") == 1 else "completed without its last line"
    if status == "failed" and deleted:
        said = f"{record.get('status_reason')} {(record.get('runtime') or {}).get('pod')}"
        return "" if "Deleted" in said else f"its pod was deleted, its record says: {said}"
    return f"{status}: {record.get('status_reason')}; {record.get('status_message')}"


@click.command()
@click.option("--each", default=20, show_default=True, help="Faults of each kind.")
@click.option("--tasks", default=40, show_default=True, help="Tasks that run meanwhile.")
@click.option("--seed", default=1, show_default=True)
def main(each: int, tasks: int, seed: int) -> None:
    """Do faults to an agent under load, and look for tasks that are lost, repeated or end with a wrong reason."""
    name = os.environ.get("E2E_CLUSTER") or "faults"
    cluster = ClusterCli(name)
    if not os.environ.get("E2E_CLUSTER"):
        cluster.up()
    os.environ["LOCALSERVER_HOST"] = cluster.run("status")["host_address"]
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data") as server:
        deploy = Deployer(cluster, server)
        deploy.run("install", "--no-canary")
        with closing(ApiClient(server.api_url, server.credentials)) as api:
            wrong = _run(deploy, api, each, tasks, seed)
        deploy.run("uninstall", "--yes", "--delete-namespace")
    for task, text in wrong.items():
        click.echo(f"{task}: {text}")
    sys.exit(1 if wrong else 0)


def _run(deploy: Deployer, api: ApiClient, each: int, count: int, seed: int) -> dict[str, str]:
    faults = Faults(deploy, seed)
    order = [
        kind for kind in (faults.restart_api_server, faults.kill_agent, faults.delete_task_pod) for _ in range(each)
    ]
    random.Random(seed).shuffle(order)
    tasks = [run_task(api, CODE.format(seconds=5 + number % 20)) for number in range(count)]
    for number, fault in enumerate(order, 1):
        faults.until_answered()
        click.echo(f"{number}/{len(order)}: {fault()}", err=True)
        time.sleep(random.Random(seed + number).uniform(1, 8))
        if number % 3 == 0:
            tasks += [run_task(api, CODE.format(seconds=5 + number % 20))]
    end = time.monotonic() + END_S
    states: Counter[str] = Counter()
    while time.monotonic() < end:
        states = Counter(api("tasks.get_by_id", task=task)["task"]["status"] for task in tasks)
        if set(states) <= set(ENDED):
            break
        time.sleep(2)
    click.echo(f"{len(tasks)} tasks: {dict(states)}; pods deleted: {len(faults.deleted)}")
    found = {task: judged(api, task, deleted=task in faults.deleted) for task in tasks}
    return {task: text for task, text in found.items() if text}


if __name__ == "__main__":
    main()
