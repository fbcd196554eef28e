"""What a cluster's NetworkPolicies mean for the node's packets: the text of one nftables table. Pure.

The CNI plug-in of the node enforces none. kube-network-policies would, but needs `queue` of nftables, which not every
kernel has; kube-router would need ipset, iptables and a second build of Kubernetes' libraries.

All pods are on this one node, and all their packets are routed by it, so one table decides: `forward` sees packets
between pods and to other machines, `input` those to the node itself. Packets of the node to its pods (the kubelet's
probes) are not asked about, as Kubernetes has it. IPv4 only, as is the cluster.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

TABLE = "network-policies"
NO_RULES = f"table ip {TABLE}\ndelete table ip {TABLE}\n"
"""Removes the table, also where there is none."""

_OPERATORS: dict[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}


@dataclass(frozen=True)
class Pod:
    """A pod with an address of its own."""

    namespace: str
    ip: str
    labels: Json
    ports: tuple[tuple[str, str, int], ...] = ()
    """Name, protocol and number of those that its containers declare."""

    @classmethod
    def all_of(cls, objects: Sequence[Json]) -> list[Pod]:
        """Return the pods whose packets are theirs alone: neither the node's own, nor those of a pod that has ended."""
        found = []
        for pod in objects:
            status, spec, metadata = pod.get("status") or {}, pod["spec"], pod["metadata"]
            if status.get("podIP") and not spec.get("hostNetwork") and status.get("phase") in ("Pending", "Running"):
                declared = [port for container in spec["containers"] for port in container.get("ports") or ()]
                ports = tuple(
                    (port["name"], port.get("protocol", "TCP"), port["containerPort"])
                    for port in declared
                    if "name" in port
                )
                found.append(cls(metadata["namespace"], status["podIP"], metadata.get("labels") or {}, ports))
        return sorted(found, key=lambda pod: ipaddress.ip_address(pod.ip))


@dataclass(frozen=True)
class Direction:
    """One of the two that policies speak of."""

    name: str
    rules: str
    peers: str
    own: str
    """What nftables calls the selected pod's address in such a packet."""
    other: str


DIRECTIONS = (
    Direction("Egress", "egress", "to", "saddr", "daddr"),
    Direction("Ingress", "ingress", "from", "daddr", "saddr"),
)


def table(policies: Sequence[Json], pods: Sequence[Json], namespaces: Sequence[Json]) -> str:
    """Return the rules, as `nft --file` reads them, that take the place of those before.

    Args:
        policies: The NetworkPolicies of all namespaces.
        pods: The pods of all namespaces.
        namespaces: All namespaces.
    """
    if not policies:
        return NO_RULES
    known = Pod.all_of(pods)
    labels = {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in namespaces}
    chains, jumps = list[str](), list[str]()
    for direction in DIRECTIONS:
        for pod in known:
            selecting = [policy for policy in policies if _selects(policy, pod, direction)]
            if selecting:
                name = f"{direction.rules}-{pod.ip}".replace(".", "-")
                jumps.append(f"    ip {direction.own} {pod.ip} jump {name}")
                rules = [rule for policy in selecting for rule in _rules(policy, pod, direction, known, labels)]
                chains.append(_chain(name, [*(f"    {rule} return" for rule in rules), "    drop"]))
    hooks = [
        _chain(
            hook, [f"    type filter hook {hook} priority filter", "    ct state established,related accept", *jumps]
        )
        for hook in ("forward", "input")
    ]
    return NO_RULES + f"table ip {TABLE} {{\n{''.join(chains + hooks)}}}\n"


def _chain(name: str, lines: Sequence[str]) -> str:
    return f"  chain {name} {{\n" + "\n".join(lines) + "\n  }\n"


def _selects(policy: Json, pod: Pod, direction: Direction) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and direction.name in types and matches(spec.get("podSelector") or {}, pod.labels)


def matches(selector: Json, labels: Json) -> bool:
    """Return whether a label selector takes an object; an empty one takes all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        _OPERATORS[row["operator"]](labels.get(row["key"]), row.get("values") or ())
        for row in selector.get("matchExpressions") or ()
    )


def _rules(policy: Json, pod: Pod, direction: Direction, pods: Sequence[Pod], labels: Json) -> Iterator[str]:
    """Yield the packets that one policy allows a pod, each as an nftables match."""
    for rule in policy["spec"].get(direction.rules) or ():
        for peer in rule.get(direction.peers) or (None,):
            others = [each for each in pods if peer is None or _is_peer(peer, each, policy, labels)]
            addresses = "" if peer is None else _addresses(peer, others, direction)
            if addresses is not None:
                spoken_to = [pod] if direction.name == "Ingress" else others
                for port in rule.get("ports") or [{}]:
                    yield from (f"{each} {addresses}".strip() for each in _ports(port, spoken_to))


def _is_peer(peer: Json, pod: Pod, policy: Json, labels: Json) -> bool:
    if "namespaceSelector" in peer:
        there = matches(peer["namespaceSelector"] or {}, labels.get(pod.namespace, {}))
    else:
        there = pod.namespace == policy["metadata"]["namespace"]
    return there and matches(peer.get("podSelector") or {}, pod.labels)


def _addresses(peer: Json, pods: Sequence[Pod], direction: Direction) -> str | None:
    """Return the match of a peer's addresses; None where it has none."""
    if block := peer.get("ipBlock"):
        excepted = "".join(f" ip {direction.other} != {cidr}" for cidr in block.get("except") or ())
        return None if ":" in block["cidr"] else f"ip {direction.other} {block['cidr']}{excepted}"
    return f"ip {direction.other} {{ {', '.join(pod.ip for pod in pods)} }}" if pods else None


def _ports(port: Json, spoken_to: Sequence[Pod]) -> Iterator[str]:
    """Yield the matches of a rule's port; a name is a number of the pod that is spoken to."""
    wanted, protocol = port.get("port"), str(port.get("protocol", "TCP"))
    if isinstance(wanted, str):
        for pod in spoken_to:
            numbers = [number for name, its, number in pod.ports if (name, its) == (wanted, protocol)]
            yield from (f"ip daddr {pod.ip} {protocol.lower()} dport {number}" for number in numbers)
    elif wanted is not None:
        yield f"{protocol.lower()} dport {wanted}-{port.get('endPort', wanted)}"
    elif port:
        yield f"meta l4proto {protocol.lower()}"
    else:
        yield ""
