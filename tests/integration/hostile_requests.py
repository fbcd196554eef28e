"""Requests that once stopped a server, or could: each a function of `World` under a name that says what it is.

`test_loop_stall.py` sends them one at a time. Add yours with `@hostile("what it is")`: make what it needs, then ask.
What the server answers is the business of other tests; here it must only go on answering everybody else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from localserver.pytest_plugin import ClearmlServer
from tests.api_client import ApiClient


class World:
    """A server with clients of its three services."""

    def __init__(self, server: ClearmlServer) -> None:
        self.server = server
        self.api = ApiClient(server.api_url, server.credentials)
        self.web = httpx.Client(base_url=server.web_url, headers={"Accept": "text/html"}, timeout=60, trust_env=False)
        self.files = httpx.Client(base_url=server.files_url, timeout=60, trust_env=False)
        self.files.headers["Authorization"] = self.api.http.headers["Authorization"]

    def close(self) -> None:
        for client in (self.api, self.web, self.files):
            client.close()

    def task(self, name: str = "hostile", **fields: Any) -> str:
        """Make a task and return its id."""
        return str(self.api("tasks.create", name=name, type="testing", **fields)["id"])

    def report(self, events: list[dict[str, Any]]) -> None:
        """Report events as the SDK does."""
        content = "\n".join(json.dumps(event) for event in events)
        self.api.http.post(
            "/v2.23/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"}
        )

    def post(self, endpoint: str, content: bytes) -> httpx.Response:
        """Call an endpoint with a body as it is."""
        return self.api.http.post(f"/v2.23/{endpoint}", content=content)


HOSTILE: dict[str, Callable[[World], object]] = {}


def hostile(name: str) -> Callable[[Callable[[World], object]], Callable[[World], object]]:
    """Add a function to `HOSTILE`."""

    def add(function: Callable[[World], object]) -> Callable[[World], object]:
        HOSTILE[name] = function
        return function

    return add


@hostile("a body of a million empty lists")
def many_lists(world: World) -> None:
    world.post("tasks.get_all", b'{"id":[' + b"[]," * 1_000_000 + b"[]]}")


@hostile("a body of 60 MB of empty lists")
def very_many_lists(world: World) -> None:
    world.post("tasks.get_all", b'{"id":[' + b"[]," * 20_000_000 + b"[]]}")


@hostile("a body with a million fields")
def many_fields(world: World) -> None:
    world.post("tasks.get_all", b"{" + b",".join(b'"f%d":1' % n for n in range(1_000_000)) + b"}")


@hostile("a body nested 100,000 deep")
def deep_body(world: World) -> None:
    world.post("tasks.get_all", b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@hostile("a batch of 200,000 events of an unknown task")
def many_lines(world: World) -> None:
    world.report([{"type": "log", "task": "nobody", "msg": "x"}] * 200_000)


@hostile("a batch of 20 million empty lines")
def empty_lines(world: World) -> None:
    world.api.http.post(
        "/v2.23/events.add_batch",
        content=b"{}\n" * 20_000_000,
        headers={"Content-Type": "application/json-lines"},
    )


@hostile("a reply of 40 MB")
def large_reply(world: World) -> None:
    if not hasattr(world, "large"):
        world.large = [world.task(configuration={"c": {"value": "x" * 1_000_000}}) for _ in range(40)]  # type: ignore[attr-defined]
    world.api("tasks.get_all", id=world.large, only_fields=["id", "configuration"])  # type: ignore[attr-defined]


@hostile("a reply of 400,000 numbers in one document")
def many_values_in_a_reply(world: World) -> None:
    values = {f"p{n}": {"section": "Args", "name": f"p{n}", "value": "1"} for n in range(20_000)}
    task = world.task(hyperparams={"Args": values})
    world.api("tasks.get_by_id", task=task)


@hostile("a header of 20 MB")
def long_header(world: World) -> None:
    address = urlsplit(world.server.api_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request("GET", "/debug.ping", headers={"X-Long": "x" * 20_000_000})
        connection.getresponse()
    except OSError:  # refused before it was all sent
        pass
    finally:
        connection.close()


@hostile("a million headers")
def many_headers(world: World) -> None:
    address = urlsplit(world.server.api_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.putrequest("GET", "/debug.ping")
        connection.send(b"a: b\r\n" * 1_000_000 + b"\r\n")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def upload(world: World, body: bytes) -> None:
    """Send the body of an upload, whatever it is."""
    world.files.post("/", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})


def part(name: str, content: bytes = b"x") -> bytes:
    """Return one part of an upload."""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'
    return head.encode() + content + b"\r\n"


@hostile("an upload below 1,500 folders")
def deep_upload(world: World) -> None:
    upload(world, part("d/" * 1500 + "f") + b"--b--")


@hostile("an upload into 10,000 folders, and one into 1,000")
def wide_upload(world: World) -> None:
    for count in (100, 10):
        upload(world, b"".join(part(f"wide/{number}/" + "d/" * 98 + "f") for number in range(count)) + b"--b--")
    world.files.post("/delete_many", json={"files": ["wide"]})


@hostile("an upload of 10,000 parts")
def many_parts(world: World) -> None:
    upload(world, b"".join(part(str(number)) for number in range(10_000)) + b"--b--")


@hostile("a part's header of 60 MB")
def endless_part_header(world: World) -> None:
    upload(world, b"--b\r\nX: " + b"x" * 60_000_000)


@hostile("an upload of 30 MB that is almost the boundary everywhere")
def almost_boundaries(world: World) -> None:
    upload(world, part("almost", b"\r\n--" * 6_000_000) + b"--b--")


@hostile("100,000 files to delete that are not there")
def many_deletions(world: World) -> None:
    world.files.post("/delete_many", json={"files": [f"folder/{number}" for number in range(100_000)]})


@hostile("150 downloads at once that are not read")
def unread_downloads(world: World) -> None:
    upload(world, part("large", b"x" * 30_000_000) + b"--b--")
    unlimited = httpx.Limits(max_connections=None)
    with contextlib.ExitStack() as opened:
        client = opened.enter_context(
            httpx.Client(
                base_url=world.server.files_url, headers=world.files.headers, limits=unlimited, trust_env=False
            )
        )
        for _ in range(150):
            opened.enter_context(client.stream("GET", f"{world.server.files_url}/large"))
