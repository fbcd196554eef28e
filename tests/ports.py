"""Ports for tests that start a server on ports which they name."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from clearml_access import locks

OFFSETS = (8, 80, 81, 82)
"""API, web and file server and served models above a port base."""

BASES = range(20_000, 32_000, 100)
"""Below the ports that the kernel gives to clients (32768 and up)."""


def free_port_base(address: str = "127.0.0.1") -> int:
    """Find a port base whose ports are free on `address`, and keep it until this process ends.

    A server binds them seconds later. Until then they look free to the other processes of a test run (pytest-xdist) and
    to the next call here: a locked file per base says that they are taken.
    """
    first = os.getpid() % len(BASES)
    for base in (*BASES[first:], *BASES[:first]):
        file = Path(tempfile.gettempdir(), f"clearml-pods-tests-{os.getuid()}-{base}.lock")
        file.touch()
        if locks.take(file) is not None and _are_free(address, base):  # never closed: the lock goes with the process
            return base
    raise AssertionError(f"no free ports on {address}")


def _are_free(address: str, base: int) -> bool:
    try:
        for offset in OFFSETS:
            with socket.socket() as probe:
                probe.bind((address, base + offset))
    except OSError:
        return False
    return True
