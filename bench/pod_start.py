"""How long a task takes from its queue to its first line in a pod, beside a stock image that installs everything.

Three set-ups, one after the other on one cluster, each with a server and an agent of its own (clearml-agent's
Kubernetes glue at the pinned version, which sleeps 5 s after each question as stock) and the image present on the node.
The tasks of a set-up come at moments spread evenly over the time between two of the glue's sleeps. Machine, pods and
server share one clock; it runs from just before `tasks.enqueue` is called to the script's first line, before it imports
anything. Everything made is removed, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import pod_environment, wording
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.pod_environment import Agent, Place
from bench.result import Column, Row, Table, Target
from clearml_access.api import Api
from clearml_access.credentials import Secret, Server
from clearml_access.errors import UserFacingError
from clearml_access.tasks import has_ended
from deploy.kubernetes.pods import TASK_POD_PREFIX
from deploy.verification.prove import ROUND_END
from pipeline.settings import step_requirements

CLUSTER = "bench-pod-start"
SHIPPED, STOCK_POLL, STOCK_IMAGE = "as shipped", "stock poll", "stock image"
ROUNDS, STOCK_ROUNDS = 5, 2

DEADLINE_S = {SHIPPED: 120.0, STOCK_POLL: 120.0, STOCK_IMAGE: 1_200.0}
GONE_DEADLINE_S = 60.0
SLEEP_DEADLINE_S = 90.0
CONSOLE_DEADLINE_S = 20.0
LOOK_S = 1.0

PHASES = {
    "queue wait": "from the call of `tasks.enqueue` until the glue has the task",
    "glue": "until the pod exists",
    "pod": "until the first process of the container (scheduler, kubelet, sandbox)",
    "bootstrap": "until the agent's process (apt and pip install clearml-agent, if the image does not have it)",
    "agent": "until the agent's second process, which the first one starts and watches",
    "environment": "until the first line of user code (packages are checked, or installed into a virtual environment)",
}

MARK = "POD-START "
CODE = f"""\
import time; first_line = time.time()
import json, os, platform
booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
agent = []
def started(pid):
    with open(f"/proc/{{pid}}/stat") as file:
        return booted + int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{{pid}}/cmdline") as file:
            words = file.read().split("\\0")
        if "execute" in words and ("clearml_agent" in words or any(word.endswith("/start_agent.py") for word in words)):
            agent.append(started(pid))
    except OSError:
        pass
times = {{"pod": started(1), "bootstrap": min(agent), "agent": started(os.getpid()), "environment": first_line}}
print("{MARK}" + json.dumps({{"times": times, "python": platform.python_version(), "uid": os.getuid()}}), flush=True)
"""
"""The step. The processes' start times are read from the kernel, to 10 ms. The agent's second process becomes the
script's own (exec), so the two share one start time. In our image it is forked once the first one has imported."""


@dataclass(frozen=True)
class Setup:
    """One thing to measure."""

    name: str
    rounds: int
    values: dict[str, Any] = field(default_factory=dict)
    poll_wait_s: float | None = None


@dataclass(frozen=True)
class Round:
    """One task's way to its first line: the moment at which each phase ended."""

    enqueued: float
    ends: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds from enqueue to the first line."""
        return self.ends["environment"] - self.enqueued

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase. They add up to the total."""
        moments = [self.enqueued, *(self.ends[phase] for phase in PHASES)]
        return {phase: after - before for phase, before, after in zip(PHASES, moments, moments[1:], strict=False)}


class Watch:
    """What an agent does, as it is seen from outside beside the measurement: its pods and its sleeps."""

    def __init__(self, agent: Agent) -> None:
        self._cluster = agent.cluster
        self._seen: dict[str, float] = {}
        self._sleeps: list[float] = []
        self._stopping = False
        for follow in (self._follow_pods, self._follow_log):
            threading.Thread(target=follow, daemon=True, name=follow.__name__).start()

    def stop(self) -> None:
        """Let the watch end by itself."""
        self._stopping = True

    def first_seen(self, pod: str) -> float:
        """Return the moment at which a pod appeared, which it must have."""
        return self._seen[pod]

    def next_sleep(self) -> float:
        """Wait until the glue has found its queue empty and begins to sleep; return the moment."""
        before = len(self._sleeps)
        deadline = time.monotonic() + SLEEP_DEADLINE_S
        while len(self._sleeps) == before:
            if self._stopping or time.monotonic() > deadline:
                raise BenchmarkError(f"the glue did not sleep within {SLEEP_DEADLINE_S:.0f} s")
            time.sleep(0.01)
        return self._sleeps[-1]

    def _follow_pods(self) -> None:
        while not self._stopping:
            try:
                for _, pod in self._cluster.watch_pods(timeout_s=30):
                    self._seen.setdefault(pod["metadata"]["name"], time.time())
            except UserFacingError:
                time.sleep(LOOK_S)

    def _follow_log(self) -> None:
        container = "k8s-glue"
        pods = (pod for pod in self._cluster.pods() if pod["spec"]["containers"][0]["name"] == container)
        with suppress(UserFacingError):  # the agent is removed under it
            for line in self._cluster.follow_log(next(pods)["metadata"]["name"], container):
                if ROUND_END in line:
                    self._sleeps.append(time.time())


class Bench:
    """Rounds against one agent."""

    def __init__(self, agent: Agent, watch: Watch, deadline_s: float) -> None:
        self._cluster = agent.cluster
        self._watch = watch
        self._deadline_s = deadline_s
        key, secret = map(Secret, agent.server.credentials)
        urls = (agent.server.api_url, agent.server.web_url, agent.server.files_url)
        self._api = Api.of(Server(*urls, key, secret, "the benchmark"), direct=True)
        self._queue = pod_environment.queue_id(self._api)
        self._project = self._api.call("projects.create", name="pod start", description="")["id"]

    def round(self) -> Round:
        """Send one task through; its pod is gone afterwards."""
        script = {
            "entry_point": "step.py",
            "working_dir": ".",
            "diff": CODE,
            "requirements": {"pip": "\n".join(step_requirements())},
        }
        wanted = {"name": "pod start", "type": "testing", "project": self._project, "script": script}
        task = self._api.call("tasks.create", **wanted)["id"]
        pod = TASK_POD_PREFIX + task
        enqueued = time.time()
        self._api.call("tasks.enqueue", task=task, queue=self._queue)
        self._wait_until_over(task)
        said, taken = self._console(task)
        made = self._watch.first_seen(pod)
        self._wait_until_gone(pod)
        return Round(enqueued, {"queue wait": taken, "glue": made, **said["times"]})

    def _wait_until_over(self, task: str) -> None:
        deadline = time.monotonic() + self._deadline_s
        while time.monotonic() < deadline:
            time.sleep(LOOK_S)
            record = self._api.task(task, ["status"]) or {}
            if has_ended(record):
                return
        raise BenchmarkError(f"task {task} did not end within {self._deadline_s:.0f} s: {record}")

    def _console(self, task: str) -> tuple[dict[str, Any], float]:
        """Return what the script wrote, and when the glue took the task."""
        deadline = time.monotonic() + CONSOLE_DEADLINE_S
        while True:
            events, _ = self._api.console_events(task)
            taken = next((event["timestamp"] / 1000 for event in events if " pulled from " in event["msg"]), None)
            lines = "".join(event["msg"] + "\n" for event in events).splitlines()
            said = next((line.partition(MARK)[2] for line in lines if MARK in line), None)
            if said and taken:
                return dict(json.loads(said)), taken
            if time.monotonic() > deadline:
                raise BenchmarkError(f"task {task} wrote no times; its console ends:\n" + "\n".join(lines[-30:]))
            time.sleep(LOOK_S)

    def _wait_until_gone(self, pod: str) -> None:
        deadline = time.monotonic() + GONE_DEADLINE_S
        self._cluster.delete("pods", pod, grace_s=0)
        while self._cluster.pod(pod) is not None:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"pod {pod} is still there after {GONE_DEADLINE_S:.0f} s")
            time.sleep(LOOK_S / 2)


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Measure each set-up; its rows come as soon as it is done."""
    setups = [
        Setup(SHIPPED, options.rounds),
        Setup(STOCK_POLL, options.rounds, poll_wait_s=0.0),
        Setup(STOCK_IMAGE, options.stock_rounds, pod_environment.stock_values(options.stock_image), poll_wait_s=0.0),
    ]
    chance = random.Random(0)
    manager: AbstractContextManager[Place] = (
        nullcontext(Place(options.kubeconfig, options.host_address, options.stock_image))
        if options.kubeconfig
        else pod_environment.own_cluster(CLUSTER, options.archives, not options.no_precedence, say)
    )
    try:
        with manager as place:
            for setup in setups:
                rounds, load = measure_one(place, setup, chance, say)
                yield Row("start", setup.name, {"all": tuple(round.total for round in rounds), "load": tuple(load)})
                phases = [each.phases() for each in rounds]
                yield Row("phases", setup.name, {name: tuple(found[name] for found in phases) for name in PHASES})
    except UserFacingError as error:
        raise BenchmarkError(error.message + (f" (hint: {error.hint})" if error.hint else "")) from error


def measure_one(place: Place, setup: Setup, chance: random.Random, say: Say) -> tuple[list[Round], list[float]]:
    """Measure one set-up; return its rounds, and the machine's load average at the start of each."""
    say(f"{setup.name}: {setup.rounds} rounds after one that does not count")
    rounds: list[Round] = []
    load: list[float] = []
    moments = [(number + 0.5) / setup.rounds for number in range(setup.rounds)]
    chance.shuffle(moments)
    with pod_environment.deployed(place, setup.values, setup.poll_wait_s, say) as agent, watching(agent) as watch:
        bench = Bench(agent, watch, DEADLINE_S[setup.name])
        say(f"  warm-up: {bench.round().total:.1f} s")
        watch.next_sleep()
        first, second = watch.next_sleep(), watch.next_sleep()
        say(f"  the glue sleeps every {second - first:.1f} s")
        for number, moment in enumerate(moments):
            time.sleep(max(0.0, watch.next_sleep() + moment * (second - first) - time.time()))
            load.append(os.getloadavg()[0])
            rounds.append(bench.round())
            said = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in rounds[-1].phases().items())
            say(f"  {number + 1}/{setup.rounds}: {rounds[-1].total:.2f} s ({said}; load {load[-1]:.1f})")
    return rounds, load


@contextmanager
def watching(agent: Agent) -> Iterator[Watch]:
    """Watch an agent for the length of the block."""
    watch = Watch(agent)
    try:
        yield watch
    finally:
        watch.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how often, and where."""
    add = parser.add_argument
    add("--rounds", type=int, default=ROUNDS, help=f"rounds of our set-ups (default {ROUNDS})")
    add("--stock-rounds", type=int, default=STOCK_ROUNDS, help=f"rounds of the stock image (default {STOCK_ROUNDS})")
    add("--archives", type=Path, help="folder with task.tar, agent.tar, stock.tar; those missing are built into it")
    add("--no-precedence", action="store_true", help="leave the machine's other work its share of the processors")
    add("--kubeconfig", help="use this cluster, which holds our images, and remove only what is added")
    add("--host-address", help="with --kubeconfig: this machine's address as its pods see it")
    add("--stock-image", default=pod_environment.STOCK_IMAGE, help="with --kubeconfig: the stock image there")


def unavailable(options: argparse.Namespace) -> str:
    """Say why there is no cluster to measure on."""
    if bool(options.kubeconfig) != bool(options.host_address):
        return "--kubeconfig and --host-address go together"
    return "" if options.kubeconfig else pod_environment.cannot_host()


BENCHMARK = Benchmark(
    title="From the queue to the first line in a pod",
    page_order=90,
    intro=f"""
The time from just before `tasks.enqueue` to the first line of user code, on a one-node cluster of the benchmark's own,
with the image present on the node. The task requires the packages of a pipeline's step. In every set-up, this project's
Kubernetes agent (glue) serves the queue. It asks every 0.5 s for five minutes after a task, and every 2 s later; the
stock agent asks every 5 s. Tasks are enqueued at times spread evenly over its cycle. By default, the benchmark
runs with a higher priority than the machine's other work; the load average shows how much other work there was.

- *{SHIPPED}*: this project's task image and local server. `queues.get_next_task` waits up to 20 s for a task instead
  of answering "none", and the agent then asks again at once.
- *{STOCK_POLL}*: the same without this wait, as on any other ClearML server.
- *{STOCK_IMAGE}*: the same without this wait, and with a task pod as the agent makes it without a prepared image:
  Debian with Python 3.11, pip, venv, git and the libraries that the agent installs with apt (as in `python:3.11`), as
  root. The agent's script runs apt-get and installs clearml-agent with pip. The agent then makes a virtual environment
  and installs the packages of the step.

The phases, each from the end of the one before:

{wording.bullets(PHASES)}
""",
    notes="""
The agent in the pod starts itself a second time. In this project's image the second process is forked from the first
one (`images/task/agent-python`), so *agent* ends with the imports of the first process, and *environment* has what both
do. Before that, on the same machine at a load of 17, it took 2.9 s as shipped, and 3.8 s with the stock poll every 2 s.
What is left is imports and configuration (0.4 s of processor time) and pip's answers (0.1 s). Where the server does not
wait itself, a task that comes after a pause of more than five minutes waits for 1 s on average.

On a busy machine (load 10 to 15) and without the higher priority: 8.6 to 17 s as shipped, 16 to 20 s with the stock
poll, five minutes with the stock image (one sample). A task pod requests 50 millicores, and gets little more than that
if other work needs the CPU.
""",
    tables=(
        Table(
            "start",
            "Enqueue to the first line of user code",
            (
                Column("all", "total", "s"),
                Column("faster", "faster", "x", better="higher", ratio_of="all"),
                Column("load", "load average", ""),
            ),
            baseline=STOCK_IMAGE,
            chart="all",
        ),
        Table("phases", "Phases", tuple(Column(phase, phase, "s") for phase in PHASES)),
    ),
    targets=(
        Target("start", "all", 2.5, SHIPPED),
        Target("start", "all", 4.0, STOCK_POLL),
        Target("start", "faster", 10.0),
    ),
    add_arguments=add_arguments,
    measure=measure,
    unavailable=unavailable,
    adding=frozenset({"archives"}),
    quick={"rounds": 1, "stock_rounds": 1},
)
