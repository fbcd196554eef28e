"""A server whose pages ask for log-in, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from tests.api_client import ApiClient
from tests.integration.access.clients import client_of, new_key, new_user


@pytest.fixture(scope="package")
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


@pytest.fixture(params=["user's role", "key's role"])
def guest(request: pytest.FixtureRequest, server: ClearmlServer, admin: ApiClient) -> Iterator[ApiClient]:
    """A client that may only read: because its user may only read, or because its key may only read."""
    fields = {"user": new_user(admin, "guest")} if request.param == "user's role" else {"role": "guest"}
    with closing(client_of(server, new_key(admin, **fields))) as client:
        yield client
