"""Client addresses: which of them count as one client. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def counted_as(address: str) -> str:
    """Return what a client's address is counted by.

    All of an IPv6 network is one: one machine may have it to itself. An IPv4 address that a socket for both kinds shows
    as an IPv6 one is itself. Any other text stays as it is.
    """
    known = _parsed(address)
    if known is None:
        return address
    return str(known if known.version == 4 or known.is_loopback else ip_network((int(known), 64), strict=False))


def is_of_this_machine(address: str) -> bool:
    """Return whether a client's address, or what it is counted by, is a loopback one."""
    known = _parsed(address)
    return known is not None and known.is_loopback


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        known = ip_address(address)
    except ValueError:
        return None
    return (known.ipv4_mapped or known) if isinstance(known, IPv6Address) else known
