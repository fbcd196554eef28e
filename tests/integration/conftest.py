"""What the suites of the pipeline's command line share: each file has a server of its own, with a dataset on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.pipeline_cli import PipelineCli, upload


@pytest.fixture(scope="module")
def server(clearml_server_factory: Callable[[], ClearmlServer]) -> ClearmlServer:
    """A server that no other file uses."""
    return clearml_server_factory()


@pytest.fixture(scope="module")
def client(server: ClearmlServer) -> Iterator[ApiClient]:
    """A client of that server."""
    with closing(ApiClient(server.api_url, server.credentials)) as client:
        yield client


@pytest.fixture(scope="module")
def cli(server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> PipelineCli:
    """The command line against that server, on which a dataset of 500 reviews is."""
    cli = PipelineCli({**os.environ, **server.environment}, tmp_path_factory.mktemp("cli"))
    upload(cli)
    return cli
