"""Requests that once stopped a server, or could: each a function of `World` under a name that says what it is.

`test_loop_stall.py` sends them one at a time. Add yours with `@hostile("what it is")`: make what it needs, then ask.
What the server answers is the business of other tests; here it must only go on answering everybody else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
from clearml_localserver.bulk_actions import MAX_IDS
from clearml_localserver.pytest_plugin import ClearmlServer

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
        return str(self.api("tasks.create", name=name, **({"type": "testing"} | fields))["id"])

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


@hostile("one action for as many ids as a call takes")
def many_ids(world: World) -> None:
    assert world.api.send("tasks.archive_many", ids=[f"{n:032x}" for n in range(MAX_IDS + 1)]).status == 400
    world.api("tasks.archive_many", ids=[f"{n:032x}" for n in range(MAX_IDS)])


@hostile("a body of 60 MB of empty lists")
def very_many_lists(world: World) -> None:
    world.post("tasks.get_all", b'{"id":[' + b"[]," * 20_000_000 + b"[]]}")


@hostile("a body with a million fields")
def many_fields(world: World) -> None:
    world.post("tasks.get_all", b"{" + b",".join(b'"f%d":1' % n for n in range(1_000_000)) + b"}")


@hostile("a body nested 100,000 deep")
def deep_body(world: World) -> None:
    world.post("tasks.get_all", b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@hostile("text of 15 MB that is not JSON, and of 60 MB that is too long")
def no_json(world: World) -> None:
    for unit, count in (("x", 15_000_000), ("1" * 299 + "x", 50_000), ("\\n", 7_500_000), ("x", 60_000_000)):
        for end in ("", '"]'):
            world.post("tasks.get_all", b'{"id":"' + (unit * count + end).encode())


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


@hostile("8 clients that each send 5,000 events at once")
def many_batches(world: World) -> None:
    task = world.task()
    event = {"type": "training_stats_scalar", "task": task, "metric": "m", "variant": "v", "value": 1.5}
    content = "\n".join(json.dumps(event | {"iter": number}) for number in range(5_000))

    def send(number: int) -> None:
        world.api.http.post(
            "/v2.23/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"}
        )

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(send, range(8)))


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


def read(world: World, *paths: str) -> None:
    """Ask for pages."""
    for path in paths:
        world.web.get(path)


def controller(world: World, graph: object) -> str:
    """Make a pipeline's controller whose stored graph is this."""
    stored = {"name": "Pipeline", "value": graph if isinstance(graph, str) else json.dumps(graph)}
    return world.task(type="controller", system_tags=["pipeline"], configuration={"Pipeline": stored})


def waiting_for(count: int, most: int) -> dict[str, object]:
    """Return the graph of steps that each wait for the ones before them."""
    return {f"s{i}": {"parents": [f"s{j}" for j in range(max(0, i - most), i)]} for i in range(count)}


@hostile("consoles with lines of a megabyte and of codes alone")
def long_console_lines(world: World) -> None:
    units = ["y", "\x1b[1m", "\x1b[;", "\x1b]", "a\r", "http://", "<", "\n"]
    task = world.task()
    world.report([{"type": "log", "task": task, "msg": unit * (1_000_000 // len(unit))} for unit in units])
    world.report([{"type": "log", "task": task, "msg": "\x1b[31ma\x1b[0mb" * 900} for _ in range(500)])
    read(world, *(f"/tasks/{task}/console{rest}" for rest in ("", "/lines?after=1", "/lines?before=9999999999999")))
    read(world, f"/tasks/{task}/console/text")


@hostile("graphs of up to 1,500 steps that wait for all before them")
def large_graphs(world: World) -> None:
    tasks = [controller(world, waiting_for(*size)) for size in ((40, 40), (200, 40), (400, 40), (1500, 40))]
    read(world, *(f"/tasks/{task}/pipeline" for task in tasks), "/", "/pipelines")


@hostile("a graph that is nested without end, and one of 5 MB")
def odd_graphs(world: World) -> None:
    tasks = [controller(world, {"a": {"parents": 1}}), controller(world, "[" * 2_000_000)]
    tasks.append(controller(world, {f"s{i}": {"parents": []} for i in range(150_000)}))
    read(world, *(f"/tasks/{task}/pipeline" for task in tasks), "/", "/pipelines")


@hostile("a task with 15,000 parameters and 5,000 tags")
def many_parameters(world: World) -> None:
    parameters = {f"p{n}": {"section": "Args", "name": f"p{n}", "value": "1", "type": "int"} for n in range(15_000)}
    task = world.task(hyperparams={"Args": parameters}, tags=[f"tag {n}" for n in range(5000)])
    read(world, f"/tasks/{task}/run", f"/tasks/{task}/parameters", "/projects/*")
    fields = {f"Args/p{n}": "2" for n in range(10_000)}
    headers = {"Sec-Fetch-Site": "same-origin"}
    world.web.post(f"/tasks/{task}/run", data=fields | {"name": "many parameters", "queue": "none"}, headers=headers)
    world.web.post(f"/tasks/{task}/run", content="a&" * 2_000_000, headers=headers)


@hostile("figures of 5 MB")
def large_figures(world: World) -> None:
    task = world.task()
    figure = json.dumps({"data": [{"type": "scattergl", "y": [0.123456789] * 400_000}], "layout": {}})
    for number in range(4):
        world.report(
            [{"type": "plot", "task": task, "metric": "m", "variant": str(number), "iter": 0, "plot_str": figure}]
        )
    read(world, f"/tasks/{task}/plots")


@hostile("figures of 15 MB with and without images")
def very_large_figures(world: World) -> None:
    task = world.task()
    trace = '{"data":[{"type":"scatter","y":[' + "0.5," * 3_900_000 + '1]}],"layout":{'
    for number, layout in enumerate(('"images":[{"source":"http://x/a.png"}]}}', "}}")):
        event = {"type": "plot", "task": task, "metric": "m", "variant": str(number), "iter": 0}
        world.report([event | {"plot_str": trace + layout}])
    read(world, f"/tasks/{task}/plots")


@hostile("a console with lines of 15 MB")
def huge_console_lines(world: World) -> None:
    task = world.task()
    for number in range(8):
        line = {"type": "log", "task": task, "msg": "some words " * 1_360_000, "timestamp": 1_700_000_000_000 + number}
        world.report([line])
    reply = world.api("events.get_task_log", task=task, batch_size=10_000)
    assert (reply["returned"], reply["total"], reply["more"]) == (5, 8, True)
    read(world, *(f"/tasks/{task}/console{rest}" for rest in ("", "/lines?after=1", "/text", "?q=wordsx")))


@hostile("a dataset of 300,000 files")
def many_files(world: World) -> None:
    listing = "File Name, File Size, Hash\n" + "".join(f"file {n}.csv, {n}, abcdef\n" for n in range(300_000))
    versions = {str(n): {"job_id": str(n), "parents": [str(n - 1)] if n else []} for n in range(5000)}
    stored = {"Dataset Content": listing, "Dataset Struct": json.dumps(versions)}
    task = world.task(
        type="data_processing",
        system_tags=["dataset"],
        configuration={name: {"name": name, "value": value} for name, value in stored.items()},
    )
    read(world, f"/tasks/{task}/dataset", f"/tasks/{task}/dataset?q=9", f"/tasks/{task}/parameters")


@hostile("a configuration of 15 MB, also on the page that edits it")
def large_configuration(world: World) -> None:
    task = world.task(configuration={"c": {"name": "c", "value": "some words of it\n" * 880_000}})
    read(world, *(f"/tasks/{task}{page}" for page in ("", "/parameters", "/edit", "/run")))
    world.api("tasks.get_by_id", task=task)


@hostile("scripts of 4 MB with addresses")
def many_addresses(world: World) -> None:
    for unit in ("http://", "https://a:b@c ", "://@", "x"):
        task = world.task(script={"diff": unit * (4_000_000 // len(unit)) + "://x@"})
        read(world, f"/tasks/{task}", f"/tasks/{task}/edit")
