"""Fixtures that several suites share. Live servers come from localserver's own pytest plugin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from localserver.pytest_plugin import ClearmlServer
from tests.api_client import ApiClient


@pytest.fixture
def api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """A client of the session's server."""
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        yield client
