"""Changes of users, roles and access keys take effect at once, outlive a restart, and give nobody more rights."""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from tests.api_client import TIMEOUT_S, ApiClient
from tests.integration.access.clients import client_of, new_key, new_user

pytestmark = pytest.mark.integration


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
