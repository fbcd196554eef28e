"""What the suites of the pipeline's command line share: each file has a server of its own, with a dataset on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.pipeline_cli import COMMAND_TIMEOUT_S, Done, PipelineCli, command, enter, upload


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a file on each kind of server that its `SERVERS` lists."""
    kinds = getattr(metafunc.module, "SERVERS", ())
    if kinds and "server" in metafunc.fixturenames:
        metafunc.parametrize("server", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(
    clearml_server_factory: Callable[[], ClearmlServer], request: pytest.FixtureRequest
) -> Iterator[ClearmlServer]:
    """A server that no other file uses."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in getattr(request, "param", {}).items():
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


@pytest.fixture(scope="module")
def cli_of_one_process(cli: PipelineCli) -> Iterator[Callable[..., Done]]:
    """The same command line, all commands in one process: for refusals, of which a start is the most part."""
    with ProcessPoolExecutor(1, get_context("spawn"), enter, (cli.environ,)) as pool:
        pool.submit(os.chdir, cli.folder).result(timeout=COMMAND_TIMEOUT_S)
        yield lambda *words: pool.submit(command, *words).result(timeout=COMMAND_TIMEOUT_S)
