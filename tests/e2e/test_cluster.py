"""The test cluster itself, for real: made, used, broken, mended and removed, by its command line."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clearml_access import processes
from cluster import clusters, image_archive
from tests.e2e import machine
from tests.e2e.cluster_cli import ClusterCli, stage, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

NAME = "lifecycle"


@pytest.fixture(scope="module")
def cluster(states: Path) -> Iterator[ClusterCli]:
    cluster = ClusterCli(NAME, states)
    yield cluster
    cluster.run("down")


@pytest.fixture
def running(cluster: ClusterCli) -> dict[str, object]:
    return cluster.up()


@pytest.fixture
def probe(cluster: ClusterCli, running: dict[str, object], tmp_path: Path) -> Path:
    """An image of one static program that says its version: nothing is fetched for it."""
    programs = Path(json.loads(cluster.layout.facts.read_text())["programs"])
    image_archive.write(tmp_path / "probe.tar", "docker.io/library/probe:1", programs / "etcd")
    return tmp_path / "probe.tar"


def test_a_pod_runs_an_image_that_no_registry_has(cluster, running, probe):
    with stage("image loaded"):
        assert cluster.run("load-image", probe)["loaded"] == ["docker.io/library/probe:1"]
    with stage("pod ran"):
        phase, said = cluster.run_pod("probe", "probe:1", "--version")
    assert phase == "Succeeded"
    assert "etcd Version: 3" in said


def test_status_tells_how_to_reach_it(cluster, running):
    status = cluster.run("status")
    assert status["state"] == "running"
    assert all(component["pid"] for component in status["components"])
    assert status["kubernetes"] == "v1.34.2"
    context = ssl.create_default_context(cafile=str(cluster.layout.pki / "ca.crt"))
    with urllib.request.urlopen(f"{status['api_server']}/livez", context=context, timeout=10) as reply:
        assert reply.read() == b"ok"
    # Pods reach a server here at this address, so it must be one of this machine's own.
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    assert status["host_address"] in own


def test_a_second_up_changes_nothing(cluster, running):
    again = cluster.up()
    assert again["node_pid"] == running["node_pid"]
    assert again["components"] == running["components"]


def test_a_program_that_is_killed_comes_back(cluster, running):
    (api,) = [row for row in running["components"] if row["name"] == "kube-apiserver"]
    os.kill(api["pid"], signal.SIGKILL)
    until("the API server is back", lambda: clusters.status(cluster.layout).state == "running")
    (back,) = [row for row in clusters.status(cluster.layout).components if row.name == "kube-apiserver"]
    assert back.pid != api["pid"]


def test_a_start_that_was_interrupted_is_completed(cluster):
    cluster.down()
    argv = [sys.executable, "-m", "cluster", "up", "--name", NAME]
    interrupted = subprocess.Popen(argv, env=cluster.env, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    until("the node process is there", cluster.layout.node_record.exists)
    interrupted.kill()
    interrupted.wait()
    assert cluster.up()["state"] == "running"


def test_a_node_that_was_killed_is_made_anew(cluster, running):
    os.kill(running["node_pid"], signal.SIGKILL)
    until("the node is gone", lambda: not processes.is_alive(running["node_pid"]))
    assert cluster.run("status", code=3)["state"] == "broken"
    again = cluster.up()
    assert again["state"] == "running"
    assert again["node_pid"] != running["node_pid"]


def test_a_record_that_names_another_process_is_not_believed(cluster, running):
    cluster.down()
    cluster.layout.state.mkdir(parents=True)
    processes.Record(os.getpid(), "another start", {}).write(cluster.layout.node_record)  # a pid that was used again
    assert cluster.up()["state"] == "running"


def test_an_archive_that_is_none_is_refused(cluster, running, tmp_path):
    archive = tmp_path / "no.tar"
    archive.write_text("no image")
    cluster.run("load-image", archive, code=50)


def test_keys_are_for_their_owner_only(cluster, running):
    keys = [*cluster.layout.pki.glob("*.key"), cluster.layout.kubeconfig, *cluster.layout.state.glob("*.kubeconfig")]
    assert len(keys) > 10
    assert [path for path in keys if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("ends", ["by down", "killed, then down"])
def test_down_leaves_nothing(cluster, ends):
    cluster.down()
    before = {mark: machine.state(mark) for mark in (cluster.layout.link, str(cluster.layout.state))}
    status = cluster.up()
    assert machine.state(cluster.layout.link)["rules"]  # the comparison below sees what a cluster makes
    if ends.startswith("killed"):
        os.kill(status["node_pid"], signal.SIGKILL)
    assert cluster.down() == {"name": NAME, "removed": True}
    assert {mark: machine.state(mark) for mark in before} == before
    assert not cluster.layout.state.exists()
    assert cluster.run("status", code=3)["state"] == "absent"
    assert cluster.down() == {"name": NAME, "removed": False}
