"""How long a task takes from its queue to its first line in a pod, beside a stock image that installs everything.

    task bench-pod-start [-- --rounds 10 --stock-rounds 3 --json FILE]

Three set-ups, one after the other on one cluster, each with a server and an agent of its own (clearml-agent's
Kubernetes glue at the pinned version, asking every 5 s as stock) and the image present on the node:

- `shipped`: this project's task image and `localserver` as they are: its `queues.get_next_task` waits up to 20 s for a
  task in place of answering "none", so the glue's 5 s between two questions are not waited for;
- `stock poll`: the same with that waiting switched off, which is what any other ClearML server does;
- `stock image`: that, and a task pod as the agent makes it where nobody has made an image: Debian, Python 3.11, pip,
  venv and git (as python:3.11), in which the agent's own script runs apt, installs clearml-agent by pip, and the agent
  makes a virtual environment and installs the step's packages.

The tasks of a set-up come at moments spread evenly over the time between two of the glue's sleeps: a sleep of 5 s and
the question, which at `shipped` waits for 20 s. They ask for the packages of a pipeline's step. The clock runs from
just before `tasks.enqueue` is called to the script's first line, before it imports anything. Machine, pods and server
share that clock. The load average stands beside the figures; on a machine that has other work, `--precedence` puts all
three set-ups before it. Prints a table and, as the last line of stdout, one JSON object; what goes on stands on stderr.
Everything made is removed, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from bench import pod_place
from bench.pod_place import Agent, FailedError, Place
from deploy.clearml_api import is_over
from deploy.errors import DeployError
from deploy.pods import TASK_POD_PREFIX
from deploy.prove import ROUND_END
from pipeline.errors import PipelineError
from pipeline.settings import step_requirements
from tests.api_client import ApiClient

CLUSTER = "bench-pod-start"
TARGET_S = 6.0
RATIO = 10.0
DEADLINE_S = {"shipped": 120.0, "stock poll": 120.0, "stock image": 1_200.0}
GONE_DEADLINE_S = 60.0
SLEEP_DEADLINE_S = 90.0
CONSOLE_DEADLINE_S = 20.0
LOOK_S = 1.0
INTERRUPTED = 130

PHASES = {
    "queue wait": "enqueue → the glue has the task",
    "glue": "→ its pod exists",
    "pod": "→ the container's first process (scheduler, kubelet, sandbox)",
    "bootstrap": "→ the agent's process (apt and pip install clearml-agent where it is not in the image)",
    "agent": "→ the agent's second process, which the first starts and watches",
    "environment": "→ the first line of user code (the packages are checked, or installed into a virtual environment)",
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
        if "clearml_agent" in words and "execute" in words:
            agent.append(started(pid))
    except OSError:
        pass
times = {{"pod": started(1), "bootstrap": min(agent), "agent": started(os.getpid()), "environment": first_line}}
print("{MARK}" + json.dumps({{"times": times, "python": platform.python_version(), "uid": os.getuid()}}), flush=True)
"""
"""The step. The processes' start times are read from the kernel, to 10 ms. The agent's second process becomes the
script's own (exec), so the two share one start time."""


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


@dataclass(frozen=True)
class Result:
    """What was measured of one set-up."""

    setup: str
    rounds: list[Round]
    load: list[float]
    """Load average at each round's start: what else the machine had to do."""

    @property
    def median(self) -> float:
        """Median seconds from enqueue to the first line."""
        return statistics.median(round.total for round in self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        totals = [round(each.total, 2) for each in self.rounds]
        phases = {name: round(statistics.median(each.phases()[name] for each in self.rounds), 2) for name in PHASES}
        return {"median_s": round(self.median, 2), "rounds_s": totals, "phases_s": phases, "load": self.load}


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
                raise FailedError(f"the glue did not sleep within {SLEEP_DEADLINE_S:.0f} s")
            time.sleep(0.01)
        return self._sleeps[-1]

    def _follow_pods(self) -> None:
        while not self._stopping:
            try:
                for _, pod in self._cluster.watch_pods(timeout_s=30):
                    self._seen.setdefault(pod["metadata"]["name"], time.time())
            except DeployError:
                time.sleep(LOOK_S)

    def _follow_log(self) -> None:
        container = "k8s-glue"
        pods = (pod for pod in self._cluster.pods() if pod["spec"]["containers"][0]["name"] == container)
        with suppress(DeployError):  # the agent is removed under it
            for line in self._cluster.follow_log(next(pods)["metadata"]["name"], container):
                if ROUND_END in line:
                    self._sleeps.append(time.time())


class Bench:
    """Rounds against one agent."""

    def __init__(self, agent: Agent, watch: Watch, deadline_s: float) -> None:
        self._cluster = agent.cluster
        self._watch = watch
        self._deadline_s = deadline_s
        self._api = ApiClient(agent.server.api_url, agent.server.credentials)
        self._queue = pod_place.queue_id(self._api)
        self._project = self._api("projects.create", name="pod start", description="")["id"]

    def round(self) -> Round:
        """Send one task through; its pod is gone afterwards."""
        script = {
            "entry_point": "step.py",
            "working_dir": ".",
            "diff": CODE,
            "requirements": {"pip": "\n".join(step_requirements())},
        }
        task = self._api("tasks.create", name="pod start", type="testing", project=self._project, script=script)["id"]
        pod = TASK_POD_PREFIX + task
        enqueued = time.time()
        self._api("tasks.enqueue", task=task, queue=self._queue)
        self._wait_until_over(task)
        said, taken = self._console(task)
        made = self._watch.first_seen(pod)
        self._wait_until_gone(pod)
        return Round(enqueued, {"queue wait": taken, "glue": made, **said["times"]})

    def _wait_until_over(self, task: str) -> None:
        deadline = time.monotonic() + self._deadline_s
        while time.monotonic() < deadline:
            time.sleep(LOOK_S)
            record = self._api("tasks.get_all", id=[task], only_fields=["status", "status_reason", "status_message"])
            if is_over(record["tasks"][0]):
                return
        raise FailedError(f"task {task} did not end within {self._deadline_s:.0f} s: {record['tasks'][0]}")

    def _console(self, task: str) -> tuple[dict[str, Any], float]:
        """Return what the script wrote, and when the glue took the task."""
        deadline = time.monotonic() + CONSOLE_DEADLINE_S
        while True:
            events = self._api("events.get_task_log", task=task, order="asc", batch_size=5000)["events"]
            taken = next((event["timestamp"] / 1000 for event in events if " pulled from " in event["msg"]), None)
            lines = "".join(event["msg"] + "\n" for event in events).splitlines()
            said = next((line.partition(MARK)[2] for line in lines if MARK in line), None)
            if said and taken:
                return dict(json.loads(said)), taken
            if time.monotonic() > deadline:
                raise FailedError(f"task {task} wrote no times; its console ends:\n" + "\n".join(lines[-30:]))
            time.sleep(LOOK_S)

    def _wait_until_gone(self, pod: str) -> None:
        deadline = time.monotonic() + GONE_DEADLINE_S
        self._cluster.delete("pods", pod, grace_s=0)
        while self._cluster.pod(pod) is not None:
            if time.monotonic() > deadline:
                raise FailedError(f"pod {pod} is still there after {GONE_DEADLINE_S:.0f} s")
            time.sleep(LOOK_S / 2)


def measure(place: Place, setup: Setup, chance: random.Random, say: pod_place.Say) -> Result:
    """Measure one set-up."""
    say(f"{setup.name}: {setup.rounds} rounds after one that does not count")
    rounds, load = [], []
    moments = [(number + 0.5) / setup.rounds for number in range(setup.rounds)]
    chance.shuffle(moments)
    with pod_place.deployed(place, setup.values, setup.poll_wait_s, say) as agent, watching(agent) as watch:
        bench = Bench(agent, watch, DEADLINE_S[setup.name])
        say(f"  warm-up: {bench.round().total:.1f} s")
        watch.next_sleep()
        first, second = watch.next_sleep(), watch.next_sleep()
        period = second - first
        say(f"  the glue sleeps every {period:.1f} s")
        for number, moment in enumerate(moments):
            time.sleep(max(0.0, watch.next_sleep() + moment * period - time.time()))
            load.append(round(os.getloadavg()[0], 2))
            rounds.append(bench.round())
            said = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in rounds[-1].phases().items())
            say(f"  {number + 1}/{setup.rounds}: {rounds[-1].total:.2f} s ({said}; load {load[-1]})")
    return Result(setup.name, rounds, load)


@contextmanager
def watching(agent: Agent) -> Iterator[Watch]:
    """Watch an agent's pods for the length of the block."""
    watch = Watch(agent)
    try:
        yield watch
    finally:
        watch.stop()


def main() -> int:
    """Measure and print; return 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of our set-ups (default 10)")
    parser.add_argument("--stock-rounds", type=int, default=3, help="rounds of the stock image (default 3)")
    parser.add_argument("--only", action="append", choices=list(DEADLINE_S), help="only this set-up (repeatable)")
    parser.add_argument("--archives", type=Path, help="folder with task.tar, agent.tar, stock.tar; missing are built")
    parser.add_argument(
        "--precedence", action="store_true", help="put this before the machine's other work, if there is"
    )
    parser.add_argument("--kubeconfig", help="use this cluster, which holds our images, and remove only what is added")
    parser.add_argument("--host-address", help="this machine's address as pods of that cluster see it")
    parser.add_argument("--stock-image", default=pod_place.STOCK_IMAGE, help="with --kubeconfig: the stock image there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON object there too")
    asked = parser.parse_args()
    if bool(asked.kubeconfig) != bool(asked.host_address):
        parser.error("--kubeconfig and --host-address go together")
    if asked.kubeconfig and asked.precedence:
        parser.error("--precedence needs a cluster of this benchmark's own")
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    setups = [
        Setup("shipped", asked.rounds),
        Setup("stock poll", asked.rounds, poll_wait_s=0.0),
        Setup("stock image", asked.stock_rounds, pod_place.stock_values(asked.stock_image), poll_wait_s=0.0),
    ]
    chosen = [setup for setup in setups if setup.rounds > 0 and setup.name in (asked.only or DEADLINE_S)]
    manager: AbstractContextManager[Place] = (
        nullcontext(Place(asked.kubeconfig, asked.host_address, asked.stock_image))
        if asked.kubeconfig
        else pod_place.own_cluster(CLUSTER, asked.archives, asked.precedence, say)
    )
    results: list[Result] = []
    failure = ""
    try:
        with manager as place:
            chance = random.Random(0)
            for setup in chosen:
                results.append(measure(place, setup, chance, say))
    except KeyboardInterrupt:
        failure = "interrupted; what was made is removed"
    except (PipelineError, DeployError) as error:
        failure = f"Error: {error.message}" + (f"\nHint: {error.hint}" if error.hint else "")
    except FailedError as error:
        failure = f"Error: {error}"
    document = summary(results, precedence=asked.precedence, whole=not failure)
    if results:
        console.print(table(results))
        console.print(verdict(document), soft_wrap=True)
    line = json.dumps(document)
    if asked.json and not failure:
        asked.json.write_text(line + "\n", encoding="utf-8")
    print(line)
    if failure:
        say(failure)
        return INTERRUPTED if failure.startswith("interrupted") else 2
    return 1 if document["missed"] else 0


def summary(results: list[Result], *, precedence: bool, whole: bool) -> dict[str, Any]:
    """Return the JSON object."""
    medians = {result.setup: result.median for result in results}
    stock = medians.get("stock image")
    ratios = {name: round(stock / median, 1) for name, median in medians.items() if stock and name != "stock image"}
    missed = [name for name, median in medians.items() if name != "stock image" and median > TARGET_S]
    missed += [f"{name}: ratio" for name, ratio in ratios.items() if ratio < RATIO]
    return {
        "cores": os.cpu_count(),
        "precedence": precedence,
        "whole": whole,
        "setups": {result.setup: result.as_json() for result in results},
        "stock_image_takes_times": ratios,
        "targets": {"median_s": TARGET_S, "times": RATIO},
        "missed": missed,
    }


def table(results: list[Result]) -> Table:
    """Return the set-ups side by side: each phase's median, then the whole."""
    shown = Table(title="Enqueue to the first line of user code", title_justify="left", box=None, header_style="dim")
    shown.add_column("median seconds", no_wrap=True)
    for result in results:
        shown.add_column(f"{result.setup} ({len(result.rounds)})", justify="right")
    for phase in PHASES:
        medians = (statistics.median(each.phases()[phase] for each in result.rounds) for result in results)
        shown.add_row(phase, *(f"{median:.2f}" for median in medians))
    spreads = [extremes([each.total for each in result.rounds]) for result in results]
    shown.add_row("in all", *(f"{result.median:.2f}" for result in results))
    shown.add_row("fastest, slowest", *(f"{low:.2f}, {high:.2f}" for low, high in spreads))
    loads = [extremes(result.load) for result in results]
    shown.add_row("load average", *(f"{low:.1f} to {high:.1f}" for low, high in loads))
    return shown


def extremes(values: list[float]) -> tuple[float, float]:
    """Return the least and the greatest."""
    return min(values), max(values)


def verdict(document: dict[str, Any]) -> str:
    """Return what the numbers say in one line."""
    ratios = [f"{ratio} x {name}" for name, ratio in document["stock_image_takes_times"].items()]
    parts = [f"the stock image takes {', '.join(ratios)}"] if ratios else []
    parts.append(f"missed: {', '.join(document['missed'])}" if document["missed"] else "targets met")
    return f"{'; '.join(parts)} (at most {TARGET_S:.0f} s, at least {RATIO:.0f} times)"


def say(text: str) -> None:
    """Tell what goes on."""
    print(text, file=sys.stderr, flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
