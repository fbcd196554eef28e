"""What localserver costs under load, beside an earlier commit of it, and beside an MLflow server on SQLite.

The genuine server cannot run here (eight containers); its figures were measured once on a machine of this kind and are
marked as noted. Everything else is measured in this run, the two versions in turns. `--beside PYTHON` takes another
version than the earlier commit: the interpreter of a checkout of it, in which `./task setup` has run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from bench import rivals
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.result import Column, Row, Table, Target
from bench.server_calls import BATCHES, GET_BY_ID, SCALARS, UNINDEXED, Called, about_much, among, prepared
from bench.server_client import Connection, LightClient
from bench.server_load import drive
from bench.web_seed import Sizes, seed

STARTS = 3
ROUNDS, SECONDS = 3, 0.4
FEW, MANY, MUCH = 1_000, 100_000, 1_000_000
CLIENTS = (1, 8, 64)
OWN = "own"
WAITING = 200
LOOKS = 11
EVENT_CLIENTS = 8

REST_S = 1.0
GENUINE = "genuine server 2.3.0"
GENUINE_START_S, GENUINE_RSS_MIB = (10.0, 15.0), 650.0
GENUINE_CALL_MS = {GET_BY_ID: 6.0, "tasks.edit": 6.0, SCALARS: 26.0}
OURS, EARLIER, MLFLOW = "localserver", "the version beside", "MLflow on SQLite"

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


def in_turns(
    targets: dict[str, Called], rounds: int, turn: Callable[[Called], dict[str, float]]
) -> Iterator[tuple[str, dict[str, tuple[float, ...]]]]:
    """Measure servers in turns, so that whatever else the machine does is shared by all of them."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in targets}
    for number in range(rounds):
        for name in targets if number % 2 else reversed(targets):
            found[name].append(turn(targets[name]))
    for name, turns in found.items():
        yield name, {key: tuple(one[key] for one in turns) for key in turns[0]}


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Measure one part after the other, each on servers of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder:
        root = Path(folder)
        commands: dict[str, tuple[str, ...]] = {}
        if options.beside:
            commands[EARLIER] = command_of(options.beside, root)
        elif not options.without_earlier:
            commands[EARLIER] = command_of(str(rivals.earlier_python(say)), root)
        yield Row("cost", GENUINE, {"start": GENUINE_START_S, "rest": (GENUINE_RSS_MIB,)}, noted=True)
        yield from _calls(root, commands, options, say)
        yield from _among_tasks(root, options, say)
        if not options.without_mlflow:
            yield from _mlflow(root, options, say)


def _starts(folder: Path, count: int, *command: tuple[str, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Start a server, each time on a fresh data folder; return the seconds until ready, and the idle memory in MiB."""
    seconds, memory = [], []
    for number in range(count):
        began = time.perf_counter()
        with running_server(folder / f"start-{number}", *command) as server:
            seconds.append(time.perf_counter() - began)
            time.sleep(REST_S)
            memory.append(psutil.Process(server.process.pid).memory_info().rss / 2**20)
    return tuple(seconds), tuple(memory)


def _calls(root: Path, commands: dict[str, tuple[str, ...]], options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Measure starts, calls, events and agents that wait."""
    with contextlib.ExitStack() as stack:
        called: dict[str, Called] = {}
        costs = {}
        for number, name in enumerate([*commands, OURS]):
            command = (commands[name],) if name in commands else ()
            (root / f"starts-{number}").mkdir()
            costs[name] = _starts(root / f"starts-{number}", options.starts, *command)
            called[name] = prepared(stack.enter_context(running_server(root / f"server-{number}", *command)))
        for call in list(called[OURS].requests)[:10]:
            say(f"  {call}")
            if call in GENUINE_CALL_MS:
                yield Row("calls-1", GENUINE, {"median": (GENUINE_CALL_MS[call],)}, call, noted=True)
            for clients, own in [*((count, False) for count in CLIENTS), (8, True)]:
                table = f"calls-{OWN if own else clients}"
                turns = in_turns(
                    called,
                    options.rounds,
                    lambda it: it.load(call, clients, options.seconds, own_connections=own),  # noqa: B023
                )
                for name, cells in turns:
                    yield Row(table, name, cells, call)
        for count, call in BATCHES.items():
            turns = in_turns(called, options.rounds, lambda it: it.load(call, EVENT_CLIENTS, options.seconds))  # noqa: B023
            for name, cells in turns:
                events = tuple(rate * count for rate in cells["rate"])
                yield Row("events", name, {"rate": events, "p99": cells["p99"]}, f"batches of {call}")
        for call in (GET_BY_ID, "tasks.edit"):
            yield from _beside_waiting_agents(called[OURS], call, options)
        for name, (seconds, memory) in costs.items():
            process = psutil.Process(called[name].server.process.pid)
            loaded = (process.memory_info().rss / 2**20,)
            yield Row("cost", name, {"start": seconds, "rest": memory, "loaded": loaded})


def _beside_waiting_agents(target: Called, call: str, options: argparse.Namespace) -> Iterator[Row]:
    """Measure a call while agents wait for a task, and while none does."""
    found: dict[int, list[dict[str, float]]] = {0: [], WAITING: []}
    for number in range(2 * options.rounds):
        waiting = WAITING if number % 2 else 0
        with _waiting_agents(target.server, waiting):
            found[waiting].append(target.load(call, EVENT_CLIENTS, options.seconds))
    for waiting, turns in found.items():
        cells = {key: tuple(one[key] for one in turns) for key in ("rate", "p99")}
        yield Row("agents", f"{waiting} agents wait" if waiting else "no agent waits", cells, call)


@contextlib.contextmanager
def _waiting_agents(server: ClearmlServer, count: int) -> Iterator[None]:
    """Let agents wait for a task in an empty queue, each on a connection of its own, for the length of the block."""
    client = LightClient(server.api_url, server.credentials)
    found = client.call("queues.get_all", {"name": "^bench agents$"})["queues"]
    queue = found[0]["id"] if found else client.call("queues.create", {"name": "bench agents"})["id"]
    address = urlsplit(server.api_url)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            agent = stack.enter_context(socket.create_connection((address.hostname or "", address.port or 80)))
            agent.sendall(client.request("queues.get_next_task", {"queue": queue}))
        time.sleep(0.2 if count else 0.0)
        yield
    client.close()


def _among_tasks(root: Path, options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Measure queries among few and among many tasks, and tasks with much."""
    sizes = {
        FEW: Sizes(tasks=FEW, metrics=1, points=1_000, lines=1_000),
        options.tasks: Sizes(tasks=options.tasks, metrics=1, points=options.much, lines=options.much),
    }
    with contextlib.ExitStack() as stack:
        called: dict[int, Called] = {}
        much = {}
        for count, size in sizes.items():
            say(f"  a data folder with {count:,} tasks")
            seeded = seed(root / f"tasks-{count}", size)
            server = stack.enter_context(running_server(root / f"tasks-{count}"))
            called[count] = among(server, seeded)
            much[count] = about_much(seeded)
        few, many = called[FEW], called[options.tasks]
        for query in few.requests:
            times = {FEW: list[float](), options.tasks: list[float]()}
            for _ in range(options.rounds):
                for count, target in called.items():
                    times[count].append(target.load(query, 1, options.seconds)["median"])
            growth = tuple(after / before for before, after in zip(*times.values(), strict=True))
            table = "unindexed" if query == UNINDEXED else "queries"
            yield Row(table, query, {"few": tuple(times[FEW]), "many": tuple(times[options.tasks]), "growth": growth})
        client = LightClient(many.server.api_url, many.server.credentials)
        for name, request in much[options.tasks].items():
            sent = client.request(*request)
            looks = [_milliseconds(client, sent) for _ in range(LOOKS)]
            yield Row("much", name, {"first": (looks[0],), "again": (statistics.median(looks[1:]),)})
        client.close()


def _milliseconds(client: Connection, request: bytes) -> float:
    began = time.perf_counter()
    client.send(request)
    return (time.perf_counter() - began) * 1000


def _mlflow(root: Path, options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Measure an MLflow server, and the same of this one."""
    python = rivals.mlflow_python(say)
    count, clients = BATCHES_OF_MLFLOW, EVENT_CLIENTS
    with rivals.running_mlflow(python, root / "mlflow") as mlflow:
        idle = mlflow.memory_mib()
        client = Connection(mlflow.url)
        made = client.post("/api/2.0/mlflow/runs/create", json.dumps({"experiment_id": "0"}).encode())
        run = json.loads(client.send(made))["run"]["info"]["run_id"]
        client.close()
        read = f"GET /api/2.0/mlflow/runs/get?run_id={run} HTTP/1.1\r\nHost: {urlsplit(mlflow.url).netloc}\r\n\r\n"
        batches = []
        for number in range(50):
            metrics = [
                {"key": "m", "value": number, "timestamp": 1_700_000_000_000, "step": number * count + k}
                for k in range(count)
            ]
            body = json.dumps({"run_id": run, "metrics": metrics}).encode()
            batches.append(client.post("/api/2.0/mlflow/runs/log-batch", body))
        seconds = max(options.seconds, options.mlflow_seconds)
        reads = drive(mlflow.url, [[read.encode()]] * clients, seconds)
        writes = drive(mlflow.url, [batches] * clients, seconds)
        cells = {"start": (mlflow.start_s,), "memory": (idle,), "reads": (reads["rate"],), "writes": (writes["rate"],)}
        yield Row("mlflow", MLFLOW, cells)
    began = time.perf_counter()
    with running_server(root / "beside-mlflow") as server:
        start = time.perf_counter() - began
        time.sleep(REST_S)
        memory = psutil.Process(server.process.pid).memory_full_info().pss / 2**20
        own = prepared(server)
        reads, writes = (own.load(call, clients, seconds) for call in (GET_BY_ID, SCALARS))
        cells = {"start": (start,), "memory": (memory,), "reads": (reads["rate"],), "writes": (writes["rate"],)}
        yield Row("mlflow", OURS, cells)


BATCHES_OF_MLFLOW = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how long, and beside what."""
    add = parser.add_argument
    add("--starts", type=int, default=STARTS, help=f"starts to time (default {STARTS})")
    add("--beside", metavar="PYTHON", help="the baseline: the version that this interpreter has")
    add("--without-earlier", action="store_true", help=f"measure without the baseline, commit {rivals.COMMIT}")
    add("--without-mlflow", action="store_true", help="leave MLflow out")
    add("--rounds", type=int, default=ROUNDS, help=f"turns of each version (default {ROUNDS})")
    add("--seconds", type=float, default=SECONDS, help=f"seconds of a turn (default {SECONDS})")
    add("--mlflow-seconds", type=float, default=5.0, help="seconds of MLflow's turns, which is slow (default 5)")
    add("--tasks", type=int, default=MANY, help=f"how many are many tasks (default {MANY:,})")
    add("--much", type=int, default=MUCH, help=f"points and lines of a task with much (default {MUCH:,})")


def _call_table(key: str, title: str) -> Table:
    columns = (
        Column("rate", "calls", "calls/s", better="higher"),
        Column("times", "times the baseline", "x", better="higher", ratio_of="rate"),
        Column("median", "median", "ms"),
        Column("p99", "99th percentile", "ms"),
        Column("processor", "CPU time of the server per call", "ms"),
        Column("client", "of the clients", "ms"),
    )
    return Table(key, title, columns, baseline=EARLIER)


BENCHMARK = Benchmark(
    title="localserver",
    page_order=80,
    intro=f"""
A server is started on an empty folder, and given a project of 100 tasks. Then 1, 8 and 64 clients at once call it over
HTTP. The clients are one process with one thread, beside the server, and cost little (see the last column). *A
connection for each call* is what clients of the SDK get from this server. The two versions of localserver are called in
turns for a fraction of a second each, so that whatever else the machine does meets both. *{EARLIER.capitalize()}* is
commit {rivals.COMMIT}, in an environment of its own made from this clone's history, or the one that `--beside`
names. The genuine server needs eight containers and cannot run here.
Its figures were measured once (2.3.0, with small substitutes for its databases).
""",
    notes="""
What bounds the calls: one process with one interpreter lock. Receiving, parsing and answering an HTTP request by
uvicorn takes 0.15 ms of the server's processor time, as `debug.ping` shows, which does nothing else; so no call can be
answered more often than about 7,000 times a second, and a call that took 0.37 ms at the baseline cannot become three
times as fast. Writes also wait for the disk: each answered write is on it. These times
are those of a faster machine than that of the tables; what matters is their relation.

A batch of 20 scalars takes 0.15 ms for HTTP, 0.03 for JSON, 0.05 to check the events, 0.08 for SQL, and 0.08 for the
task's document with its last values, in processor time; three times the baseline would leave 0.05 ms beside HTTP. A
batch of 1,000 takes 9 µs per event, for JSON, checks and SQL in equal parts. Since the run of these tables, large
batches are read faster: in 15 turns, an event of 8 clients took 17.8 µs of processor time, and 19.7 at the baseline.

A page of console lines names how many there are in all, and counting a million takes most of its time. An agent that
waits looks once a second whether its client is still there.
""",
    tables=(
        Table(
            "cost",
            "Start and memory",
            (
                Column("start", "start until the ready line", "s"),
                Column("rest", "resident memory, idle", "MiB"),
                Column("loaded", "after these calls", "MiB"),
            ),
            baseline=GENUINE,
        ),
        _call_table("calls-1", "Server calls, 1 client"),
        _call_table("calls-8", "Server calls, 8 clients"),
        _call_table("calls-64", "Server calls, 64 clients"),
        _call_table(f"calls-{OWN}", "Server calls, 8 clients, a connection for each call"),
        Table(
            "events",
            f"Events, {EVENT_CLIENTS} clients",
            (
                Column("rate", "events", "1/s", better="higher"),
                Column("times", "times the baseline", "x", better="higher", ratio_of="rate"),
                Column("p99", "99th percentile of a batch", "ms"),
            ),
            baseline=EARLIER,
        ),
        Table(
            "agents",
            f"Calls of {EVENT_CLIENTS} clients while agents wait for a task",
            (
                Column("rate", "calls", "calls/s", better="higher"),
                Column("times", "of the rate without", "x", better="higher", ratio_of="rate"),
                Column("p99", "99th percentile", "ms"),
            ),
            baseline="no agent waits",
        ),
        Table(
            "queries",
            "Queries that an index answers, among many tasks",
            (
                Column("few", "among 1,000", "ms"),
                Column("many", "among 100,000", "ms"),
                Column("growth", "growth", "x"),
            ),
        ),
        Table(
            "unindexed",
            "A query that no index answers",
            (
                Column("few", "among 1,000", "ms"),
                Column("many", "among 100,000", "ms"),
                Column("growth", "growth", "x"),
            ),
        ),
        Table(
            "much",
            "A task with a million points, and one with a million lines",
            (Column("first", "first time after the start", "ms"), Column("again", "again", "ms")),
        ),
        Table(
            "mlflow",
            "To try tracking on a laptop: beside MLflow, 8 clients",
            (
                Column("start", "start until it answers", "s"),
                Column("memory", "memory, idle", "MiB"),
                Column("reads", "reads of a run (a task)", "1/s", better="higher"),
                Column("writes", "batches of 20 values", "1/s", better="higher"),
                Column("times", "batches, times as many", "x", better="higher", ratio_of="writes"),
            ),
            baseline=MLFLOW,
        ),
    ),
    targets=(
        Target("cost", "start", 1.5, OURS),
        Target("cost", "rest", 150, OURS),
        Target("calls-8", "times", 2.0, OURS),
        Target("calls-8", "p99", 20.0, OURS),
        Target("events", "times", 3.0, OURS),
        Target("agents", "times", 0.9),
        Target("queries", "growth", 1.5),
        Target("queries", "many", 20.0),
    ),
    add_arguments=add_arguments,
    measure=measure,
    adding=frozenset({"beside"}),
    quick={
        **{"starts": 1, "seconds": 0.05, "rounds": 1, "tasks": 2_000, "much": 2_000},
        **{"without_earlier": True, "without_mlflow": True},
    },
)
