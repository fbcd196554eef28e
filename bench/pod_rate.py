"""Twenty one-line tasks at once on one node: how fast they become pods, and when the last one has ended.

The same cluster, server and agent as in `bench.pod_start`; the baseline is the same image whose pods start the agent in
the agent's own way, and a pod as a stock agent makes it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import pod_environment
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.pod_environment import Agent, Place
from bench.pod_start import CODE, MARK, Watch, unavailable, watching
from bench.result import Column, Row, Table, Target
from clearml_access.api import Api
from clearml_access.credentials import Secret, Server
from clearml_access.errors import UserFacingError
from clearml_access.tasks import has_ended
from deploy.kubernetes.pods import TASK_POD_PREFIX
from pipeline.settings import step_requirements

CLUSTER = "bench-pod-rate"
SHIPPED, OWN_WAY, STOCK_IMAGE = "as shipped", "the agent started in its own way", "stock image"
EARLIER = "stock agent, sealed image"
EARLIER_S, EARLIER_RATE = 99.0, 0.5
TASKS, STOCK_TASKS, ROUNDS = 20, 4, 2
DEADLINE_S = 900.0
CONSOLE_DEADLINE_S = 20.0
LOOK_S = 0.5


@dataclass(frozen=True)
class Setup:
    """One thing to measure."""

    name: str
    tasks: int
    rounds: int
    values: dict[str, Any] = field(default_factory=dict)


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Measure each set-up; its row comes as soon as it is done."""
    own_way = {"basePodTemplate": {"env": [{"name": "LOCAL_PYTHON", "value": "/opt/agent/bin/python"}]}}
    setups = [
        Setup(SHIPPED, options.tasks, options.rounds),
        Setup(OWN_WAY, options.tasks, options.rounds, {"agentk8sglue": own_way}),
    ]
    if options.stock_tasks:
        values = pod_environment.stock_values(options.stock_image)
        setups.append(Setup(STOCK_IMAGE, options.stock_tasks, 1, values))
    manager: AbstractContextManager[Place] = (
        nullcontext(Place(options.kubeconfig, options.host_address, options.stock_image))
        if options.kubeconfig
        else pod_environment.own_cluster(CLUSTER, options.archives, not options.no_precedence, say)
    )
    yield Row("rate", f"{EARLIER}, 20 tasks", {"made": (EARLIER_RATE,), "all": (EARLIER_S,)}, noted=True)
    try:
        with manager as place:
            for setup in setups:
                yield measure_one(place, setup, say)
    except UserFacingError as error:
        raise BenchmarkError(error.message + (f" (hint: {error.hint})" if error.hint else "")) from error


def measure_one(place: Place, setup: Setup, say: Say) -> Row:
    """Measure one set-up."""
    say(f"{setup.name}: {setup.rounds} times {setup.tasks} tasks, after one task that does not count")
    found: dict[str, list[float]] = {"made": [], "started": [], "first": [], "all": [], "load": []}
    with pod_environment.deployed(place, setup.values, None, say) as agent, watching(agent) as watch:
        crowd = Crowd(agent, watch)
        crowd.run(1)
        for number in range(setup.rounds):
            found["load"].append(os.getloadavg()[0])
            took = crowd.run(setup.tasks)
            for name, seconds in took.items():
                found[name].append(setup.tasks / seconds if name in ("made", "started") else seconds)
            said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
            say(f"  {number + 1}/{setup.rounds}: {said} (load {found['load'][-1]:.1f})")
    return Row("rate", f"{setup.name}, {setup.tasks} tasks", {name: tuple(cells) for name, cells in found.items()})


class Crowd:
    """Tasks that are enqueued together, against one agent."""

    def __init__(self, agent: Agent, watch: Watch) -> None:
        self._cluster = agent.cluster
        self._watch = watch
        key, secret = map(Secret, agent.server.credentials)
        urls = (agent.server.api_url, agent.server.web_url, agent.server.files_url)
        self._api = Api.of(Server(*urls, key, secret, "the benchmark"), direct=True)
        self._queue = pod_environment.queue_id(self._api)

    def run(self, count: int) -> dict[str, float]:
        """Send tasks through; return the seconds from the first enqueue until the last was so far."""
        script = {
            "entry_point": "step.py",
            "working_dir": ".",
            "diff": CODE,
            "requirements": {"pip": "\n".join(step_requirements())},
        }
        wanted = {"name": "one of many", "type": "testing", "script": script}
        tasks = [str(self._api.call("tasks.create", **wanted)["id"]) for _ in range(count)]
        began = time.time()
        for task in tasks:
            self._api.call("tasks.enqueue", task=task, queue=self._queue)
        ended = self._wait_until_over(tasks)
        times = [self._times(task) for task in tasks]
        self._wait_until_gone(tasks)
        return {
            "made": max(self._watch.first_seen(TASK_POD_PREFIX + task) for task in tasks) - began,
            "started": max(each["pod"] for each in times) - began,
            "first": max(each["environment"] for each in times) - began,
            "all": ended - began,
        }

    def _wait_until_over(self, tasks: list[str]) -> float:
        deadline = time.monotonic() + DEADLINE_S
        left = set(tasks)
        while left:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{len(left)} of {len(tasks)} tasks did not end within {DEADLINE_S:.0f} s")
            time.sleep(LOOK_S)
            query = {"id": sorted(left), "only_fields": ["id", "status"], "page_size": len(left)}
            for record in self._api.call("tasks.get_all", **query)["tasks"]:
                if not has_ended(record):
                    continue
                if record["status"] != "completed":
                    raise BenchmarkError(f"task {record['id']} ended as {record['status']}")
                left.discard(record["id"])
        return time.time()

    def _times(self, task: str) -> dict[str, float]:
        """Return what the script wrote."""
        deadline = time.monotonic() + CONSOLE_DEADLINE_S
        while True:
            events, _ = self._api.console_events(task)
            lines = "".join(event["msg"] + "\n" for event in events).splitlines()
            said = next((line.partition(MARK)[2] for line in lines if MARK in line), None)
            if said:
                return dict(json.loads(said)["times"])
            if time.monotonic() > deadline:
                raise BenchmarkError(f"task {task} wrote no times; its console ends:\n" + "\n".join(lines[-30:]))
            time.sleep(LOOK_S)

    def _wait_until_gone(self, tasks: list[str]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        names = {TASK_POD_PREFIX + task for task in tasks}
        while names & {pod["metadata"]["name"] for pod in self._cluster.pods()}:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"pods of ended tasks are still there after {DEADLINE_S:.0f} s")
            time.sleep(LOOK_S)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many, and where."""
    add = parser.add_argument
    add("--tasks", type=int, default=TASKS, help=f"tasks at once (default {TASKS})")
    add("--rounds", type=int, default=ROUNDS, help=f"rounds of our image (default {ROUNDS})")
    add(
        "--stock-tasks", type=int, default=STOCK_TASKS, help=f"tasks at once in the stock image (default {STOCK_TASKS})"
    )
    add("--archives", type=Path, help="folder with task.tar, agent.tar, stock.tar; those missing are built into it")
    add("--no-precedence", action="store_true", help="leave the machine's other work its share of the processors")
    add("--kubeconfig", help="use this cluster, which holds our images, and remove only what is added")
    add("--host-address", help="with --kubeconfig: this machine's address as its pods see it")
    add("--stock-image", default=pod_environment.STOCK_IMAGE, help="with --kubeconfig: the stock image there")


BENCHMARK = Benchmark(
    title="Twenty tasks at once in pods",
    page_order=91,
    intro=f"""
One-line tasks with the packages of a pipeline's step are enqueued at once, on a one-node cluster of the benchmark's own
with this machine's cores. Each becomes a pod. *Made* counts pods from the first enqueue until the last one exists;
*started*, until the first process of the last one runs. By default, the benchmark runs with a higher priority than the
machine's other work.

- *{SHIPPED}*: this project's images and local server
- *{OWN_WAY}*: as shipped, but `LOCAL_PYTHON` names the agent's plain Python
- *{STOCK_IMAGE}*: a task pod as the agent makes it without a prepared image (fewer tasks: each installs for half a
  minute)
- *{EARLIER}*: clearml-agent's own glue, which starts a kubectl process for each call
""",
    notes="""
The agent makes pods one after the other. It needs about 40 ms of processor time for each (95 ms before it left out what
the stock glue asks and does not use), and it requests 200m so that a node full of task pods of 50m each leaves it that.
So *made* is bound by the agent's turn on the processors, *started* and the time to the last completion by the
processors themselves: all pods share the node's cores, and each takes about two seconds of processor time for the
runtime's sandbox, the agent and its end. On two cores not more than one pod a second starts and ends. The agent in the
pod looks every 5 s whether its task has ended. The kept result is one round beside other work (see its load average):
1.4 pods made a second, 30% below the target. Two more rounds, at a load of 17 and 19, made 2.0, and 2.5 with the agent
as it was before: one round differs from the next by more than the change, which the processor time shows.
""",
    tables=(
        Table(
            "rate",
            "Pods a second, and the time to the last task",
            (
                Column("made", "pods made", "1/s", better="higher"),
                Column("started", "pods started", "1/s", better="higher"),
                Column("first", "last first line", "s"),
                Column("all", "last completion", "s"),
                Column("load", "load average", ""),
            ),
        ),
    ),
    targets=(Target("rate", "made", 2.0, SHIPPED + f", {TASKS} tasks"),),
    add_arguments=add_arguments,
    measure=measure,
    unavailable=unavailable,
    adding=frozenset({"archives"}),
    quick={"tasks": 3, "rounds": 1, "stock_tasks": 0},
)
