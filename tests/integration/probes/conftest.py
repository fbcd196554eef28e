from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient


@pytest.fixture(scope="module")
def api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """One client for the many short tests here."""
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        yield client
