"""What NetworkPolicies allow, as rules of nftables."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cluster import policies

NAMESPACES = [
    {"metadata": {"name": "team", "labels": {"env": "prod"}}},
    {"metadata": {"name": "other", "labels": {"env": "test"}}},
]


def pod(namespace: str, ip: str, *, phase: str = "Running", host: bool = False, **labels: str) -> dict[str, Any]:
    ports = [{"name": "web", "containerPort": 8080}, {"containerPort": 9}]
    spec = {"containers": [{"ports": ports}], **({"hostNetwork": True} if host else {})}
    return {
        "metadata": {"namespace": namespace, "labels": labels},
        "spec": spec,
        "status": {"podIP": ip, "phase": phase},
    }


PODS = [
    pod("team", "10.0.0.2", app="a"),
    pod("team", "10.0.0.3", app="b"),
    pod("other", "10.0.0.4", app="a"),
    pod("team", "10.0.0.5", phase="Succeeded", app="a"),
    pod("team", "10.0.0.1", host=True, app="a"),
    {"metadata": {"namespace": "team"}, "spec": {"containers": []}, "status": {"phase": "Pending"}},
]


def policy(namespace: str = "team", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def allowed(*found: dict[str, Any]) -> dict[str, list[str]]:
    """Return what each selected pod may do, by its chain."""
    text = policies.table(found, PODS, NAMESPACES)
    chains = re.findall(r"chain ((?:egress|ingress)-\S+) \{\n(.*?)    drop\n  \}", text, flags=re.DOTALL)
    for name, _ in chains:
        assert text.count(f"jump {name}\n") == 2  # of packets to others and to the node
    return {name: [line.removesuffix("return").strip() for line in body.splitlines()] for name, body in chains}


def test_without_a_policy_there_are_no_rules():
    assert policies.table([], PODS, NAMESPACES) == policies.NO_RULES


def test_a_policy_without_rules_denies_all_to_the_pods_of_its_namespace():
    found = allowed(policy(policyTypes=["Ingress", "Egress"]))
    assert found == {f"{way}-10-0-0-{last}": [] for way in ("egress", "ingress") for last in (2, 3)}


@pytest.mark.parametrize(
    ("spec", "ways"),
    [({}, {"ingress"}), ({"egress": []}, {"ingress", "egress"}), ({"policyTypes": ["Egress"]}, {"egress"})],
)
def test_the_directions_are_those_that_it_names_or_has_rules_of(spec, ways):
    assert {name.partition("-")[0] for name in allowed(policy(**spec))} == ways


EGRESS = {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Egress"]}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [""]),
        ({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}, ["udp dport 53-53", "tcp dport 53-53"]),
        ({"ports": [{"port": 80, "endPort": 90}]}, ["tcp dport 80-90"]),
        ({"ports": [{"protocol": "SCTP"}]}, ["meta l4proto sctp"]),
        (
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
            ["ip daddr 10.0.0.0/8 ip daddr != 10.1.0.0/16"],
        ),
        ({"to": [{"ipBlock": {"cidr": "fd00::/8"}}]}, []),
        ({"to": [{"podSelector": {}}]}, ["ip daddr { 10.0.0.2, 10.0.0.3 }"]),
        ({"to": [{"podSelector": {"matchLabels": {"app": "none"}}}]}, []),
        ({"to": [{"namespaceSelector": {}}]}, ["ip daddr { 10.0.0.2, 10.0.0.3, 10.0.0.4 }"]),
        (
            {
                "to": [{"namespaceSelector": {"matchLabels": {"env": "test"}}, "podSelector": {}}],
                "ports": [{"port": 1}],
            },
            ["tcp dport 1-1 ip daddr { 10.0.0.4 }"],
        ),
        (
            {"to": [{"podSelector": {"matchLabels": {"app": "b"}}}], "ports": [{"port": "web"}]},
            ["ip daddr 10.0.0.3 tcp dport 8080 ip daddr { 10.0.0.3 }"],
        ),
        ({"ports": [{"port": "none"}]}, []),
    ],
)
def test_what_egress_allows(rule, expected):
    assert allowed(policy(**EGRESS, egress=[rule])) == {"egress-10-0-0-2": expected}


def test_a_named_port_of_ingress_is_the_selected_pods_own():
    rule = {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "web"}]}
    found = allowed(policy(podSelector={"matchLabels": {"app": "b"}}, ingress=[rule]))
    assert found == {"ingress-10-0-0-3": ["ip daddr 10.0.0.3 tcp dport 8080 ip saddr 0.0.0.0/0"]}


def test_what_one_policy_allows_another_does_not_take_away():
    found = allowed(policy(policyTypes=["Egress"]), policy(**EGRESS, egress=[{"ports": [{"port": 1}]}]))
    assert found == {"egress-10-0-0-2": ["tcp dport 1-1"], "egress-10-0-0-3": []}


@pytest.mark.parametrize(
    ("expression", "takes"),
    [
        ({"operator": "In", "values": ["a", "b"]}, True),
        ({"operator": "NotIn", "values": ["a"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
    ],
)
def test_expressions_of_selectors(expression, takes):
    assert policies.matches({"matchExpressions": [{"key": "app", **expression}]}, {"app": "a"}) == takes
