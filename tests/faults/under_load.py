"""One fault test: pipelines run, faults are done to what runs them, and every task's end is compared with its cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.api_client import ApiClient
from tests.e2e.deployer import Deployer
from tests.faults.cluster_faults import POD, ClusterFaults
from tests.faults.judge import judged, words_of
from tests.faults.load import Load, make_draft
from tests.faults.tally import BEGUN, DONE, counting

END_S = 1_200
QUIET_S = 300


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    api_restarts: int = 20
    agent_kills: int = 20
    pod_deletions: int = 20
    pipelines: int = 10
    """How many run at once, until the last fault is done."""

    seed: int = 1


@dataclass
class Outcome:
    """What came of it."""

    faults: dict[str, int] = field(default_factory=dict)
    pipelines: int = 0
    tasks: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    """Tasks by status."""

    reasons: dict[str, int] = field(default_factory=dict)
    """Failed tasks by the reason on their record."""

    wrong: dict[str, str] = field(default_factory=dict)
    """Tasks whose end is not what was done to them, each with what is wrong."""

    seconds: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def run(deploy: Deployer, api: ApiClient, plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Run pipelines on the deployed agent and do faults to it.

    Args:
        deploy: An agent that works.
        api: A client of its server.
        plan: How much is done.
        say: Takes a line for each fault, and for what passes while the last tasks end.
    """
    begun = time.monotonic()
    host = deploy.server.api_url.rpartition(":")[0].rpartition("/")[2]
    with counting(host) as tally:
        load = Load(api, deploy, make_draft(deploy, tally.address))
        faults = ClusterFaults(deploy, plan.seed)
        order = faults.in_order(plan.api_restarts, plan.agent_kills, plan.pod_deletions)
        for number, fault in enumerate(order, 1):
            load.refill(plan.pipelines)
            faults.pause()
            faults.until_answered()
            did = fault()
            say(f"{time.monotonic() - begun:5.0f} s  {number}/{len(order)}: {did}; {_counted(load)}")
        faults.until_answered()
        _wait_for_the_last(load, lambda: say(f"{time.monotonic() - begun:5.0f} s  {_counted(load)}"))
        tasks = load.tasks()
        outcome = Outcome(
            faults={
                "api_restarts": plan.api_restarts,
                "agent_kills": plan.agent_kills,
                "pod_deletions": len(faults.deleted),
            },
            pipelines=len(load.runs),
            tasks=len(tasks),
            ends=dict(Counter(task["status"] for task in tasks.values())),
            reasons=dict(Counter(_kind(task) for task in tasks.values() if task["status"] == "failed")),
        )
        for key, task in tasks.items():
            text = judged(task, tally.count(BEGUN, key), tally.count(DONE, key), tasks, faults.deleted)
            if text:
                outcome.wrong[key] = f"{task['name']}: {text}"
    outcome.wrong |= dict.fromkeys(_left_pods(deploy), "a pod without a task that runs")
    outcome.seconds = round(time.monotonic() - begun)
    return outcome


def _wait_for_the_last(load: Load, tell: Callable[[], None]) -> None:
    end, told = time.monotonic() + END_S, 0.0
    while load.unfinished() and time.monotonic() < end:
        if time.monotonic() - told > 30:
            told = time.monotonic()
            tell()
        time.sleep(2)


def _left_pods(deploy: Deployer) -> list[str]:
    """Return the task pods that are there long after their tasks' end."""
    end = time.monotonic() + QUIET_S
    while True:
        names = [pod["metadata"]["name"] for pod in deploy.pods()]
        left = [name for name in names if name.startswith(POD)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(2)


def _counted(load: Load) -> str:
    states = Counter(task["status"] for task in load.tasks().values())
    return f"{len(load.runs)} pipelines, tasks: {', '.join(f'{count} {name}' for name, count in states.items())}"


def _kind(task: dict[str, Any]) -> str:
    """Return a failure's reason without the names in it."""
    return words_of(task).partition(";")[0]
