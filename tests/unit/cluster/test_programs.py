"""What the node is built from has one version, whoever names it."""

from __future__ import annotations

import re

import pytest

from cluster import components, programs
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
        assert component.argv[0] in programs.DEBIAN or component.name in built
    assert {component.name for component in started} == built | {"containerd"}


def test_a_change_of_what_is_built_is_another_folder(tmp_path, monkeypatch):
    before = programs.built(tmp_path)
    monkeypatch.setattr(programs, "KUBERNETES", "v1.99.0")
    assert programs.built(tmp_path) != before


@pytest.mark.parametrize("text", ["", "{", '{"name": "x1"}', '{"name": "x1", "provider": "kind", "unknown": 1}'])
def test_damaged_facts_are_none(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    assert Facts.read(tmp_path / "cluster.json") is None
