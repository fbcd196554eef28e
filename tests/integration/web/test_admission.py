"""Which requests the web pages refuse, and log-in beyond loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from tests.api_client import ApiClient
from tests.integration.web.pages import Web, make_task, status_of

pytestmark = pytest.mark.integration


def test_every_answer_carries_the_safety_headers(web: Web) -> None:
    for path in ("/", "/nothing", "/static/app.css", "/tasks/x"):
        headers = web.http.get(path).headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")


def test_a_foreign_name_is_not_served(web: Web) -> None:
    assert "does not answer to the name" in web.get("/", status=421, headers={"Host": "evil.example"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_a_foreign_form_changes_nothing(web: Web, api: ApiClient, headers: dict[str, str]) -> None:
    task = make_task(api)
    reply = web.http.post(f"/tasks/{task}/archive", headers=headers)
    assert reply.status_code == 403
    assert "archived" not in api("tasks.get_by_id", task=task)["task"]["system_tags"]


def test_reading_an_actions_page_does_nothing(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    for name in ("clone", "archive", "enqueue"):
        web.get(f"/tasks/{task}/{name}")
    assert status_of(api, task) == "created"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCALSERVER_HOST", "0.0.0.0")
        with running_server(tmp_path_factory.mktemp("open") / "data") as server:
            yield server


def log_in(web: Web, server: ClearmlServer, **form: str) -> httpx.Response:
    access_key, secret_key = server.credentials
    return web.post("/login", **({"access_key": access_key, "secret_key": secret_key} | form))


def test_beyond_loopback_only_liveness_statics_and_log_in_answer(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    assert "Access key" in web.get("/")
    assert "Access key" in web.get("/login")
    web.get("/static/app.css")
    for path in ("/projects", "/tasks/x", "/queues", "/tasks/x/console/lines", "/projects/x/experiments/y/output/log"):
        reply = web.http.get(path)
        assert reply.status_code == 303 and reply.headers["Location"].startswith("/login?next=%2F"), path
    assert web.http.get("/files/x").status_code == 401
    assert web.post("/queues", name="a queue").status_code == 401
    assert "a queue" not in json.dumps(ApiClient(open_server.api_url, open_server.credentials)("queues.get_all"))


def test_a_session_begins_with_the_keys_and_ends_with_log_out(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    assert log_in(web, open_server, secret_key="wrong").status_code == 401
    assert "do not match" in log_in(web, open_server, access_key="").text
    reply = log_in(web, open_server, next="/queues")
    assert (reply.status_code, reply.headers["Location"]) == (303, "/queues")
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
    assert "Log out" in web.get("/queues")
    token = web.http.cookies["localserver_session"]
    assert web.post("/logout").status_code == 303
    web.http.cookies.set("localserver_session", token)
    assert web.http.get("/queues").status_code == 303, "the token itself has ended"


def test_the_session_is_no_key_to_the_api(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    log_in(web, open_server)
    token = web.http.cookies["localserver_session"]
    reply = httpx.get(f"{open_server.api_url}/queues.get_all", cookies={"localserver_session": token}, trust_env=False)
    assert reply.status_code == 401


def test_log_in_from_a_foreign_page_is_refused(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    access_key, secret_key = open_server.credentials
    reply = web.http.post(
        "/login", data={"access_key": access_key, "secret_key": secret_key}, headers={"Origin": "http://evil.example"}
    )
    assert reply.status_code == 403


def test_a_secret_never_appears_on_a_page(web: Web, clearml_server: ClearmlServer, tmp_path: Path) -> None:
    secret = clearml_server.credentials[1]
    for path in ("/", "/workers", "/queues", "/projects"):
        assert secret not in web.get(path)
