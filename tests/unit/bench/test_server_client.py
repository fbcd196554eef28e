"""The client of the server benchmarks: it reads whole answers, keeps a connection or not, and fails on errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.declaration import BenchmarkError
from bench.server_client import LightClient
from bench.server_load import drive

LARGE = "x" * 300_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: set[tuple[str, int]]

    def do_POST(self) -> None:
        self.connections.add(self.client_address)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        endpoint = self.path.rpartition("/")[2]
        replies = {
            "auth.login": '{"data": {"token": "t0k3n"}}',
            "large": f'{{"data": {{"text": "{LARGE}"}}}}',
            "sent": f'{{"data": {{"lines": {len(body.splitlines())}, "type": "{self.headers["Content-Type"]}"}}}}',
        }
        found = replies.get(endpoint)
        if endpoint != "auth.login" and self.headers["Authorization"] != "Bearer t0k3n":
            found = None
        answer = (found or '{"meta": {"result_msg": "no such endpoint"}}').encode()
        self.send_response(200 if found else 400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def api_url() -> Iterator[str]:
    Handler.connections = set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("one_call", "connections"), [(False, 1), (True, 4)])
def test_calls_over_kept_and_own_connections(api_url: str, one_call: bool, connections: int) -> None:
    client = LightClient(api_url, ("key", "secret"), one_call=one_call)
    assert client.call("large", {}) == {"text": LARGE}
    assert client.call("sent", [{"a": 1}, {"b": 2}]) == {"lines": 2, "type": "application/json-lines"}
    assert client.call("sent", {"a": 1}) == {"lines": 1, "type": "application/json"}
    client.close()
    assert len(Handler.connections) == connections


def test_a_refused_call_names_the_answer(api_url: str) -> None:
    client = LightClient(api_url, ("key", "secret"))
    with pytest.raises(BenchmarkError, match="no such endpoint"):
        client.call("unknown", {})
    client.close()


@pytest.mark.parametrize(("own_connections", "most"), [(False, 3), (True, 1_000_000)])
def test_many_clients_call_from_a_process_of_their_own(api_url: str, own_connections: bool, most: int) -> None:
    client = LightClient(api_url, ("key", "secret"), one_call=own_connections)
    Handler.connections.clear()
    requests = [client.request("large", {}), client.request("sent", {"a": 1})]
    found = drive(api_url, [requests] * 3, 0.05, own_connections=own_connections)
    assert found["count"] >= 1
    assert found["p99"] >= found["median"] > 0
    assert 3 <= len(Handler.connections) <= most
    client.close()


def test_a_refused_call_of_many_clients_names_the_answer(api_url: str) -> None:
    client = LightClient(api_url, ("key", "secret"))
    with pytest.raises(BenchmarkError, match="no such endpoint"):
        drive(api_url, [[client.request("unknown", {})]], 0.05)
    client.close()
