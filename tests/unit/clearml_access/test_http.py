"""Calls by plain HTTP: what is sent again, what is not, and what a person is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clearml_access import http
from clearml_access.api import ALREADY_EXISTS, Api
from clearml_access.credentials import Secret, Server
from clearml_access.errors import CallRefusedError, CredentialsError, ServerUnreachableError


class FakeServer:
    """Answers with what it was given, in order, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, object]]] = {
            "auth.login": [(200, data(token=f"T{n}")) for n in range(9)]
        }
        self.asked: list[tuple[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint = self.path.rsplit("/", 1)[1]
                server.asked.append((endpoint, self.headers.get("Authorization", "")))
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body = server.answers[endpoint].pop(0)
                if status == 0:  # no answer
                    self.close_connection = True
                    return
                raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.send_header("Set-Cookie", "session=stolen")
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def named(self, endpoint: str) -> int:
        return [name for name, _ in self.asked].count(endpoint)


def data(**found: object) -> dict[str, object]:
    return {"meta": {"result_code": 200}, "data": found}


def refusal(message: str, subcode: int = 0) -> dict[str, object]:
    return {"meta": {"result_msg": message, "result_subcode": subcode}, "data": {}}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with closing(FakeServer()) as made:
        yield made


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSES_S", (0.0, 0.0))


def api(url: str, **more: object) -> Api:
    return Api.of(Server(url, "", "", Secret("ACCESSKEY"), Secret("hush"), "the test", **more), direct=True)


def test_one_login_serves_many_calls_and_an_aged_token_is_renewed(server):
    server.answers["tasks.get_all"] = [(200, data(tasks=[])), (401, refusal("expired")), (200, data(tasks=[1]))]
    calls = api(server.url)
    assert calls.call("tasks.get_all") == {"tasks": []}
    assert calls.call("tasks.get_all") == {"tasks": [1]}
    assert server.named("auth.login") == 2
    assert [word for name, word in server.asked if name == "tasks.get_all"] == ["Bearer T0", "Bearer T0", "Bearer T1"]


def test_a_given_token_is_used_as_it_is(server):
    server.answers["tasks.get_all"] = [(200, data(tasks=[]))]
    Api.of(Server(server.url, "", "", Secret(""), Secret(""), "x", token="GIVEN"), direct=True).call("tasks.get_all")
    assert server.asked == [("tasks.get_all", "Bearer GIVEN")]


def test_a_refused_key_is_named_by_its_first_letters_only(server):
    server.answers["auth.login"] = [(401, refusal("invalid credentials"))]
    with pytest.raises(CredentialsError, match=r"refuses the access key ACCE… from the test: invalid") as caught:
        api(server.url).call("tasks.get_all")
    assert "hush" not in str(caught.value)


def test_an_error_answer_names_call_server_and_reason(server):
    server.answers["queues.create"] = [(400, refusal("no name", 12))]
    with pytest.raises(CallRefusedError, match=r"queues\.create was refused by http://127.*: no name") as caught:
        api(server.url).call("queues.create")
    assert caught.value.subcode == 12


@pytest.mark.parametrize(
    ("endpoint", "answer", "tries"),
    [
        ("tasks.get_all", (0, ""), 3),  # an answer that was lost: asked again
        ("tasks.create", (0, ""), 1),  # it may have been done
        ("tasks.get_all", (502, "away"), 3),
        ("tasks.create", (502, "away"), 1),
        ("tasks.create", (503, "away"), 3),  # it was not done
        ("tasks.create", (429, "slowly"), 3),
    ],
)
def test_what_may_be_repeated_is_and_nothing_else(server, endpoint, answer, tries):
    server.answers[endpoint] = [answer] * 5
    with pytest.raises(ServerUnreachableError, match="does not answer"):
        api(server.url).call(endpoint)
    assert server.named(endpoint) == tries


def test_a_server_that_comes_back_is_reached(server):
    server.answers["tasks.get_all"] = [(0, ""), (503, "soon"), (200, data(tasks=[]))]
    assert api(server.url).call("tasks.get_all") == {"tasks": []}


def test_a_web_page_is_not_an_api(server):
    server.answers["auth.login"] = [(200, "<html>")] * 3
    with pytest.raises(ServerUnreachableError, match="is not a ClearML API server"):
        api(server.url).call("tasks.get_all")


def answer_of(endpoint: str, **found: object) -> dict[str, object]:
    return {"meta": {"result_code": 200, "endpoint": {"name": endpoint}}, "data": found}


@pytest.mark.parametrize("other", [answer_of("queues.get_all", queues=[]), "<html>", {"data": {}}, []])
def test_the_answer_of_another_call_is_asked_for_again(server, other):
    server.answers["tasks.get_all"] = [(200, other), (200, answer_of("tasks.get_all", tasks=[1]))]
    assert api(server.url).call("tasks.get_all") == {"tasks": [1]}


def test_the_answer_of_another_call_is_an_error_where_the_call_may_have_been_done(server):
    server.answers["tasks.create"] = [(200, answer_of("queues.get_all", queues=[]))] * 2
    with pytest.raises(ServerUnreachableError, match=r"answered tasks\.create with the reply to queues\.get_all"):
        api(server.url).call("tasks.create")
    assert server.named("tasks.create") == 1


def test_a_forked_process_has_connections_of_its_own(server, monkeypatch):
    server.answers["tasks.get_all"] = [(200, data(tasks=[]))] * 2
    sender = http.HttpSender(Server(server.url, "", "", Secret("A"), Secret("B"), "the test"), direct=True)
    sender.send("tasks.get_all", {})
    before = sender._opened()
    assert sender._opened() is before
    monkeypatch.setattr(http.os, "getpid", lambda: -1)
    sender.send("tasks.get_all", {})
    assert sender._opened() is not before


def test_a_task_waits_longer_for_its_server_than_a_command(server, monkeypatch):
    monkeypatch.setattr(http, "PATIENT_PAUSES_S", (0.0,) * 5)
    server.answers["tasks.get_all"] = [(0, "")] * 5 + [(200, data(tasks=[]))]
    given = Server(server.url, "", "", Secret("A"), Secret("B"), "the test", token="T")
    assert http.HttpSender(given, direct=True, patient=True).send("tasks.get_all", {})[0] == 200


def test_only_this_machines_own_server_is_said_to_be_started(server, monkeypatch, tmp_path):
    """Where another server is configured, the way to start ours is no help."""
    server.close()
    monkeypatch.setenv("CLEARML_PODS_STATE", str(tmp_path))
    for source, hint in (
        ("the test", f"curl {server.url}/debug.ping"),
        (str(tmp_path / "server/clearml.conf"), "./task server-up"),
    ):
        given = Server(server.url, "", "", Secret("A"), Secret("B"), source)
        with pytest.raises(ServerUnreachableError) as caught:
            Api.of(given, direct=True).call("tasks.get_all")
        assert caught.value.hint == hint


def test_nobody_there(server):
    server.close()
    with pytest.raises(ServerUnreachableError, match=r"does not answer: Connection refused"):
        api(server.url).call("tasks.create")


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "ftp://x"])
def test_what_is_no_address_is_named(url):
    with pytest.raises(ServerUnreachableError, match="does not answer"):
        api(url).call("tasks.get_all")


def test_two_that_make_a_queue_at_once_both_go_on(server):
    server.answers["queues.get_all"] = [(200, data(queues=[])), (200, data(queues=[{"id": "q", "name": "other"}]))]
    server.answers["queues.create"] = [(400, refusal("exists", ALREADY_EXISTS)), (200, data(id="q"))]
    assert api(server.url).ensure_queue("pods") is False
    assert api(server.url).ensure_queue("pods") is True
