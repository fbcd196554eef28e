"""The calls of `bench.server`: what the SDK calls most, in batches of events, and among many tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearml_localserver.pytest_plugin import ClearmlServer

from bench.server_client import LightClient
from bench.server_load import drive
from bench.web_seed import Seeded

TASKS = 100
DIFFERENT = 50
"""Requests of one kind that differ in what they write; then they repeat."""

GET_BY_ID, SCALARS = "tasks.get_by_id", "events.add_batch (20 scalars)"
BATCHES = {20: "20 scalars", 1_000: "1,000 scalars"}
UNINDEXED = "tasks.get_all_ex (by an unanchored pattern)"

Request = tuple[str, Any]


@dataclass(frozen=True)
class Called:
    """A server with what its calls are about."""

    server: ClearmlServer
    requests: dict[str, list[Request]]

    def load(self, call: str, clients: int, seconds: float, *, own_connections: bool = False) -> dict[str, float]:
        """Call it from many clients for some seconds; return what they found and its processor time per call."""
        sessions = [
            LightClient(self.server.api_url, self.server.credentials, one_call=own_connections) for _ in range(clients)
        ]
        requests = [[session.request(*request) for request in self.requests[call]] for session in sessions]
        for session, first in zip(sessions, requests, strict=True):
            session.send(first[0])  # what is done once for a kind of call is done
            session.close()
        worked = processor_seconds(self.server.process.pid)
        found = drive(self.server.api_url, requests, seconds, own_connections=own_connections)
        worked = processor_seconds(self.server.process.pid) - worked
        return found | {"processor": worked / found["count"] * 1000}


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process, to the nanosecond (`psutil` has hundredths of a second)."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def prepared(server: ClearmlServer) -> Called:
    """Make a project of 100 tasks; return the calls that the SDK makes most, about them, and batches of events."""
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

    def each(endpoint: str, body: Callable[[int], Any]) -> list[Request]:
        return [(endpoint, body(number)) for number in range(DIFFERENT)]

    def scalars(count: int) -> Callable[[int], Any]:
        return lambda n: [scalar | {"iter": n * count + k, "value": n} for k in range(count)]

    return Called(
        server,
        {
            "debug.ping": each("debug.ping", lambda n: {}),
            GET_BY_ID: each("tasks.get_by_id", lambda n: {"task": task}),
            "tasks.get_all (status of a task)": each(
                "tasks.get_all", lambda n: {"id": [task], "only_fields": ["status", "last_update"]}
            ),
            "tasks.get_all (50 tasks of a project)": each("tasks.get_all", lambda n: page),
            "projects.get_all (by name)": each("projects.get_all", lambda n: {"name": "^bench$"}),
            "tasks.edit": each("tasks.edit", lambda n: {"task": task, "comment": str(n), "force": True}),
            "tasks.edit_hyper_params (20)": each(
                "tasks.edit_hyper_params",
                lambda n: {
                    "task": task, "force": True, "hyperparams": [item | {"value": str(n)} for item in parameters]
                },
            ),
            "tasks.add_or_update_artifacts": each(
                "tasks.add_or_update_artifacts",
                lambda n: {"task": task, "force": True, "artifacts": [artifact | {"uri": f"http://files/{n}"}]},
            ),
            SCALARS: each("events.add_batch", scalars(20)),
            "events.add_batch (20 lines)": each(
                "events.add_batch", lambda n: [line | {"msg": f"epoch {n} batch {k}"} for k in range(20)]
            ),
        }
        | {name: each("events.add_batch", scalars(count))[:10] for count, name in BATCHES.items()},
    )  # fmt: skip


def among(server: ClearmlServer, seeded: Seeded) -> Called:
    """Return queries among all tasks of a server."""
    page = {"order_by": ["-last_update"], "page": 0, "page_size": 50}
    short = {"only_fields": ["id", "name", "status", "last_update"]}
    return Called(
        server,
        {
            GET_BY_ID: [("tasks.get_by_id", {"task": seeded.task})],
            "tasks.get_all (status of a task)": [("tasks.get_all", {"id": [seeded.task], "only_fields": ["status"]})],
            "tasks.get_all_ex (a page of a project)": [
                ("tasks.get_all_ex", page | short | {"project": [seeded.project]})
            ],
            "tasks.get_all_ex (a page of all tasks)": [("tasks.get_all_ex", page | short)],
            "tasks.get_all_ex (by name)": [("tasks.get_all_ex", page | short | {"name": "^much console$"})],
            "tasks.get_all_ex (by parent)": [("tasks.get_all_ex", page | short | {"parent": seeded.pipeline})],
            UNINDEXED: [("tasks.get_all_ex", page | short | {"name": "uch cons"})],
        },
    )


def about_much(seeded: Seeded) -> dict[str, Request]:
    """Return what is asked of the task with a million points and of the one with a million lines."""
    console, scalars = {"task": seeded.console, "batch_size": 500}, {"task": seeded.scalars}
    return {
        "points: the task's document": ("tasks.get_by_id", scalars),
        "points: its curves, thinned": ("events.scalar_metrics_iter_histogram", scalars | {"samples": 2_000}),
        "lines: the last 500": ("events.get_task_log", console | {"order": "desc"}),
        "lines: the first 500": ("events.get_task_log", console | {"order": "asc"}),
    }
