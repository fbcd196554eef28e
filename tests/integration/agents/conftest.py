"""A server and agents of its own for each module, a dataset in place of the sample, and a run by its agents."""

from __future__ import annotations

import os

import pytest

from pipeline.local_stack import MachineSettings
from pipeline.local_stack.configuration import read_access
from tests.api_client import ApiClient
from tests.integration.agents.records import failed_tasks
from tests.integration.pipeline_cli import BATCH_ROWS, PipelineCli, review_file
from tests.ports import free_port_base


@pytest.fixture(scope="module")
def cli(tmp_path_factory, request):
    """The command line with a server and agents of its own, and a dataset in place of the sample."""
    folder = tmp_path_factory.mktemp("agents")
    foreign = ("CLEARML_", "TRAINS_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "HOME": str(folder),
        "CLEARML_PODS_STATE": str(folder / "state"),
        "CLEARML_PODS_PORT_BASE": str(free_port_base()),
        **getattr(request, "param", {}),
    }
    cli = PipelineCli(environ, folder)
    csv = review_file(folder / "train.csv")
    done = cli("dataset", "upload", str(csv), "--batch-size", str(BATCH_ROWS))
    assert done.code == 0, done.stderr
    yield cli
    cli("server", "down")


@pytest.fixture(scope="module")
def settings(cli):
    return MachineSettings.from_environ(cli.environ)


@pytest.fixture(scope="module")
def client(settings):
    access = read_access(settings.configuration)
    client = ApiClient(access.api, (access.access_key, access.secret_key))
    yield client
    client.close()


@pytest.fixture(scope="module")
def queue_run(cli):
    done = cli("run", "--json")
    assert done.code == 0, done.stderr
    return done.document


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show with a failed test why its tasks failed: "Pipeline step failed" alone says nothing, and CI keeps no more."""
    report = yield
    if report.failed and (client := getattr(item, "funcargs", {}).get("client")):
        try:
            said = failed_tasks(client)
        except Exception as error:  # The test's own failure is what counts.
            said = f"not to be read: {error!r}"
        report.sections.append(("failed tasks on the server", said))
    return report
