"""Clients of the file server."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import TIMEOUT_S, ApiClient


@pytest.fixture
def files(clearml_server: ClearmlServer, api: ApiClient) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=clearml_server.files_url, timeout=TIMEOUT_S, trust_env=False) as client:
        client.headers["Authorization"] = api.http.headers["Authorization"]
        yield client


@pytest.fixture
def anyone(clearml_server: ClearmlServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=clearml_server.files_url, timeout=TIMEOUT_S, trust_env=False) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"tests/{uuid4().hex}/a file.txt"
