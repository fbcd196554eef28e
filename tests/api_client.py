"""A plain HTTP client of the ClearML API for tests: no SDK, every status and subcode visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 60


class Refused(AssertionError):
    """A call that a test expected to succeed."""


@dataclass
class Reply:
    status: int
    meta: dict[str, Any]
    data: dict[str, Any]

    @property
    def error(self) -> tuple[int, int, str]:
        return self.status, self.meta["result_subcode"], self.meta["result_msg"]


class ApiClient:
    """Calls endpoints of one server; a session token per client, as each SDK process has."""

    def __init__(self, url: str, credentials: tuple[str, str]) -> None:
        # No server of the tests speaks TLS; without `verify`, no client reads the system's certificates (25 ms).
        self.http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, verify=False)
        self.credentials = credentials
        token = self.http.get("/auth.login", auth=credentials).json()["data"]["token"]
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {token}"

    def send(self, endpoint: str, /, _version: str = "v2.23", **data: Any) -> Reply:
        """Call an endpoint as the SDK does (GET with a JSON body); never raises for a refused call."""
        response = self.http.request("GET", f"/{_version}/{endpoint}", json=data)
        body = response.json()
        return Reply(response.status_code, body["meta"], body["data"])

    def __call__(self, endpoint: str, /, _version: str = "v2.23", **data: Any) -> dict[str, Any]:
        """Call an endpoint and return its data."""
        reply = self.send(endpoint, _version, **data)
        if reply.status != 200:
            raise Refused(f"{endpoint}: {reply.error}")
        return reply.data

    def close(self) -> None:
        self.http.close()
