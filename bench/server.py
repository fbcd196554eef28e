"""What localserver costs: start time, memory, calls a second; beside what was noted of the genuine server.

The genuine server cannot run here (eight containers); its figures were measured once on a machine of this kind and are
marked as noted. Everything else is measured in this run, against servers of its own. `--beside PYTHON` measures another
version in the same run, call by call in turns: the interpreter of a checkout of it, in which `./task setup` has run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from bench.contract import Benchmark, BenchmarkError, Say
from bench.result import Column, Row, Table, Target

STARTS = 5
SECONDS = 3.0
CLIENTS = (1, 8)
REST_S = 1.0
GENUINE = "genuine server 2.3.0"
GENUINE_START_S, GENUINE_RSS_MIB = (10.0, 15.0), 650.0
GENUINE_CALL_MS = {"tasks.get_by_id": 6.0, "tasks.edit": 6.0, "events.add_batch (20 scalars)": 26.0}


class Session:
    """One client connection with a token."""

    def __init__(self, server: ClearmlServer) -> None:
        self.http = httpx.Client(base_url=server.api_url, trust_env=False, timeout=30)
        token = self.http.get("/auth.login", auth=server.credentials).json()["data"]["token"]
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, endpoint: str, data: Any) -> dict[str, Any]:
        """Call an endpoint; a list is sent as JSON lines."""
        if isinstance(data, list):
            content = "\n".join(json.dumps(item) for item in data)
            headers = {"Content-Type": "application/json-lines"}
            reply = self.http.request("POST", f"/v2.23/{endpoint}", content=content, headers=headers)
        else:
            reply = self.http.request("GET", f"/v2.23/{endpoint}", json=data)
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()["data"]
        return found


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


def rate(server: ClearmlServer, clients: int, seconds: float, work: Callable[[Session, int], None]) -> dict[str, Any]:
    """Run `work` from `clients` threads for some seconds; return calls per second and latencies in ms."""
    times: list[float] = []
    sessions = [Session(server) for _ in range(clients)]
    process = psutil.Process(server.process.pid)
    worked = sum(process.cpu_times()[:2])
    end = time.perf_counter() + seconds

    def run(session: Session) -> None:
        number = 0
        while (began := time.perf_counter()) < end:
            work(session, number)
            times.append(time.perf_counter() - began)
            number += 1

    threads = [threading.Thread(target=run, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    worked = sum(process.cpu_times()[:2]) - worked
    quantiles = statistics.quantiles(times, n=100)
    return {
        "rate": (len(times) / seconds,),
        "median": (quantiles[49] * 1000,),
        "p99": (quantiles[98] * 1000,),
        "processor": (worked / len(times) * 1000,),
    }


def works(session: Session) -> dict[str, Callable[[Session, int], None]]:
    """Return the calls to measure, all on one task."""
    task = session.call("tasks.create", {"name": "bench task", "type": "testing"})["id"]

    def get(session: Session, number: int) -> None:
        session.call("tasks.get_by_id", {"task": task})

    def edit(session: Session, number: int) -> None:
        session.call("tasks.edit", {"task": task, "comment": str(number), "force": True})

    def report(session: Session, number: int) -> None:
        event = {"type": "training_stats_scalar", "task": task, "metric": "m", "variant": "v"}
        session.call("events.add_batch", [event | {"iter": number * 20 + n, "value": n} for n in range(20)])

    return dict(zip(GENUINE_CALL_MS, (get, edit, report), strict=True))


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Start servers, then call one."""
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        other: ClearmlServer | None = None
        if options.beside:
            command = command_of(options.beside, root)
            other = stack.enter_context(running_server(root / "beside", command))
        started = starts(root, options.starts)
        yield Row("cost", GENUINE, {"start": GENUINE_START_S, "rest": (GENUINE_RSS_MIB,)}, noted=True)
        with running_server(root / "data") as server:
            process = psutil.Process(server.process.pid)
            time.sleep(REST_S)
            rest = process.memory_info().rss / 2**20
            calls = works(Session(server))
            calls_beside = works(Session(other)) if other else {}
            for name, work in calls.items():
                yield Row("calls", f"{GENUINE}, 1 client", {"median": (GENUINE_CALL_MS[name],)}, name, noted=True)
                for clients in CLIENTS:
                    label = f"{clients} client{'s' * (clients > 1)}"
                    if other:
                        found = rate(other, clients, options.seconds, calls_beside[name])
                        yield Row("calls", f"the version beside, {label}", found, name)
                    found = rate(server, clients, options.seconds, work)
                    yield Row("calls", f"localserver, {label}", found, name)
            loaded = process.memory_info().rss / 2**20
        yield Row("cost", "localserver", {"start": started, "rest": (rest,), "loaded": (loaded,)})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how long."""
    parser.add_argument("--starts", type=int, default=STARTS, help=f"starts to time (default {STARTS})")
    parser.add_argument("--beside", metavar="PYTHON", help="also measure the version that this interpreter has")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"seconds for each call (default {SECONDS:.0f})")


BENCHMARK = Benchmark(
    title="localserver",
    page_order=80,
    intro="""
A server is started on an empty folder. Then 1 client, and 8 clients at once, call it over HTTP for 3 seconds per
endpoint. The genuine server needs eight containers and cannot run here. Its figures were measured once (2.3.0, with
small substitutes for its databases).
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
    quick={"starts": 1, "seconds": 0.2},
)
