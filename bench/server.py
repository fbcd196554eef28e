"""What localserver costs: start time, memory, calls a second; beside what was noted of the genuine server.

The genuine server cannot run here (eight containers); its figures were measured once on a machine of this kind and are
marked as noted. Everything else is measured in this run, against servers of its own. `--beside PYTHON` measures another
version in the same run, in turns: the interpreter of a checkout of it, in which `./task setup` has run.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from bench.declaration import Benchmark, BenchmarkError, Say
from bench.result import Column, Row, Table, Target
from bench.server_client import LightClient

STARTS = 5
ROUNDS, SECONDS = 7, 0.4
TASKS = 100
DIFFERENT = 50
"""Requests of one kind that differ in what they write; then they repeat."""

REST_S = 1.0
GENUINE = "genuine server 2.3.0"
GENUINE_START_S, GENUINE_RSS_MIB = (10.0, 15.0), 650.0
GENUINE_CALL_MS = {"tasks.get_by_id": 6.0, "tasks.edit": 6.0, "events.add_batch (20 scalars)": 26.0}


MODULES = ("clearml_localserver", "localserver")
"""Names of the server's module: today's, and the one before it was a distribution of its own."""

HAS_MODULE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(f'{sys.argv[1]}.cli') is None)"
"""Looked for, not imported: the old module starts the server when its `__main__` is."""


def command_of(python: str, folder: Path) -> tuple[str, ...]:
    """Return what starts the server that an environment has.

    Args:
        python: The environment's interpreter.
        folder: Where nothing lies that a module could be taken from.

    Raises:
        BenchmarkError: There is no such interpreter, or it has no server.
    """
    path = shutil.which(python)
    if path is None:
        raise BenchmarkError(f"--beside {python}: no such program")
    path = os.path.abspath(path)  # not resolved: a venv's python is a link, and is found by its own place
    for module in MODULES:
        asked = subprocess.run([path, "-c", HAS_MODULE, module], cwd=folder, capture_output=True, check=False)
        if asked.returncode == 0:
            return (path, "-m", module)
    raise BenchmarkError(
        f"--beside {python}: it has none of the modules {', '.join(MODULES)}: run `./task setup` there"
    )


def starts(folder: Path, count: int) -> tuple[float, ...]:
    """Measure starts, the ready line included, each on a fresh data folder."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        with running_server(folder / f"start-{number}"):
            found.append(time.perf_counter() - began)
    return tuple(found)


@dataclass(frozen=True)
class Load:
    """How a server is called."""

    clients: int
    own_connections: bool = False
    """Whether each call has a connection of its own, as those of SDK clients have on this server."""

    def __str__(self) -> str:
        """Return it as a row of the table is called."""
        words = f"{self.clients} client{'s' * (self.clients > 1)}"
        return words + (", a connection for each call" if self.own_connections else "")


LOADS = (Load(1), Load(8), Load(8, own_connections=True))


@dataclass(frozen=True)
class Called:
    """A server with what its calls are about."""

    server: ClearmlServer
    requests: dict[str, list[tuple[str, Any]]]


def turn(target: Called, call: str, load: Load, seconds: float) -> dict[str, float]:
    """Call a server for some seconds; return calls per second, latencies, and its processor time per call in ms."""
    server = target.server
    clients = [
        LightClient(server.api_url, server.credentials, one_call=load.own_connections) for _ in range(load.clients)
    ]
    sent = [[client.request(*request) for request in target.requests[call]] for client in clients]
    times: list[float] = []
    for client, requests in zip(clients, sent, strict=True):
        client.send(requests[0])
    worked, began = processor_seconds(server.process.pid), time.perf_counter()

    def run(client: LightClient, requests: list[bytes]) -> None:
        for request in itertools.cycle(requests):
            before = time.perf_counter()
            if before > began + seconds:
                return
            client.send(request)
            times.append(time.perf_counter() - before)

    with ThreadPoolExecutor(load.clients) as threads:
        list(threads.map(run, clients, sent))  # which raises what a client has raised
    worked, took = processor_seconds(server.process.pid) - worked, time.perf_counter() - began
    for client in clients:
        client.close()
    quantiles = statistics.quantiles(times, n=100)
    return {
        "rate": len(times) / took,
        "median": quantiles[49] * 1000,
        "p99": quantiles[98] * 1000,
        "processor": worked / len(times) * 1000,
    }


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process, to the nanosecond (`psutil` has hundredths of a second)."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def in_turns(targets: dict[str, Called], call: str, load: Load, options: argparse.Namespace) -> Iterator[Row]:
    """Measure the versions in turns, so that whatever else the machine does is shared by all of them."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in targets}
    for number in range(options.rounds):
        for name in targets if number % 2 else reversed(targets):
            found[name].append(turn(targets[name], call, load, options.seconds))
    for name, turns in found.items():
        cells = {key: tuple(one[key] for one in turns) for key in turns[0]}
        yield Row("calls", f"{name}, {load}", cells, call)


def prepared(server: ClearmlServer) -> Called:
    """Make a project of 100 tasks; return the calls that the SDK makes most, about them."""
    client = LightClient(server.api_url, server.credentials)
    project = client.call("projects.create", {"name": "bench", "description": ""})["id"]
    tasks = [
        client.call("tasks.create", {"name": f"task {number}", "type": "testing", "project": project})["id"]
        for number in range(TASKS)
    ]
    client.close()
    task = tasks[0]
    parameters = [{"section": "Args", "name": f"p{number}", "value": "0", "type": "int"} for number in range(20)]
    scalar = {"type": "training_stats_scalar", "task": task, "metric": "m", "variant": "v"}
    line = {"type": "log", "task": task, "level": "info", "timestamp": 1_700_000_000_000}
    artifact = {"key": "data", "type": "dict", "mode": "output"}
    page = {"project": [project], "order_by": ["-last_update"], "page": 0, "page_size": 50}

    def each(endpoint: str, body: Callable[[int], Any]) -> list[tuple[str, Any]]:
        return [(endpoint, body(number)) for number in range(DIFFERENT)]

    requests = {
        "debug.ping": each("debug.ping", lambda n: {}),
        "tasks.get_by_id": each("tasks.get_by_id", lambda n: {"task": task}),
        "tasks.get_all (status of a task)": each(
            "tasks.get_all", lambda n: {"id": [task], "only_fields": ["status", "last_update"]}
        ),
        "tasks.get_all (50 tasks of a project)": each("tasks.get_all", lambda n: page),
        "projects.get_all (by name)": each("projects.get_all", lambda n: {"name": "^bench$"}),
        "tasks.edit": each("tasks.edit", lambda n: {"task": task, "comment": str(n), "force": True}),
        "tasks.edit_hyper_params (20)": each(
            "tasks.edit_hyper_params",
            lambda n: {"task": task, "force": True, "hyperparams": [item | {"value": str(n)} for item in parameters]},
        ),
        "tasks.add_or_update_artifacts": each(
            "tasks.add_or_update_artifacts",
            lambda n: {"task": task, "force": True, "artifacts": [artifact | {"uri": f"http://files/{n}"}]},
        ),
        "events.add_batch (20 scalars)": each(
            "events.add_batch", lambda n: [scalar | {"iter": n * 20 + k, "value": n} for k in range(20)]
        ),
        "events.add_batch (20 lines)": each(
            "events.add_batch", lambda n: [line | {"msg": f"epoch {n} batch {k}"} for k in range(20)]
        ),
    }
    return Called(server, requests)


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Start servers, then call one, or two in turns."""
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        called: dict[str, Called] = {}
        if options.beside:
            command = command_of(options.beside, root)
            called["the version beside"] = prepared(stack.enter_context(running_server(root / "beside", command)))
        started = starts(root, options.starts)
        yield Row("cost", GENUINE, {"start": GENUINE_START_S, "rest": (GENUINE_RSS_MIB,)}, noted=True)
        server = stack.enter_context(running_server(root / "data"))
        process = psutil.Process(server.process.pid)
        time.sleep(REST_S)
        rest = process.memory_info().rss / 2**20
        called["localserver"] = prepared(server)
        for call in called["localserver"].requests:
            if call in GENUINE_CALL_MS:
                yield Row("calls", f"{GENUINE}, 1 client", {"median": (GENUINE_CALL_MS[call],)}, call, noted=True)
            for load in LOADS:
                yield from in_turns(called, call, load, options)
        loaded = process.memory_info().rss / 2**20
        yield Row("cost", "localserver", {"start": started, "rest": (rest,), "loaded": (loaded,)})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how long."""
    parser.add_argument("--starts", type=int, default=STARTS, help=f"starts to time (default {STARTS})")
    parser.add_argument("--beside", metavar="PYTHON", help="also measure the version that this interpreter has")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each version (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"seconds of a turn (default {SECONDS})")


BENCHMARK = Benchmark(
    title="localserver",
    page_order=80,
    intro="""
A server is started on an empty folder, and given a project of 100 tasks. Then 1 client, and 8 clients at once, call it
over HTTP. *A connection for each call* is what clients of the SDK get from this server. With `--beside`, another
version is called in turns with this one, for a fraction of a second each, so that whatever else the machine does meets
both. The client is a thread with a socket, which costs little. The genuine server needs eight containers and cannot run
here. Its figures were measured once (2.3.0, with small substitutes for its databases).
""",
    notes="""
Measured by hand:

- events: 55,000 to 65,000 scalars per second in batches of 1,000; a curve of a million points is downsampled in 0.1 to
  0.2 s; a page of a console with 100,000 lines takes 7 ms
- queries with 100,000 tasks: by id or name less than 1.5 ms, the page of a project 8 to 20 ms, by status alone 0.3 s,
  by an unanchored pattern 0.5 s
""",
    tables=(
        Table(
            "cost",
            "Start and memory",
            (
                Column("start", "start until the ready line", "s"),
                Column("rest", "resident memory, idle", "MiB"),
                Column("loaded", "after this benchmark", "MiB"),
            ),
            baseline=GENUINE,
        ),
        Table(
            "calls",
            "Server calls",
            (
                Column("rate", "calls", "calls/s", better="higher"),
                Column("median", "median", "ms"),
                Column("p99", "99th percentile", "ms"),
                Column("processor", "CPU time of the server per call", "ms"),
            ),
            chart="median",
        ),
    ),
    targets=(Target("cost", "start", 1.5), Target("cost", "rest", 150)),
    add_arguments=add_arguments,
    measure=measure,
    adding=frozenset({"beside"}),
    quick={"starts": 1, "seconds": 0.1, "rounds": 1},
)
