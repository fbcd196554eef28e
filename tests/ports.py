"""Ports for tests that start a server on ports which they name."""

from __future__ import annotations

import os
import socket

OFFSETS = (8, 80, 81)
"""API, web and file server above a port base."""

BASES = range(20_000, 32_000, 100)
"""Below the ports that the kernel gives to clients (32768 and up)."""


def free_port_base(address: str = "127.0.0.1") -> int:
    """Find a port base whose three ports are free on `address`.

    Processes that ask at the same time (pytest-xdist) begin at different places, so that they do not find the same one.
    """
    first = os.getpid() % len(BASES)
    for base in (*BASES[first:], *BASES[:first]):
        try:
            for offset in OFFSETS:
                with socket.socket() as probe:
                    probe.bind((address, base + offset))
        except OSError:
            continue
        return base
    raise AssertionError(f"no three free ports on {address}")
