"""Creating users, and acting for another user."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.access.clients import client_of, company, new_key, new_user

pytestmark = pytest.mark.integration


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
