"""What the suites of the pipeline's command line share: each file has a server of its own, with a dataset on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.pipeline_cli import KINDS_OF_SERVER, PipelineCli, upload


@pytest.fixture(scope="module", params=KINDS_OF_SERVER)
def server(
    clearml_server_factory: Callable[[], ClearmlServer], request: pytest.FixtureRequest
) -> Iterator[ClearmlServer]:
    """A server that no other file uses: as it is, and with the waits and connections of a genuine one."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in request.param.items():
            patch.setenv(name, value)
        yield clearml_server_factory()


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
