"""What the node is built from has one version, whoever names it."""

from __future__ import annotations

import re
import sys

import pytest

from cluster import components, programs
from cluster.errors import BuildError
from cluster.facts import Facts
from cluster.layout import Addresses, Layout

GO_MOD = (programs.HERE / "go.mod").read_text()


def test_go_mod_pins_the_version_that_is_reported():
    assert re.search(rf"k8s\.io/kubernetes {re.escape(programs.KUBERNETES)}\b", GO_MOD)


def test_every_staging_module_is_replaced_by_the_release_of_the_same_number():
    minor = programs.KUBERNETES.removeprefix("v1.")
    replaced = dict(re.findall(r"^\s*(k8s\.io/\S+) => \S+ (v\S+)$", GO_MOD, re.MULTILINE))
    assert len(replaced) > 25
    assert set(replaced.values()) == {f"v0.{minor}"}


def test_every_program_that_is_started_is_built_or_debians(tmp_path):
    layout = Layout.of("x1", {"CLEARML_PODS_CLUSTER_STATE": "/tmp/x"}, tmp_path)
    addresses = Addresses(Facts("x1", "native", range="10.201.0.0/16").addresses.range)
    started = components.components(layout, addresses, tmp_path)
    built = {*programs.KUBERNETES_PROGRAMS, "etcd", "coredns"}
    for component in started:
        assert component.argv[0] in (*programs.DEBIAN, sys.executable) or component.name in built
    assert {component.name for component in started} == built | {"containerd", "network-policy"}


def test_a_change_of_what_is_built_is_another_folder(tmp_path, monkeypatch):
    before = programs.built(tmp_path)
    monkeypatch.setattr(programs, "KUBERNETES", "v1.99.0")
    assert programs.built(tmp_path) != before


@pytest.mark.parametrize("text", ["", "{", '{"name": "x1"}', '{"name": "x1", "provider": "kind", "unknown": 1}'])
def test_damaged_facts_are_none(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    assert Facts.read(tmp_path / "cluster.json") is None


APT = """#!/bin/sh
count=$(cat "{folder}/count" 2>/dev/null || echo 0)
echo $((count + 1)) > "{folder}/count"
[ "$LC_ALL" = C.UTF-8 ] || exit 7
if [ "$count" -lt {busy} ]; then
    echo "E: {message}" >&2
    exit 100
fi
"""
LOCKED = "Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 24163 (unattended-upgr)"


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Write an apt-get that fails so often, and let one package be missing."""

    def write(busy: int, message: str = LOCKED):
        for name in ("apt-get", "apt-cache"):
            program = tmp_path / name
            script = APT.format(folder=tmp_path, busy=busy, message=message) if name == "apt-get" else "#!/bin/sh\n"
            program.write_text(script)
            program.chmod(0o755)
        return lambda: int((tmp_path / "count").read_text())

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(programs, "DEBIAN", {"no-such-program": "no-such-package"})
    monkeypatch.setattr(programs, "APT_LOCK_POLL_S", 0.0)
    return write


def test_another_apt_is_waited_for_with_a_word(apt):
    calls, said = apt(busy=3), []
    programs.ensure_debian(said.append)
    assert calls() == 4
    assert said == ["installing from Debian: no-such-package", f"waiting up to 300 s for another apt: {LOCKED}"]


def test_another_apt_is_not_waited_for_without_end(apt, monkeypatch):
    apt(busy=1000)
    monkeypatch.setattr(programs, "APT_LOCK_TIMEOUT_S", 0.0)
    with pytest.raises(
        BuildError, match="another program has held the lock of apt for 0 s: Could not get lock"
    ) as late:
        programs.ensure_debian(lambda _: None)
    assert "apt-get install no-such-package" in str(late.value.hint)


def test_another_failure_of_apt_is_told_at_once(apt):
    calls = apt(busy=1000, message="Unable to locate package no-such-package")
    with pytest.raises(BuildError, match="Unable to locate package"):
        programs.ensure_debian(lambda _: None)
    assert calls() == 1
