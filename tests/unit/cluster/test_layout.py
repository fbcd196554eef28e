"""Names, folders and addresses of a cluster."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.layout import Addresses, Layout

HOME = Path("/home/me")


@pytest.mark.parametrize(
    ("environ", "state", "cache"),
    [
        ({}, "/home/me/.local/state/clearml-pods/clusters/x1", "/home/me/.cache/clearml-pods/cluster"),
        ({"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"}, "/s/clearml-pods/clusters/x1", "/c/clearml-pods/cluster"),
        ({"CLEARML_PODS_CLUSTER_STATE": "/t", "CLEARML_PODS_CLUSTER_CACHE": "/d"}, "/t/x1", "/d"),
    ],
)
def test_folders_follow_the_environment(environ, state, cache):
    layout = Layout.of("x1", environ, HOME)
    assert (str(layout.state), str(layout.cache)) == (state, cache)


@pytest.mark.parametrize("name", ["", "x", "X1", "1x", "x_1", "x-", "../x", "x" * 33])
def test_a_name_must_be_a_node_name(name):
    with pytest.raises(ClusterError, match="not a node name"):
        Layout.of(name, {}, HOME)


def test_a_path_too_long_for_sockets_is_refused():
    with pytest.raises(ClusterError, match="sockets"):
        Layout.of("x1", {"CLEARML_PODS_CLUSTER_STATE": "/" + "d" * 80}, HOME)


def test_two_clusters_share_no_name_outside_their_namespaces():
    one, two = (Layout.of(name, {}, HOME) for name in ("x1", "x2"))
    assert {one.link, one.table, one.cgroup}.isdisjoint({two.link, two.table, two.cgroup})
    assert len(one.link) <= 15  # the kernel's limit for interfaces


def test_ranges_of_one_cluster_do_not_overlap():
    addresses = Addresses(IPv4Network("10.201.0.0/16"))
    assert addresses.host == IPv4Address("10.201.0.1")
    assert addresses.node == IPv4Address("10.201.0.2")
    assert addresses.api_service in addresses.services
    assert not addresses.pods.overlaps(addresses.services)
    assert addresses.node not in addresses.pods
    assert addresses.pods.num_addresses > 110  # a node's pods
