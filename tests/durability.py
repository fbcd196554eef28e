"""`./task test-durability`: kill the server under load, again and again; what it had answered must be there.

Clients make tasks, report events, upload files, enqueue and take, start and complete. Each notes what was answered.
After every SIGKILL the server starts again on the same folder and is asked for all of it; `check` must find no damage.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import click
import httpx
from clearml_localserver.pytest_plugin import ClearmlServer, running_server
from clearml_localserver.upkeep.backup import backup, restore
from clearml_localserver.upkeep.check import check

from tests.api_client import ApiClient

CLIENTS = 4
LOG_LINES, POINTS = 3, 5
STAGES = ("created", "reported", "uploaded", "named", "enqueued", "taken", "started", "completed")
AFTER = {"enqueued": {"queued", "in_progress", "completed"}, "started": {"in_progress", "completed"}}


@dataclass
class Written:
    """One task and how far it came: the last stage that was answered; the next one may or may not have happened."""

    id: str
    queue: str
    stage: str = "created"

    def reached(self, stage: str) -> bool:
        return STAGES.index(self.stage) >= STAGES.index(stage)

    @property
    def content(self) -> bytes:
        return hashlib.sha256(self.id.encode()).digest() * 2000

    @property
    def path(self) -> str:
        return f"killed/{self.id}.bin"


@dataclass
class Load:
    """Clients that write until the server is gone."""

    server: ClearmlServer
    clients: list[ApiClient]
    written: list[Written] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._client, args=(call,)) for call in self.clients]
        for thread in threads:
            thread.start()
        return threads

    def _client(self, call: ApiClient) -> None:
        try:
            queue = call("queues.create", name=f"queue {uuid4().hex}")["id"]
            while True:
                self._task(call, queue)
        except httpx.HTTPError:
            return  # the server is gone; what it had answered until now is in `written`
        except Exception as error:
            # Whatever else ends a client is a finding of the run, which would go unseen in a thread.
            self.wrong.append(f"a client: {type(error).__name__}: {error}")

    def _task(self, call: ApiClient, queue: str) -> None:
        item = Written(call("tasks.create", name="killed under load", type="testing")["id"], queue)
        self.written.append(item)
        for stage in STAGES[1:]:
            getattr(self, f"_{stage}")(call, item)
            item.stage = stage

    def _reported(self, call: ApiClient, item: Written) -> None:
        scalar = {"type": "training_stats_scalar", "task": item.id, "metric": "m", "variant": "v"}
        events = [scalar | {"iter": number, "value": number} for number in range(POINTS)]
        events += [{"type": "log", "task": item.id, "msg": f"line {number}"} for number in range(LOG_LINES)]
        body = "\n".join(json.dumps(event) for event in events)
        reply = call.http.post(
            "/v2.23/events.add_batch", content=body, headers={"Content-Type": "application/json-lines"}
        )
        assert reply.json()["data"]["added"] == len(events), reply.text

    def _uploaded(self, call: ApiClient, item: Written) -> None:
        files = {f"/{item.path}": ("a.bin", item.content)}
        reply = call.http.post(f"{self.server.files_url}/", files=files)
        assert reply.json() == [item.path], reply.text

    def _named(self, call: ApiClient, item: Written) -> None:
        artifact = {"key": "a", "type": "custom", "uri": f"{self.server.files_url}/{item.path}"}
        call("tasks.add_or_update_artifacts", task=item.id, artifacts=[artifact])

    def _enqueued(self, call: ApiClient, item: Written) -> None:
        call("tasks.enqueue", task=item.id, queue=item.queue)

    def _taken(self, call: ApiClient, item: Written) -> None:
        assert call("queues.get_next_task", queue=item.queue)["entry"]["task"] == item.id

    def _started(self, call: ApiClient, item: Written) -> None:
        call("tasks.started", task=item.id)

    def _completed(self, call: ApiClient, item: Written) -> None:
        call("tasks.completed", task=item.id)


def lost(call: ApiClient, files_url: str, item: Written) -> Iterator[str]:
    """Yield what of a task was answered and is not there."""
    reply = call.send("tasks.get_by_id", task=item.id)
    if reply.status != 200:
        yield f"task {item.id}: {reply.error}"
        return
    task = reply.data["task"]
    status = task["status"]
    for stage, allowed in AFTER.items():
        if item.reached(stage) and status not in allowed:
            yield f"task {item.id} was {item.stage}, is {status}"
    if item.stage == "completed" and status != "completed":
        yield f"task {item.id} was completed, is {status}"
    if item.reached("reported"):
        curves = call("events.scalar_metrics_iter_histogram", task=item.id)
        if curves["m"]["v"]["x"] != list(range(POINTS)):
            yield f"task {item.id}: {curves}"
        if (total := call("events.get_task_log", task=item.id)["total"]) != LOG_LINES:
            yield f"task {item.id}: {total} of {LOG_LINES} lines"
    if item.reached("uploaded"):
        found = call.http.get(f"{files_url}/{item.path}")
        if found.content != item.content:
            yield f"file of task {item.id}: {found.status_code}, {len(found.content)} bytes"
    if item.reached("named") and not task["execution"]["artifacts"]:
        yield f"task {item.id}: its artifact"
    entries = [entry["task"] for entry in call("queues.get_by_id", queue=item.queue)["queue"]["entries"]]
    if item.stage == "enqueued" and status == "queued" and item.id not in entries:
        # Taken by the call that was not answered: handed out, and put back after its time.
        return
    if item.reached("taken") and item.id in entries:
        yield f"task {item.id} was taken and is in its queue"


def damage(data: Path) -> list[str]:
    """Return what `check` finds, but for files of uploads that were not answered."""
    findings = [finding for finding in check(data, lambda text: None) if finding.code != "stray-files"]
    return [f"{finding.code}: {finding.text} {finding.examples}" for finding in findings]


def run(data: Path, kills: int, seed: int) -> tuple[int, list[str]]:
    """Kill the server so many times; return how many tasks were written, and what was lost."""
    times = random.Random(seed)
    problems: list[str] = []
    everything: list[Written] = []
    with running_server(data) as server, ExitStack() as stack:
        clients = [stack.enter_context(closing(logged_in(server))) for _ in range(CLIENTS)]
        for number in range(kills):
            load = Load(server, clients)
            threads = load.start()
            time.sleep(times.uniform(0.05, 0.7))
            server.kill()
            for thread in threads:
                thread.join(60)
            server.restart()
            everything += load.written
            problems += load.wrong
            # All of the last round, and some of those that outlived earlier kills.
            older = times.sample(everything, min(20, len(everything)))
            for item in [*load.written, *older]:
                problems += lost(clients[0], server.files_url, item)
            problems += damage(data)
            if problems:
                return len(everything), [f"after kill {number + 1}: {problem}" for problem in problems]
        problems += backed_up_under_load(Load(server, clients), everything)
    return len(everything), problems


def logged_in(server: ClearmlServer) -> ApiClient:
    """Return a client; its token outlives the server's restarts."""
    return ApiClient(server.api_url, server.credentials)


def backed_up_under_load(load: Load, everything: list[Written]) -> list[str]:
    """Make a backup while clients write, restore it, and ask the restored server for all that was there before."""
    server = load.server
    threads = load.start()
    while len(load.written) < CLIENTS and not load.wrong:
        time.sleep(0.01)
    made = backup(server.data, server.data.with_name("backup"), lambda text: None)
    server.kill()
    for thread in threads:
        thread.join(60)
    restored = server.data.with_name("restored")
    restore(made.folder, restored, lambda text: None)
    problems = load.wrong + damage(restored)
    with running_server(restored) as again, closing(logged_in(again)) as call:
        for item in everything[-100:]:
            problems += lost(call, again.files_url, item)
    return problems


@click.command()
@click.option("--kills", default=25, show_default=True, help="How often the server is killed.")
@click.option("--seed", default=None, type=int, help="Repeat the times of an earlier run.")
def main(kills: int, seed: int | None) -> None:
    """Kill the server under load and look for what is lost."""
    seed = time.time_ns() % 2**32 if seed is None else seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="durability-") as folder:
        written, problems = run(Path(folder) / "data", kills, seed)
    for problem in problems:
        click.echo(f"LOST {problem}")
    took = time.monotonic() - began
    click.echo(f"{kills} kills, {written} tasks written, {len(problems)} lost, {took:.0f} s (seed {seed})")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
