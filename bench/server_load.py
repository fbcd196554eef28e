"""Many clients of an HTTP server in one process of their own: `python -m bench.server_load`, told on standard input.

One thread serves all connections, so that a call costs the client a few hundredths of a millisecond: what is measured
is the server. `drive` starts such a process.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from bench.declaration import BenchmarkError

RECEIVED = 2**18
DEADLINE_S = 120.0
SILENCE_S = 60.0
"""A server that answers nobody for so long has failed."""


class Line:
    """One client: it sends the next request when the last one is answered."""

    def __init__(self, address: tuple[str, int], requests: Iterator[bytes], own_connections: bool) -> None:
        self._address = address
        self._requests = requests
        self._own_connections = own_connections
        self._received = bytearray()
        self.socket = self._connected()
        self.sent_at = 0.0

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self) -> None:
        """Send the next request."""
        self.sent_at = time.perf_counter()
        self.socket.sendall(next(self._requests))

    def is_answered(self) -> bool:
        """Read what has come; return whether that is the whole answer."""
        part = self.socket.recv(RECEIVED)
        if not part:
            raise BenchmarkError("the server closed the connection before it had answered")
        self._received += part
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._received[:end]).lower()
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(self._received) < end + 4 + length:
            return False
        if not head.startswith(b"http/1.1 200 "):
            raise BenchmarkError(f"a call was answered {bytes(self._received)[:1000].decode(errors='replace')}")
        self._received.clear()
        return True

    def renew(self, watched: selectors.BaseSelector) -> None:
        """Take a new connection for the next call, where each has its own."""
        if self._own_connections:
            watched.unregister(self.socket)
            self.socket.close()
            self.socket = self._connected()
            watched.register(self.socket, selectors.EVENT_READ, self)


def call(asked: dict[str, Any]) -> dict[str, float]:
    """Call a server as `drive` asks; return calls a second, latencies in ms, and this process's time per call."""
    lines = [
        Line((asked["host"], asked["port"]), itertools.cycle(map(b64decode, requests)), asked["own_connections"])
        for requests in asked["clients"]
    ]
    times: list[float] = []
    with selectors.DefaultSelector() as watched:
        for line in lines:
            watched.register(line.socket, selectors.EVENT_READ, line)
        began, worked = time.perf_counter(), time.process_time()
        for line in lines:
            line.send()
        end = began + asked["seconds"]
        while (now := time.perf_counter()) < end or not times:
            ready = watched.select(SILENCE_S)
            if not ready:
                raise BenchmarkError(f"the server answered nobody for {SILENCE_S:.0f} s")
            for key, _ in ready:
                if key.data.is_answered():
                    times.append(time.perf_counter() - key.data.sent_at)
                    key.data.renew(watched)
                    key.data.send()
    took, worked = now - began, time.process_time() - worked
    for line in lines:
        line.socket.close()
    quantiles = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return {
        "rate": len(times) / took,
        "median": quantiles[49] * 1000,
        "p99": quantiles[98] * 1000,
        "client": worked / len(times) * 1000,
        "count": len(times),
    }


def drive(url: str, clients: list[list[bytes]], seconds: float, *, own_connections: bool = False) -> dict[str, float]:
    """Call a server from a process of its own.

    Args:
        url: Any address of the server.
        clients: For each client the requests that it sends, again and again.
        seconds: For how long.
        own_connections: Whether each call has a connection of its own.

    Raises:
        BenchmarkError: A call is not answered 200.
    """
    parts = urlsplit(url)
    asked = {
        "host": parts.hostname,
        "port": parts.port,
        "seconds": seconds,
        "own_connections": own_connections,
        "clients": [[b64encode(request).decode() for request in requests] for requests in clients],
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.server_load"], input=json.dumps(asked), capture_output=True, text=True,
        timeout=DEADLINE_S + seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"the clients failed: {(done.stderr or done.stdout).strip()[-1000:]}")
    return dict(json.loads(done.stdout))


def main() -> None:
    """Call as standard input says; write what was found."""
    try:
        print(json.dumps(call(json.load(sys.stdin))))
    except (BenchmarkError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
