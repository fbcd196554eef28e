"""Connections as hostile and as ordinary clients use them: limits, time-outs, who may keep one open."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from clearml_localserver.pytest_plugin import COMMAND, ClearmlServer, running_server

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

LIMITS = {
    "HEADER_TIMEOUT_S": "1",
    "BODY_TIMEOUT_S": "1",
    "WRITE_TIMEOUT_S": "1",
    "IDLE_TIMEOUT_S": "2",
    "MAX_CONNECTIONS_PER_ADDRESS": "30",
}
PATIENCE_S = 15


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    """A server whose time-outs and connection limit a test reaches."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setenv(f"LOCALSERVER_{name}", value)
        with running_server(tmp_path_factory.mktemp("impatient") / "data") as server:
            yield server


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE_S) as link:
        yield link


def answer(link: socket.socket) -> bytes:
    """Return what the server sends until it closes the connection."""
    found = b""
    while piece := link.recv(65536):
        found += piece
    return found


@pytest.mark.parametrize("service", ["api_url", "web_url", "files_url"])
@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000_000, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 1_000_000, 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /" + b"x" * 20_000_000, 414),
        (b"nonsense\r\n\r\n", 400),
    ],
    ids=["header", "endless header", "101 headers", "a million headers", "address", "endless address", "no HTTP"],
)
def test_what_is_too_large_is_refused(
    clearml_server: ClearmlServer, service: str, request_head: bytes, status: int
) -> None:
    with connected(getattr(clearml_server, service)) as link:
        link.sendall(request_head)
        assert answer(link).startswith(b"HTTP/1.1 %d " % status)


def test_an_address_that_is_too_long_is_answered_with_a_page(clearml_server: ClearmlServer) -> None:
    path = "/compare?ids=" + ",".join(["0" * 32] * 10_000)
    replies = []
    for url in (clearml_server.web_url, clearml_server.api_url):
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=30)) as link:
            link.request("GET", path)
            reply = link.getresponse()
            replies.append((reply.status, reply.headers["Content-Type"], reply.read().decode()))
    (status, kind, page), (_, api_kind, _) = replies
    assert (status, kind, api_kind) == (414, "text/html; charset=utf-8", "text/plain; charset=utf-8")
    assert "more than 65,536 bytes" in page and "2 to 50 are compared" in page
    [style] = re.findall(r'href="(/static/app.css)"', page)
    assert httpx.get(clearml_server.web_url + style).status_code == 200


def test_a_trailer_is_a_header_too(clearml_server: ClearmlServer) -> None:
    head = b"POST /debug.ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    with connected(clearml_server.api_url) as link, contextlib.suppress(ConnectionError):
        link.sendall(head + b"X: " + b"x" * 5_000_000)
        answer(link)
    assert httpx.get(f"{clearml_server.api_url}/debug.ping").status_code == 200


def test_a_body_in_tiny_chunks_is_no_header(clearml_server: ClearmlServer) -> None:
    chunks = b"".join(b"1\r\n \r\n" for _ in range(50_000))
    head = b"POST /debug.ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(clearml_server.api_url) as link:
        link.sendall(head + chunks + b"0\r\n\r\n")
        assert answer(link).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(clearml_server: ClearmlServer) -> None:
    asked = b"".join(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"debug.ping", b"no.where"))
    with connected(clearml_server.api_url) as link:
        link.sendall(asked * 3 + b"GET /debug.ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        found = answer(link)
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404"] * 3 + [b"200"]


def test_who_sends_very_many_requests_at_once_is_let_go(clearml_server: ClearmlServer) -> None:
    """A queued request costs kilobytes and needs no key: ten connections cost a gigabyte and stalls of seconds."""
    asked = b"GET /debug.ping HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    with connected(clearml_server.api_url) as link:
        link.sendall(asked)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            found = answer(link)
    assert found.count(b"HTTP/1.1 200 ") < 100
    metrics = httpx.get(f"{clearml_server.api_url}/metrics").text
    assert 'reason="status 429"' in metrics


def test_a_client_that_goes_with_requests_unanswered_is_no_fault(clearml_server: ClearmlServer) -> None:
    """The server's log is looked at after each test: a write to a connection that is gone was a traceback there."""
    asked = b"GET /debug.ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for end in (b"", b"nonsense\r\n\r\n", b"GET /" + b"x" * 70_000):
        with connected(clearml_server.api_url) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
            link.sendall(asked * 3 + end)
    assert httpx.get(f"{clearml_server.api_url}/debug.ping").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /debug.ping HT",
        b"GET /debug.ping HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST /auth.login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        b"GET /debug.ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /debug.ping HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n",
    ],
    ids=["nothing", "half a line", "half a header", "half a body", "one request", "a request and a blank line"],
)
def test_a_connection_that_stands_still_is_closed(impatient: ClearmlServer, sent: bytes) -> None:
    with connected(impatient.api_url) as link:
        link.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            answer(link)


def test_a_header_that_comes_in_drops_is_closed(impatient: ClearmlServer) -> None:
    with connected(impatient.api_url) as link, pytest.raises(OSError):
        link.sendall(b"GET /debug.ping HTTP/1.1\r\n")
        for _ in range(PATIENCE_S * 5):
            link.sendall(b"a: b\r\n")
            time.sleep(0.2)
        pytest.fail("still open")  # pytest's own exception is no OSError


def test_a_body_that_comes_in_drops_is_closed(impatient: ClearmlServer) -> None:
    """Whoever needs no key for it could else hold every connection for days."""
    with connected(impatient.api_url) as link, pytest.raises(OSError):
        link.sendall(b"POST /auth.login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n")
        for _ in range(PATIENCE_S * 5):
            link.sendall(b" ")
            time.sleep(0.2)
        pytest.fail("still open")  # pytest's own exception is no OSError


def test_a_client_that_does_not_read_its_answer_is_closed(impatient: ClearmlServer) -> None:
    token = httpx.get(f"{impatient.api_url}/auth.login", auth=impatient.credentials).json()["data"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=impatient.api_url, headers=headers, timeout=30) as client:
        large = {"name": "large", "type": "testing", "comment": "x" * 16_000_000}
        task = client.post("/v2.23/tasks.create", json=large).json()["data"]["id"]
    with connected(impatient.api_url) as link:
        body = b'{"task":"%s"}' % task.encode()
        head = f"POST /tasks.get_by_id HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        link.sendall(head.encode() + body)
        time.sleep(4)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            found = answer(link)
        assert len(found) < 16_000_000


def test_unread_answers_have_a_limit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 30_000_000
    monkeypatch.setenv("LOCALSERVER_MAX_UNSENT_BYTES", str(limit))
    with running_server(tmp_path / "data") as server, contextlib.ExitStack() as many:
        api = many.enter_context(contextlib.closing(ApiClient(server.api_url, server.credentials)))
        for number in range(6):
            api("tasks.create", name=f"large {number}", type="testing", comment="x" * 4_000_000)
        head = f"POST /tasks.get_all HTTP/1.1\r\nAuthorization: {api.http.headers['Authorization']}\r\n"
        readers = [many.enter_context(connected(server.api_url)) for _ in range(5)]
        for reader in readers:
            reader.sendall(head.encode() + b"Content-Length: 2\r\n\r\n{}")
        ended = 0
        deadline = time.monotonic() + PATIENCE_S
        while ended < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
            told = httpx.get(f"{server.api_url}/metrics").text
            found = re.search(r'refused_total\{reason="unread answers"\} (\d+)', told)
            ended = int(found[1]) if found else 0
        assert ended >= 3
        held = re.search(r"^localserver_unsent_bytes (\S+)", told, re.MULTILINE)
        assert held and 0 < float(held[1]) <= limit


def test_large_bodies_have_a_limit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVER_MAX_BODY_BYTES", "300000")
    monkeypatch.setenv("LOCALSERVER_MAX_BODIES_BYTES", "300000")
    with running_server(tmp_path / "data") as server, contextlib.ExitStack() as opened:
        api = opened.enter_context(contextlib.closing(ApiClient(server.api_url, server.credentials)))
        large = b'{"passed_over":"' + b"x" * 250_000 + b'"}'
        head = f"POST /tasks.get_all HTTP/1.1\r\nAuthorization: {api.http.headers['Authorization']}\r\n"
        deadline = time.monotonic() + PATIENCE_S
        status = 200
        while status != 429 and time.monotonic() < deadline:  # the two may arrive in the other order
            with connected(server.api_url) as link:
                link.sendall(head.encode() + b"Content-Length: 290000\r\n\r\n" + large)
                time.sleep(0.5)
                refused = api.http.post("/tasks.get_all", content=large)
                status = refused.status_code
                assert api.send("tasks.get_all", name="small").status == 200
        assert (status, refused.headers.get("Retry-After")) == (429, "2")
        while (status := api.http.post("/tasks.get_all", content=large).status_code) == 429:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert status == 200


def test_idle_connections_shut_nobody_out(impatient: ClearmlServer) -> None:
    with contextlib.ExitStack() as many:
        for _ in range(200):
            many.enter_context(connected(impatient.api_url))
        assert httpx.get(f"{impatient.api_url}/debug.ping").status_code == 200
        assert httpx.get(f"{impatient.web_url}/").status_code == 200


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"X-ClearML-Client": "clearml-2.1.12", "User-Agent": "python-requests/2.32"}, False),
        ({"X-Trains-Client": "clearml-1.16.5"}, False),
        ({"User-Agent": "python-requests/2.32"}, False),
        ({"X-ClearML-Agent": "api-1.9.2", "User-Agent": "python-requests/2.31"}, True),
        ({"User-Agent": "Mozilla/5.0"}, True),
        ({}, True),
    ],
)
@pytest.mark.parametrize("service", ["api_url", "web_url", "files_url"])
def test_only_clients_that_share_connections_lose_theirs(
    clearml_server: ClearmlServer, service: str, headers: dict[str, str], kept: bool
) -> None:
    reply = httpx.get(getattr(clearml_server, service) + "/", headers=headers)
    assert (reply.headers.get("Connection") != "close") == kept


FORKS = """
import multiprocessing
from clearml import Task

WORKERS, ROUNDS = 4, 10
forking = multiprocessing.get_context("fork")
together = forking.Barrier(WORKERS)
made = {}

def read(id):
    together.wait(30)
    return Task.get_task(task_id=id).name == made[id]

if __name__ == "__main__":
    Task.init("forks", "parent", auto_connect_frameworks=False)
    for number in range(WORKERS):
        task = Task.create("forks", f"task {number}")
        made[task.id] = task.name
    results = []
    for _ in range(ROUNDS):
        Task.get_task(task_id=task.id)  # leaves a connection behind, where the server lets it
        with forking.Pool(WORKERS) as pool:
            results += pool.map_async(read, list(made), chunksize=1).get(30)
            pool.close()  # the end of the block would send SIGTERM, on which the SDK's processes do not always end
            pool.join()
    print("wrong:", results.count(False), "of", len(results))
"""


def test_forked_processes_of_the_sdk_get_their_own_answers(clearml_server: ClearmlServer) -> None:
    ran = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=150, check=False)
    assert "wrong: 0 of 40" in ran.stdout, ran.stdout + ran.stderr


def test_like_a_genuine_server_an_sdks_connection_is_kept_and_an_empty_queue_answered_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVER_SIGN_OF_LIFE_S", "0.05")
    with running_server(tmp_path / "data", command=(*COMMAND, "--like-genuine")) as server:
        address = urlsplit(server.api_url)
        with closing(HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_S)) as connection:
            sockets = set()
            for _ in range(2):
                connection.request("GET", "/debug.ping", headers={"X-ClearML-Client": "clearml-2"})
                reply = connection.getresponse()  # the head and the body may come in pieces of their own
                assert (reply.status, bool(reply.read())) == (200, True)
                sockets.add(connection.sock)
            (link,) = sockets
            assert link is not None and answer(link) == b"", "it is closed once it is idle"
        with closing(ApiClient(server.api_url, server.credentials)) as api:
            queue = api("queues.create", name="empty")["id"]
        poll = f"{server.api_url}/queues.get_next_task"
        said = httpx.post(poll, json={"queue": queue}, auth=server.credentials, timeout=PATIENCE_S).content
        assert said.startswith(b"{"), "one that waits is sent white space first"
