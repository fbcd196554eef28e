"""The node's link to this machine: a pair of interfaces, one route, one rule for the way out.

Outside system: this machine's network, through `ip` and `nft`. Inside the node's namespace nothing is cleaned up,
because it ends with the node; outside it `disconnect` removes exactly what `connect` made.
"""

from __future__ import annotations

import ipaddress
import json
from ipaddress import IPv4Network
from pathlib import Path

from clearml_access import processes
from cluster import shell
from cluster.errors import CannotHostError, ClusterError
from cluster.layout import LINK_PREFIX, Addresses, Layout

CANDIDATES = [IPv4Network(f"10.{second}.0.0/16") for second in range(201, 217)]
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
INTERFACES = Path("/sys/class/net")
UPLINK = "eth0"
"""The node's end, in its own network namespace."""

LINK_GONE_TIMEOUT_S = 30.0
RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def free_addresses() -> Addresses:
    """Return the first range that no address and no route of this machine overlaps.

    Raises:
        CannotHostError: All are taken.
    """
    routes = json.loads(shell.run("ip", "-json", "-4", "route", "show", "table", "all"))
    taken = []
    for route in routes:
        if route.get("dst", "default") != "default":
            taken.append(IPv4Network(route["dst"], strict=False))
    for candidate in CANDIDATES:
        if not any(candidate.overlaps(network) for network in taken if network.prefixlen):
            return Addresses(candidate)
    raise CannotHostError("every range from 10.201.0.0/16 to 10.216.0.0/16 is in use here", hint="ip route")


def mtu() -> int:
    """Return the MTU of the way out, so that pods never send what the next hop drops."""
    for route in json.loads(shell.run("ip", "-json", "-4", "route", "show", "default")):
        return int((INTERFACES / route["dev"] / "mtu").read_text())
    return 1500


def resolvers() -> list[str]:
    """Return the name servers that the node can reach too: a stub on a loopback address is this machine's alone."""
    for file in RESOLVER_FILES:
        rows = (line.split() for line in file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
        servers = [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver" and "." in row[1]]
        reachable = [server for server in servers if not ipaddress.ip_address(server).is_loopback]
        if reachable:
            return reachable
    return []


def is_connected(layout: Layout) -> bool:
    """Return whether this machine's end of the link exists."""
    return (INTERFACES / layout.link).exists()


def connect(layout: Layout, addresses: Addresses, node_pid: int, mtu: int) -> None:
    """Lay the link into the network namespace of process `node_pid`, and let its traffic out; safe to repeat."""
    link, range_ = layout.link, str(addresses.range)
    # Replies must find their way back: no other machine knows the node's addresses.
    rules = f"""\
table ip {layout.table}
flush table ip {layout.table}
table ip {layout.table} {{
  chain out {{
    type nat hook postrouting priority srcnat
    ip saddr {range_} ip daddr != {range_} oifname != {link} masquerade
  }}
}}
"""
    shell.run("nft", "--file", "-", stdin=rules, error=CannotHostError, hint="does this kernel have nftables?")
    FORWARDING.write_text("1")
    if not is_connected(layout):
        ends = ("type", "veth", "peer", "name", UPLINK, "mtu", str(mtu), "netns", str(node_pid))
        shell.run("ip", "link", "add", link, "mtu", str(mtu), *ends)
    shell.run("ip", "address", "replace", f"{addresses.host}/30", "dev", link)
    shell.run("ip", "link", "set", link, "up")
    shell.run("ip", "route", "replace", range_, "via", str(addresses.node), "dev", link)


def join(addresses: Addresses) -> None:
    """Configure the node's end; called by the node process, in its own namespace."""
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "add", f"{addresses.node}/30", "dev", UPLINK),
        ("link", "set", UPLINK, "up"),
        ("route", "add", "default", "via", str(addresses.host)),
    ):
        shell.run("ip", *words)
    FORWARDING.write_text("1")


def forwarding() -> str:
    """Return this machine's forwarding switch, to be given back to `disconnect`."""
    return FORWARDING.read_text().strip()


def disconnect(layout: Layout, forwarding_before: str | None) -> None:
    """Remove link, route, rule, and what `connect` switched; what is not there is no error."""
    if is_connected(layout):
        shell.works("ip", "link", "delete", layout.link)
        # The kernel may have been faster: it removes the link with the node's end, soon after the node's last process.
        if not processes.wait_until(lambda: not is_connected(layout), LINK_GONE_TIMEOUT_S):
            raise ClusterError(f"link {layout.link} cannot be removed", hint=f"ip link delete {layout.link}")
    if shell.works("nft", "list", "table", "ip", layout.table):
        shell.run("nft", "delete", "table", "ip", layout.table)
    others = any(path.name.startswith(LINK_PREFIX) for path in INTERFACES.iterdir())
    if forwarding_before is not None and not others:
        FORWARDING.write_text(forwarding_before)
