"""A request that waits: what an endpoint is told of time and caller at each attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
from clearml_localserver import bootstrap
from clearml_localserver.auth import Identity
from clearml_localserver.registry import Context, Data
from clearml_localserver.request_schemas import RequestSchemas
from clearml_localserver.settings import Settings
from clearml_localserver.store import Store
from clearml_localserver.times import iso
from clearml_localserver.topics import Topics
from clearml_localserver.wire import Api
from starlette.requests import Request
from starlette.types import Message

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


class World:
    """An API over a database of its own, with a clock that stands until it is told to go on."""

    def __init__(self, api: Api, own: Identity) -> None:
        self.api = api
        self.own = own
        self.queue = ""

    async def call(self, name: str, /, **data: object) -> Data:
        return await self.api.call(name, data, self.own)

    async def poll(self) -> asyncio.Task[Data]:
        waiting = asyncio.create_task(self.call("queues.get_next_task", queue=self.queue))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        return waiting


def play(folder: Path, scene: Callable[[World, Callable[[float], None]], Awaitable[None]], renew_s: float = 60) -> None:
    """Run `scene`, which is given the world and a function that lets seconds pass."""
    passed = [0.0]

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    async def run() -> None:
        store = Store(folder / "server.sqlite")
        try:
            auth = await bootstrap.load_auth(store, bootstrap.Credentials("key", "secret"))
            own = replace(auth.own, session="of the worker")
            signals = Topics()
            store.on_commit(signals.fire_from_thread)
            context = Context(Settings(folder, poll_wait_s=30), auth)
            clock = lambda: BEGIN + timedelta(seconds=passed[0])  # noqa: E731
            world = World(Api(store, RequestSchemas({}), context, signals, clock=clock, renew_s=renew_s), own)
            world.queue = (await world.call("queues.create", name="waited for"))["id"]
            await world.call("workers.register", worker="w", queues=[world.queue])
            await scene(world, go_on)
        finally:
            store.close()

    asyncio.run(run())


def poll_request(token: str, queue: str) -> Request:
    """Return a request of a worker that stays connected."""
    body = [{"type": "http.request", "body": b'{"queue":"%s"}' % queue.encode()}]

    async def receive() -> Message:
        if body:
            return body.pop()
        return await asyncio.Future()

    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/queues.get_next_task", "query_string": b"", "headers": headers}
    return Request(scope, receive)


def test_a_task_is_handed_out_when_it_is_and_not_when_the_poll_began(tmp_path: Path) -> None:
    async def scene(world: World, go_on: Callable[[float], None]) -> None:
        waiting = await world.poll()
        go_on(130)
        task = (await world.call("tasks.create", name="a task", type="testing"))["id"]
        await world.call("tasks.enqueue", task=task, queue=world.queue)
        assert (await waiting)["entry"]["task"] == task
        ((handed_out, waited),) = await world.api.store.read(
            lambda tx: tx.rows("SELECT handed_out.time, waited FROM handed_out, queue_wait")
        )
        assert handed_out == iso(BEGIN + timedelta(seconds=130))
        assert waited == 0

    play(tmp_path, scene)


def test_a_worker_that_waits_shows_that_it_lives(tmp_path: Path) -> None:
    async def scene(world: World, go_on: Callable[[float], None]) -> None:
        waiting = await world.poll()
        go_on(900)
        await asyncio.sleep(0.2)
        listed = (await world.call("workers.get_all"))["workers"]
        assert [worker["last_activity_time"] for worker in listed] == [iso(BEGIN + timedelta(seconds=900))]
        assert not waiting.done()
        waiting.cancel()

    play(tmp_path, scene, renew_s=0.1)


def test_a_waiting_request_ends_with_its_access_key(tmp_path: Path) -> None:
    async def scene(world: World, go_on: Callable[[float], None]) -> None:
        auth = world.api.context.auth
        token = auth.issue(world.own)
        waiting = asyncio.create_task(world.api.handle(poll_request(token, world.queue)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        del auth.keys["key"]
        response = await asyncio.wait_for(waiting, 5)
        assert response.status_code == 401
        assert b"session ended" in response.body

    play(tmp_path, scene, renew_s=0.1)
