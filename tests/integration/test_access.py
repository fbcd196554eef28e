"""Users, access keys and roles on a live server: the API, the file server and the web pages."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server
from clearml_localserver.registry import ENDPOINTS

from tests.api_client import TIMEOUT_S, ApiClient

pytestmark = pytest.mark.integration

NUMBER = count()
CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    """A server whose pages ask for log-in."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCALSERVER_HOST", "0.0.0.0")
        with running_server(tmp_path_factory.mktemp("access") / "data") as server:
            yield server


@pytest.fixture
def admin(server: ClearmlServer) -> Iterator[ApiClient]:
    with closing(ApiClient(server.api_url, server.credentials)) as client:
        yield client


def company(admin: ApiClient) -> str:
    return str(admin("users.get_current_user")["user"]["company"]["id"])


def new_user(admin: ApiClient, role: str = "user") -> str:
    name = f"person {next(NUMBER)}"
    email = f"{uuid4().hex}@example.com"
    return str(admin("auth.create_user", name=name, email=email, company=company(admin), role=role)["id"])


def new_key(client: ApiClient, **fields: Any) -> tuple[str, str]:
    made = client("auth.create_credentials", **fields)["credentials"]
    return made["access_key"], made["secret_key"]


def client_of(server: ClearmlServer, key: tuple[str, str]) -> ApiClient:
    return ApiClient(server.api_url, key)


@pytest.fixture(params=["user's role", "key's role"])
def guest(request: pytest.FixtureRequest, server: ClearmlServer, admin: ApiClient) -> Iterator[ApiClient]:
    """A client that may only read: because its user may only read, or because its key may only read."""
    fields = {"user": new_user(admin, "guest")} if request.param == "user's role" else {"role": "guest"}
    with closing(client_of(server, new_key(admin, **fields))) as client:
        yield client


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
            assert offered == {("/logout", "")} and "data-dialog" not in page.text, path
        assert web.post(f"/tasks/{task}/archive", data={}).status_code == 403
        assert web.post("/queues", data={"name": uuid4().hex}).status_code == 403
        assert admin("tasks.get_by_id", task=task)["task"]["system_tags"] == []
        admin("auth.edit_credentials", access_key=access_key, role=None)
        assert web.post(f"/tasks/{task}/archive", data={}).status_code == 303
        assert "formaction" in web.get("/queues").text
        admin("auth.revoke_credentials", access_key=access_key)
        assert web.get("/queues").headers["Location"].startswith("/login")


# ---- changes hold at once --------------------------------------------------------------------------------------------


def test_a_users_role_changes_under_a_live_token(server: ClearmlServer, admin: ApiClient) -> None:
    user = new_user(admin)
    client = client_of(server, new_key(admin, user=user))
    assert client("tasks.create", name="mine", type="training")
    for role, status in (("guest", 403), ("user", 200), ("annotator", 200), ("guest", 403)):
        assert admin("auth.edit_user", user=user, role=role) == {"updated": 1, "fields": {"role": role}}
        assert client.send("tasks.create", name="mine", type="training").status == status
        assert client("users.get_current_user")["user"]["role"] == role
    assert admin("auth.edit_user", user=user, role="guest")["updated"] == 0
    client.close()


def test_a_key_is_limited_revoked_and_listed_by_an_admin(server: ClearmlServer, admin: ApiClient) -> None:
    user = new_user(admin)
    key = new_key(admin, user=user, label="theirs")
    client = client_of(server, key)
    listed = {item["access_key"]: item for item in admin("auth.get_credentials", all_users=True)["credentials"]}
    assert listed[key[0]]["user"] == user
    assert (listed[key[0]]["label"], listed[key[0]]["role"]) == ("theirs", "user")
    assert {item["access_key"] for item in admin("auth.get_credentials", user=user)["credentials"]} == {key[0]}
    assert "secret" not in str(listed)
    assert admin("auth.edit_credentials", access_key=key[0], role="guest") == {"updated": 1}
    assert client.send("tasks.create", name="mine", type="training").error[:2] == (403, 20)
    assert admin("auth.edit_credentials", access_key=key[0], role=None, label="renamed") == {"updated": 1}
    assert client.send("tasks.create", name="mine", type="training").status == 200
    assert client("auth.get_credentials")["credentials"][0]["label"] == "renamed"
    assert admin("auth.revoke_credentials", access_key=key[0]) == {"revoked": 1}
    assert client.send("tasks.get_all").error[:2] == (401, 30)
    assert admin.send("auth.revoke_credentials", access_key=key[0]).error[:2] == (400, 300)
    client.close()


def test_a_revoked_key_that_waits_for_a_task_gets_none(server: ClearmlServer, admin: ApiClient) -> None:
    queue = admin("queues.create", name=uuid4().hex)["id"]
    key = new_key(admin)
    client = client_of(server, key)
    client("workers.register", worker="revoked", queues=[queue])
    answers: list[tuple[int, int]] = []
    waiting = threading.Thread(
        target=lambda: answers.append(client.send("queues.get_next_task", "v2.14", queue=queue).error[:2])
    )
    waiting.start()
    task = admin("tasks.create", name="a task", type="training")["id"]
    admin("auth.revoke_credentials", access_key=key[0])
    admin("tasks.enqueue", task=task, queue=queue)
    waiting.join(TIMEOUT_S)
    assert answers == [(401, 30)]
    assert [entry["task"] for entry in admin("queues.get_by_id", queue=queue)["queue"]["entries"]] == [task]
    client.close()


def test_roles_and_keys_outlive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        admin = ApiClient(server.api_url, server.credentials)
        reader = new_key(admin, role="guest")
        user = new_user(admin, "guest")
        other = new_key(admin, user=user)
        admin("auth.edit_user", user=user, role="user")
        server.stop()
        server.restart()
        assert client_of(server, reader)("users.get_current_user")["user"]["role"] == "guest"
        assert client_of(server, other)("users.get_current_user")["user"]["role"] == "user"


def test_another_key_of_the_servers_own_ends_the_old_one_and_all_sessions(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        old = ApiClient(server.api_url, server.credentials)
        old_key, other_key = server.credentials, new_key(old)
        other = client_of(server, other_key)
        server.stop()
        (server.data / "credentials.json").unlink()
        server.restart()
        assert server.credentials != old_key
        assert old.send("tasks.get_all").error[:2] == (401, 30)
        assert other.send("tasks.get_all").error[:2] == (401, 30)
        assert httpx.get(f"{server.api_url}/auth.login", auth=old_key).status_code == 401
        assert client_of(server, other_key).send("tasks.get_all").status == 200
        assert client_of(server, server.credentials)("users.get_current_user")["user"]["role"] == "admin"


# ---- no way up -------------------------------------------------------------------------------------------------------


def test_nobody_gets_more_than_they_have(server: ClearmlServer, admin: ApiClient) -> None:
    own = admin("users.get_current_user")["user"]["id"]
    full, limited = new_key(admin), new_key(admin, role="user")
    client = client_of(server, limited)
    assert client.send("auth.create_credentials", role="admin").error[:2] == (403, 20)
    assert client.send("auth.create_credentials", user=new_user(admin)).error[:2] == (403, 20)
    assert client.send("auth.get_credentials", all_users=True).error[:2] == (403, 20)
    assert client.send("auth.edit_credentials", access_key=limited[0], role="admin").error[:2] == (403, 20)
    assert client.send("auth.edit_credentials", access_key=limited[0], role=None).status == 200
    assert client("users.get_current_user")["user"]["role"] == "user"
    assert client.send("auth.edit_credentials", access_key=full[0], role="guest").error[:2] == (400, 75)
    assert client.send("auth.revoke_credentials", access_key=full[0]).error[:2] == (400, 300)
    assert client.send("auth.edit_user", user=own, role="guest").error[:2] == (403, 20)
    made = client_of(server, new_key(client))
    assert made("users.get_current_user")["user"]["role"] == "user"
    made.close()
    client.close()


def test_the_servers_own_user_and_key_stay(server: ClearmlServer, admin: ApiClient) -> None:
    own, other = admin("users.get_current_user")["user"]["id"], new_user(admin, "admin")
    client = client_of(server, new_key(admin, user=other))
    for name, data in {
        "auth.edit_user": {"user": own, "role": "user"},
        "users.delete": {"user": own},
        "auth.revoke_credentials": {"access_key": server.credentials[0]},
        "auth.edit_credentials": {"access_key": server.credentials[0], "role": "guest"},
    }.items():
        assert client.send(name, **data).error[:2] == (400, 301), name
    client.close()


def test_a_deleted_users_keys_and_tokens_are_refused(server: ClearmlServer, admin: ApiClient) -> None:
    user = new_user(admin)
    key = new_key(admin, user=user)
    client = client_of(server, key)
    token = admin("auth.get_token_for_user", user=user)["token"]
    assert admin("auth.validate_token", token=token)["valid"] is True
    admin("users.delete", user=user)
    assert client.send("tasks.get_all").error[:2] == (401, 30)
    assert httpx.get(f"{server.api_url}/auth.login", auth=key).status_code == 401
    assert admin("auth.validate_token", token=token)["valid"] is False
    assert admin.send("auth.get_token_for_user", user=user).error == (400, 301, f"Invalid user id: id={user}")
    assert admin.send("auth.create_credentials", user=user).error[:2] == (400, 301)
    client.close()


# ---- users -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"email": None}, (400, 12)),
        ({"name": None}, (400, 12)),
        ({"role": "bogus"}, (400, 12)),
        ({"company": "nope"}, (400, 10)),
        ({"email": "not mail"}, (400, 800)),
        ({"email": "x@x.y"}, (400, 800)),
        ({"email": "taken@example.com"}, (400, 801)),
        ({"name": ""}, (200, 0)),
        ({"role": "system"}, (200, 0)),
    ],
)
def test_which_users_can_be_made(admin: ApiClient, changes: dict[str, Any], error: tuple[int, int]) -> None:
    fields = {"name": "A Person", "email": f"{uuid4().hex}@example.com", "company": company(admin)}
    admin.send("auth.create_user", **fields | {"email": "taken@example.com"})
    data = {name: value for name, value in (fields | changes).items() if value is not None}
    assert admin.send("auth.create_user", **data).error[:2] == error


def test_tokens_for_others(server: ClearmlServer, admin: ApiClient) -> None:
    user = new_user(admin)
    token = admin("auth.get_token_for_user", user=user, company=company(admin))["token"]
    with httpx.Client(base_url=server.api_url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http:
        shown = http.get("/users.get_current_user").json()["data"]["user"]
        assert (shown["id"], shown["role"]) == (user, "user")
        assert http.post("/auth.create_credentials", json={"label": "k"}).status_code == 200
    assert admin.send("auth.get_token_for_user", user=user, company="nope").error[:2] == (400, 301)
    assert admin.send("auth.get_token_for_user", user=user, expiration_sec=10**9).error[:2] == (400, 12)
    assert admin.send("auth.edit_user", user=user, role="root").error[:2] == (400, 12)
    assert admin.send("auth.edit_user", user="nope", role="user").error[:2] == (400, 301)


@pytest.mark.parametrize("header", ["X-ClearML-Impersonate-As", "X-Trains-Impersonate-As", "X-ClearML-Act-As"])
def test_an_admin_acts_as_another_user(server: ClearmlServer, admin: ApiClient, header: str) -> None:
    user = new_user(admin)
    plain = client_of(server, new_key(admin, role="user"))
    for client in (admin, plain):
        client.http.headers[header] = user
    assert plain.send("tasks.get_all").error[:2] == (400, 6)
    with httpx.Client(base_url=server.files_url, headers=dict(plain.http.headers), trust_env=False) as files:
        assert files.get("/x").status_code == 400
    shown = admin("users.get_current_user")["user"]
    assert (shown["id"], shown["role"]) == (user, "admin" if "Act" in header else "user")
    task = admin("tasks.create", name="a task", type="training")["id"]
    token = admin("auth.login")["token"]
    status = admin.send("auth.create_user").error[:2]
    assert status == ((400, 12) if "Act" in header else (403, 20))
    admin.http.headers[header] = "nobody"
    assert admin.send("tasks.get_all").error[:2] == (400, 6)
    del admin.http.headers[header]
    assert admin("tasks.get_by_id", task=task)["task"]["user"] == user
    assert admin("auth.validate_token", token=token)["user"] == user
    plain.close()


# ---- too many failures -----------------------------------------------------------------------------------------------


def test_guessing_is_slowed_down_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVER_HOST", "0.0.0.0")
    with running_server(tmp_path / "data") as server, httpx.Client(trust_env=False, timeout=TIMEOUT_S) as http:
        key, secret = server.credentials
        login = f"{server.api_url}/auth.login"
        codes = [http.get(login, auth=(key, f"guess {n}")).status_code for n in range(30)]
        assert codes[:10] == [401] * 10 and set(codes[10:]) <= {401, 429} and codes.count(429) > 15
        reply = http.get(login, auth=(key, "guess"))
        assert (reply.status_code, reply.json()["meta"]["result_code"]) == (429, 429)
        assert int(reply.headers["Retry-After"]) <= 6
        form = {"access_key": key, "secret_key": secret}
        page = http.post(f"{server.web_url}/login", data=form, headers={"Origin": server.web_url})
        assert page.status_code == 429 and "Too many failed log-ins" in page.text and "Retry-After" in page.headers
        log = (tmp_path / "data.log").read_text(encoding="utf-8")
        assert f"access key {key}" in log and "from 127.0.0.1" in log
        assert "guess" not in log and secret not in log


def test_an_sdk_waits_while_its_address_is_slowed_down_and_then_comes_in(tmp_path: Path) -> None:
    """The SDK repeats a 429 after the time that it names; a wrong key is told so then, and does not wait for ever."""
    with running_server(tmp_path / "data") as server:
        for n in range(10):
            assert httpx.get(f"{server.api_url}/auth.login", auth=("NOBODY", f"guess {n}")).status_code == 401
        sdk = "from clearml.backend_api import Session; s = Session(); print(s.get_decoded_token(s.token)['key'])"
        good = subprocess.run([sys.executable, "-c", sdk], env=dict(os.environ) | server.environment, **CAPTURED)
        assert good.stdout.strip() == server.credentials[0], good.stderr
        wrong = server.environment | {"CLEARML_API_ACCESS_KEY": "NOBODY"}
        bad = subprocess.run([sys.executable, "-c", sdk], env=dict(os.environ) | wrong, **CAPTURED)
        assert bad.returncode != 0 and "LoginError" in bad.stderr and "401" in bad.stderr


def test_a_start_makes_an_open_data_folder_private(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        server.stop()
        for path in (server.data, *server.data.iterdir()):
            path.chmod(0o777)
        server.restart()
        ApiClient(server.api_url, server.credentials)("tasks.create", name="a task", type="training")
        found = {path.name: path.stat().st_mode & 0o077 for path in (server.data, *server.data.iterdir())}
        assert {"server.sqlite", "server.sqlite-wal", "credentials.json", "clearml.conf", "files"} <= found.keys()
        assert set(found.values()) == {0}


# ---- the command line ------------------------------------------------------------------------------------------------


def keys(server: ClearmlServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    name, *rest = arguments
    command = [sys.executable, "-m", "clearml_localserver", "keys", name, str(server.data), *rest]
    return subprocess.run(command, check=False, **CAPTURED)


def test_keys_are_made_listed_and_revoked_on_the_command_line(server: ClearmlServer, admin: ApiClient) -> None:
    made = keys(server, "create", "--role", "guest", "--label", "dashboard")
    access_key, secret_key = (line.split('"')[1] for line in made.stdout.splitlines())
    client = client_of(server, (access_key, secret_key))
    assert client("users.get_current_user")["user"]["role"] == "guest"
    listed = keys(server, "list")
    (row,) = [line.split() for line in listed.stdout.splitlines() if line.startswith(access_key)]
    assert row[1:4] == ["guest", "localserver", "dashboard"] and row[-1] == "127.0.0.1"
    assert secret_key not in listed.stdout and server.credentials[1] not in listed.stdout
    admin("auth.edit_credentials", access_key=access_key, label="a\x1b[2J\nline")
    assert f"{access_key}  guest  localserver  a\ufffd[2J\ufffdline" in keys(server, "list").stdout
    assert keys(server, "create", "--user", "").returncode == 10, "an unset variable is not the server's own user"
    assert keys(server, "revoke", access_key).stdout == f"revoked {access_key}\n"
    assert client.send("tasks.get_all").error[:2] == (401, 30)
    again = keys(server, "revoke", access_key)
    assert (again.returncode, again.stdout) == (10, "") and f"there is no access key {access_key}" in again.stderr
    client.close()


def test_keys_of_a_server_that_does_not_run_are_one_clear_message(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        server.stop()
        refused = keys(server, "list")
        assert refused.returncode == 10 and f"no server runs on {server.data}" in refused.stderr
        assert "Traceback" not in refused.stderr
        # Its key is not told to who listens in its place.
        with closing(socket.create_server(("127.0.0.1", urlsplit(server.api_url).port or 0))) as stranger:
            assert keys(server, "list").returncode == 10
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.accept()
        (server.data / "clearml.conf").unlink()
        assert "no server has run" in keys(server, "list").stderr
