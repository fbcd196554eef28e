"""What the tests of access share: users, access keys and clients of them."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

NUMBER = count()
CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}


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
