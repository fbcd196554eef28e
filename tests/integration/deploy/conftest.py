"""`python -m deploy` on a fake cluster with a fake helm and a real server: no root, no binary, seconds.

The command line runs in this process, on a clock that passes whenever somebody sleeps. What a person sees is looked at:
output, `--json`, exit codes, and what is in cluster and server afterwards.
"""

from __future__ import annotations

import copy
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access import credentials
from deploy import waiting
from tests.api_client import ApiClient
from tests.fakes.clock import FakeClock
from tests.fakes.helm import fake_chart, fake_helm
from tests.fakes.kubernetes.cluster import PODS_ONLY, FakeCluster
from tests.integration.deploy.deployer import QUEUE, Deployer

INSTALLED: list[object] = []
"""Objects of a cluster just after an install: made once, for every test that begins with one."""


@pytest.fixture(scope="session")
def parsed() -> dict[tuple[str, str], dict[str, Any]]:
    """Sections of `clearml.conf` by the file's text and their name."""
    return {}


@pytest.fixture(autouse=True)
def configuration_parsed_once(parsed: dict[tuple[str, str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a `clearml.conf` again only when it has changed: the SDK's parser takes a sixth of a command's time."""
    read_section = credentials.read_section

    def read_once(path: Path, name: str) -> dict[str, Any]:
        key = (path.read_text(encoding="utf-8"), name)
        if key not in parsed:
            parsed[key] = read_section(path, name)
        return copy.deepcopy(parsed[key])

    monkeypatch.setattr(credentials, "read_section", read_once)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(waiting, "SYSTEM", waiting.Clock(clock.monotonic, clock.sleep, clock.now))
    return clock


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def deploy(
    cluster: FakeCluster,
    clock: FakeClock,
    clearml_server: ClearmlServer,
    api: ApiClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployer]:
    """The command line on an empty cluster; what it leaves on the server is removed."""
    fake_helm.write_program(tmp_path / "bin", cluster.port)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.setenv("AGENT_CHART", str(fake_chart.CHART))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    urls = {"apiServer": clearml_server.api_url, "webServer": clearml_server.web_url}
    urls["fileServer"] = clearml_server.files_url
    glue = {f"{name}UrlReference": url.replace("127.0.0.1", f"clearml{PODS_ONLY}") for name, url in urls.items()}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"agentk8sglue": {**glue, "queue": QUEUE}}))
    yield Deployer(cluster, clock, api, tmp_path / "values.yaml", clearml_server.web_url)
    for worker in api("workers.get_all")["workers"]:
        api("workers.unregister", worker=worker["id"])
    for queue in api("queues.get_all", search_hidden=True)["queues"]:
        if queue["name"] == "k8s_scheduler" or queue["name"].startswith(QUEUE):
            api("queues.delete", queue=queue["id"], force=True)


@pytest.fixture
def installed(deploy: Deployer) -> Deployer:
    """An agent that is there and works."""
    cluster = deploy.cluster
    if INSTALLED:
        cluster.restore(INSTALLED[0])
        deploy.make_queue()
        cluster.settle()
    else:
        deploy("install", "--no-canary")
        INSTALLED.append(cluster.snapshot())
        assert deploy.json("check")["ok"]
    return deploy


@pytest.fixture
def dead_process() -> str:
    """What a process of this machine that has ended called itself as a holder of leases."""
    process = subprocess.Popen(["true"])
    process.wait(30)
    return f"{socket.gethostname()}:{process.pid}"
