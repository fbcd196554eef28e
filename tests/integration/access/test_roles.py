"""Roles on a live server: who may call which endpoint, read files and use the web pages."""

from __future__ import annotations

import re
from uuid import uuid4

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.registry import ENDPOINTS

from tests.api_client import TIMEOUT_S, ApiClient
from tests.integration.access.clients import new_key

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", sorted(name for name, item in ENDPOINTS.items() if not item.needs_auth))
def test_who_shows_no_key_sends_no_large_body(server: ClearmlServer, name: str) -> None:
    body = b'{"verbose":"%s"}' % (b"x" * 100_000)
    reply = httpx.post(f"{server.api_url}/{name}", content=body, auth=server.credentials, timeout=TIMEOUT_S)
    assert (reply.status_code, reply.json()["meta"]["result_msg"]) == (413, "Request body above 65536 bytes")


@pytest.mark.parametrize("path", ["/login", "/logout", "/queues", "/tasks/x/archive", "/nowhere"])
def test_who_has_not_logged_in_sends_no_large_form(server: ClearmlServer, path: str) -> None:
    form = {"access_key": "x" * 100_000}
    reply = httpx.post(f"{server.web_url}{path}", data=form, headers={"Origin": server.web_url}, timeout=TIMEOUT_S)
    assert reply.status_code == 413


def test_every_endpoint_refuses_those_who_may_not(server: ClearmlServer, admin: ApiClient) -> None:
    keys = {role: new_key(admin, role=role) for role in ("guest", "user", "admin")}
    refused: dict[str, set[str]] = {role: set() for role in keys}
    with httpx.Client(base_url=server.api_url, timeout=TIMEOUT_S, trust_env=False) as http:
        for role, key in keys.items():
            for name in ENDPOINTS:
                reply = http.post(f"/v2.34/{name}", json={}, auth=key)
                meta = reply.json()["meta"] if reply.headers["content-type"] == "application/json" else {}
                if meta.get("result_subcode") == 20:
                    assert (reply.status_code, "not allowed for role" in meta["result_msg"]) == (403, True)
                    refused[role].add(name)
    for role, names in refused.items():
        for name, item in ENDPOINTS.items():
            ranks = ["guest", "user", "admin"]
            may = not item.needs_auth or ranks.index(role) >= ranks.index(item.role)
            assert (name not in names) == may, (role, name)
    assert {"tasks.create", "tasks.enqueue", "queues.get_next_task", "auth.create_user"} <= refused["guest"]
    assert refused["admin"] == set()


def test_a_guest_reads_and_changes_nothing(server: ClearmlServer, admin: ApiClient, guest: ApiClient) -> None:
    task = admin("tasks.create", name="a task", type="training")["id"]
    assert guest("tasks.get_by_id", task=task)["task"]["name"] == "a task"
    assert guest("tasks.get_all_ex", id=[task], scroll_id=None, size=1)["scroll_id"]
    assert guest("users.get_current_user")["user"]["role"] == "guest"
    assert guest("users.set_preferences", preferences={"a": 1})["updated"] == 1
    for name, data in {
        "tasks.edit": {"task": task, "name": "changed"},
        "tasks.delete": {"task": task, "force": True},
        "auth.create_credentials": {},
        "users.update": {"user": guest("users.get_current_user")["user"]["id"], "name": "changed"},
        "queues.create": {"name": uuid4().hex},
    }.items():
        assert guest.send(name, **data).error[:2] == (403, 20), name
    assert admin("tasks.get_by_id", task=task)["task"]["name"] == "a task"


def test_a_guest_reads_files_and_writes_none(server: ClearmlServer, admin: ApiClient, guest: ApiClient) -> None:
    name = f"{uuid4().hex}.txt"
    with httpx.Client(base_url=server.files_url, timeout=TIMEOUT_S, trust_env=False) as http:
        writer, reader = ({"Authorization": c.http.headers["Authorization"]} for c in (admin, guest))
        assert http.post("/", files={name: (name, b"kept")}, headers=writer).status_code == 200
        assert http.get(f"/{name}", headers=reader).content == b"kept"
        assert http.post("/", files={name: (name, b"changed")}, headers=reader).status_code == 403
        assert http.delete(f"/{name}", headers=reader).status_code == 403
        assert http.post("/delete_many", json={"files": [name]}, headers=reader).status_code == 403
        assert http.get(f"/{name}", headers=reader).content == b"kept"


def test_pages_act_with_the_role_of_who_is_signed_in(server: ClearmlServer, admin: ApiClient) -> None:
    task = admin("tasks.create", name="a task", type="training")["id"]
    access_key, secret_key = new_key(admin, role="guest")
    with httpx.Client(base_url=server.web_url, timeout=TIMEOUT_S, trust_env=False) as web:
        web.headers.update({"Origin": server.web_url, "Accept": "text/html"})
        form = {"access_key": access_key, "secret_key": secret_key}
        assert web.post("/login", data=form).status_code == 303
        admin("tasks.enqueue", task=admin("tasks.create", name="waits", type="training")["id"])
        for path in ("/", "/projects", "/queues", "/workers", f"/tasks/{task}/overview"):
            page = web.get(path)
            assert page.status_code == 200, path
            offered = set(re.findall(r'method="post"[^>]* action="([^"]*)"|formaction="([^"]*)"', page.text))
            offered -= {("/activity/seen", ""), (f"/tasks/{task}/follow", "")}  # only the person's own preferences
            assert offered == {("/logout", "")} and "data-dialog" not in page.text, path
        assert web.post(f"/tasks/{task}/archive", data={}).status_code == 403
        assert web.post("/queues", data={"name": uuid4().hex}).status_code == 403
        assert admin("tasks.get_by_id", task=task)["task"]["system_tags"] == []
        admin("auth.edit_credentials", access_key=access_key, role=None)
        assert web.post(f"/tasks/{task}/archive", data={}).status_code == 303
        assert "formaction" in web.get("/queues").text
        admin("auth.revoke_credentials", access_key=access_key)
        assert web.get("/queues").headers["Location"].startswith("/login")
