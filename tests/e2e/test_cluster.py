"""The test cluster itself, for real: made, used, broken, mended and removed, by its command line.

It is required where CI says so (`CI` or `E2E_REQUIRED`); elsewhere a machine that cannot hold a cluster leaves it out
and says why.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from deploy import tools
from pipeline.machine import processes
from tests.cluster import clusters, image_archive, native
from tests.cluster.errors import CannotHostError
from tests.cluster.layout import STATE_VARIABLE, Layout
from tests.e2e import machine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

NAME = "lifecycle"
UP_TIMEOUT_S = 2_400  # the first one builds Kubernetes
POD_TIMEOUT_S = 60.0
REQUIRED = bool(os.environ.get("CI") or os.environ.get("E2E_REQUIRED"))


class Cluster:
    """A cluster as a person drives it."""

    def __init__(self, states: Path) -> None:
        self.env = os.environ | {STATE_VARIABLE: str(states), "PYTHONDONTWRITEBYTECODE": ""}
        self.layout = Layout.of(NAME, self.env, Path.home())

    def run(self, command: str, *words: object, code: int = 0) -> dict[str, object]:
        argv = [sys.executable, "-m", "tests.cluster", command, "--name", NAME, "--json", *map(str, words)]
        done = subprocess.run(
            argv,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=UP_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        print(done.stderr, end="")
        return json.loads(done.stdout) if done.stdout else {}

    def up(self) -> dict[str, object]:
        with stage("cluster up"):
            return self.run("up")

    def down(self) -> dict[str, object]:
        with stage("cluster down"):
            return self.run("down")

    def kubectl(self, *words: str, stdin: str = "") -> str:
        argv = [str(tools.kubectl_path()), f"--kubeconfig={self.layout.kubeconfig}", *words]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print how long a part took: the suite's time is watched by stage."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:7.1f} s  {name}", flush=True)


def until(what: str, holds: Callable[[], bool], timeout_s: float = POD_TIMEOUT_S) -> None:
    assert processes.wait_until(holds, timeout_s, poll_s=0.2), f"not so after {timeout_s:.0f} s: {what}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    try:
        native.require_host()
    except CannotHostError as error:
        if REQUIRED:
            raise
        pytest.skip(f"LEFT OUT, no cluster can be made here: {error.message}")
    cluster = Cluster(Path("/tmp") / f"clusters-{os.getpid()}")  # sockets want a short path
    yield cluster
    cluster.run("down")
    shutil.rmtree(cluster.layout.state.parent, ignore_errors=True)


@pytest.fixture
def running(cluster: Cluster) -> dict[str, object]:
    return cluster.up()


@pytest.fixture
def probe(cluster: Cluster, running: dict[str, object], tmp_path: Path) -> Path:
    """An image of one static program that says its version: nothing is fetched for it."""
    programs = Path(json.loads(cluster.layout.facts.read_text())["programs"])
    image_archive.write(tmp_path / "probe.tar", "docker.io/library/probe:1", programs / "etcd")
    return tmp_path / "probe.tar"


def test_a_pod_runs_an_image_that_no_registry_has(cluster, running, probe):
    with stage("image loaded"):
        assert cluster.run("load-image", probe)["loaded"] == ["docker.io/library/probe:1"]
    with stage("pod ran"):
        cluster.kubectl("run", "probe", "--image=probe:1", "--restart=Never", "--", "--version")

        def phase() -> str:
            return cluster.kubectl("get", "pod", "probe", "--output=jsonpath={.status.phase}")

        until("the pod ended", lambda: phase() in ("Succeeded", "Failed"))
    assert phase() == "Succeeded"
    assert "etcd Version: 3" in cluster.kubectl("logs", "probe")


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
    until("the API server is back", lambda: clusters.status(cluster.layout).state == "running", timeout_s=120)
    (back,) = [row for row in clusters.status(cluster.layout).components if row.name == "kube-apiserver"]
    assert back.pid != api["pid"]


def test_a_start_that_was_interrupted_is_completed(cluster):
    cluster.down()
    argv = [sys.executable, "-m", "tests.cluster", "up", "--name", NAME]
    interrupted = subprocess.Popen(argv, env=cluster.env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    until("the node process is there", cluster.layout.node_record.exists)
    interrupted.kill()
    interrupted.wait()
    interrupted.stderr.close()
    assert cluster.up()["state"] == "running"


def test_a_node_that_was_killed_is_made_anew(cluster, running):
    os.kill(running["node_pid"], signal.SIGKILL)
    until("the node is gone", lambda: not psutil.pid_exists(running["node_pid"]))
    assert cluster.run("status", code=3)["state"] == "broken"
    again = cluster.up()
    assert again["state"] == "running"
    assert again["node_pid"] != running["node_pid"]


def test_a_record_that_names_another_process_is_not_believed(cluster, running):
    cluster.down()
    cluster.layout.state.mkdir(parents=True)
    processes.Record(os.getpid(), 1.0, {}).write(cluster.layout.node_record)  # a pid that was used again
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
