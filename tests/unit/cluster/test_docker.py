"""The makers in Docker: which is taken, and with what words each is called (they cannot run where these tests do)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster import docker
from cluster.errors import NotRunningError
from cluster.layout import Layout

RECORDER = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> {log}
case "$*" in
  "get clusters"|"cluster list --no-headers"|"profile list --output table") cat {names} ;;
  *kubeconfig*get*|*"get kubeconfig"*|*"config view"*) echo 'apiVersion: v1' ;;
  "network inspect"*) echo 172.18.0.1 ;;
  *create*|*start*) echo "| x1 |" > {names} ;;
  *delete*) : > {names} ;;
esac
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Put a recorder in the place of docker and all makers; return what reads their calls."""
    log, names, folder = tmp_path / "calls", tmp_path / "names", tmp_path / "bin"
    names.write_text("No clusters found\n")
    log.write_text("")
    folder.mkdir()
    for program in ("docker", *docker.MAKERS):
        (folder / program).write_text(RECORDER.format(log=log, names=names))
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return lambda: log.read_text().splitlines()


def test_the_first_maker_is_taken_where_docker_answers(calls):
    assert docker.available() == "kind"


def test_none_is_taken_without_an_engine(calls, tmp_path):
    (tmp_path / "bin/docker").write_text("#!/bin/sh\nexit 1\n")
    assert docker.available() is None


EXPECTED = {
    "kind": [
        "kind create cluster --name x1 --kubeconfig {kubeconfig} --wait 180s",
        "kind load image-archive /tmp/a.tar --name x1",
        "kind delete cluster --name x1 --kubeconfig {kubeconfig}",
    ],
    "k3d": [
        "k3d cluster create x1 --wait --timeout 180s --kubeconfig-update-default=false",
        "k3d image import /tmp/a.tar --cluster x1",
        "k3d cluster delete x1",
    ],
    "minikube": [
        "minikube start --profile x1 --driver docker --embed-certs --wait all",
        "minikube --profile x1 image load /tmp/a.tar",
        "minikube delete --profile x1",
    ],
}


@pytest.mark.parametrize("maker", docker.MAKERS)
def test_a_cluster_is_made_once_used_and_removed(calls, tmp_path, maker):
    layout = Layout("x1", tmp_path / "state", tmp_path)
    said = []
    status = docker.up(layout, maker, said.append)
    assert (status.state, status.host_address) == ("running", "172.18.0.1")
    assert layout.kubeconfig.read_text() == "apiVersion: v1\n"
    assert layout.kubeconfig.stat().st_mode & 0o077 == 0
    docker.up(layout, maker, said.append)
    assert len(said) == 1  # the second one found it there
    docker.load_image(layout, maker, Path("/tmp/a.tar"))
    assert docker.down(layout, maker)
    assert not layout.state.exists()
    assert docker.status(layout, maker).state == "absent"
    assert not docker.down(layout, maker)
    wanted = [line.format(kubeconfig=layout.kubeconfig) for line in EXPECTED[maker]]
    assert [line for line in calls() if line in wanted] == wanted
    assert json.dumps(status.as_json())


def test_an_image_for_no_cluster_is_an_error(calls, tmp_path):
    with pytest.raises(NotRunningError, match="kind has no cluster x1"):
        docker.load_image(Layout("x1", tmp_path / "state", tmp_path), "kind", tmp_path)
