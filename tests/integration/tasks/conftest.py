from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.tasks.world import new_queue


@pytest.fixture(scope="module")
def api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """One client for the hundreds of short tests here: making one costs more than most of them."""
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        yield client


@pytest.fixture(scope="module")
def queue(api: ApiClient) -> str:
    return new_queue(api)
