"""What is done to a deployed agent: its API server restarts, it is killed, pods of its tasks are deleted."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from clearml_access import processes
from tests.e2e.deployer import Deployer

POD = "clearml-id-"
BACK_S = 300


class ClusterFaults:
    """Does faults, and remembers to which tasks."""

    def __init__(self, deploy: Deployer, seed: int) -> None:
        self._deploy = deploy
        self._random = random.Random(seed)
        self.deleted: set[str] = set()

    def in_order(self, api_restarts: int, agent_kills: int, pod_deletions: int) -> list[Callable[[], str]]:
        """Return so many faults of each kind, mixed; each returns what it did."""
        kinds = ((self.restart_api_server, api_restarts), (self.kill_agent, agent_kills))
        order = [kind for kind, count in (*kinds, (self.delete_task_pod, pod_deletions)) for _ in range(count)]
        self._random.shuffle(order)
        return order

    def pause(self, least_s: float = 1.0, most_s: float = 8.0) -> None:
        """Wait for a while that the seed decides."""
        time.sleep(self._random.uniform(least_s, most_s))

    def restart_api_server(self) -> str:
        """Kill the API server; the cluster starts it again."""
        components = self._deploy.cluster.run("status")["components"]
        (server,) = [row for row in components if row["name"] == "kube-apiserver"]
        os.kill(server["pid"], signal.SIGKILL)
        return "the API server is killed"

    def kill_agent(self) -> str:
        """Kill the agent's pod without a word; its Deployment makes the next."""
        assert processes.wait_until(lambda: bool(self._deploy.agents()), BACK_S, poll_s=0.5), "no agent came back"
        (agent, *_) = self._deploy.agents()
        self._deploy.kubectl("delete", "pod", agent["metadata"]["name"], "--grace-period=0", "--force")
        return "the agent is killed"

    def delete_task_pod(self) -> str:
        """Delete a task's pod that runs; wait for one, if there is none."""
        found: list[str] = []

        def runs() -> bool:
            names = [pod["metadata"]["name"] for pod in self._deploy.pods() if _lives(pod)]
            found[:] = [name for name in names if name.removeprefix(POD) not in self.deleted]
            return bool(found)

        assert processes.wait_until(runs, BACK_S, poll_s=0.5), f"no task pod ran within {BACK_S} s"
        name = self._random.choice(sorted(found))
        self.deleted.add(name.removeprefix(POD))
        self._deploy.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false", "--ignore-not-found")
        return f"{name} is deleted"

    def until_answered(self) -> None:
        """Wait until the API server answers."""
        state = self._deploy.cluster.state
        assert processes.wait_until(lambda: state() == "running", BACK_S, poll_s=0.5), (
            "the API server did not come back"
        )


def _lives(pod: dict[str, Any]) -> bool:
    metadata = pod["metadata"]
    running = pod["status"].get("phase") == "Running" and not metadata.get("deletionTimestamp")
    return running and str(metadata["name"]).startswith(POD)
