"""Connections of all three services: admission, limits, time-outs, and counts of what was refused.

Every connection costs a descriptor and memory, so the limits apply before anything is known about the client. When
there are too many, idle connections of the address with the most connections are closed: a client that opens many
sockets locks out only itself.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from clearml_localserver.rules.addresses import is_of_this_machine
from clearml_localserver.settings import Settings

log = logging.getLogger(__name__)

SWEEP_S = 1.0
CLOSING_S = 5.0
"""How long a connection that is being closed may take to send what is left."""

SPARE_FILES = 256
"""Descriptors that are not for connections: database, uploads and downloads in progress, standard streams."""

LOOPBACK_RESERVE = 32
"""Connections from this machine above the limit, so that a health check gets in."""

DRAINED_BYTES = 2**16
"""What a client must have read of its answer in each `write_timeout_s`, and sent of its body in two
`body_timeout_s`."""

MOST_FILES = 2**16


class Connection(Protocol):
    """What the connection manager needs to know of a connection."""

    address: str
    """What the client's address is counted by."""
    deadline: float
    """When (monotonic) it is closed unless something happens."""
    overdue: str
    """Why it is closed then."""

    def unsent(self) -> int:
        """Return how many bytes wait to be read by the client."""

    def is_closing(self) -> bool:
        """Return whether it is being closed."""

    def is_paused(self) -> bool:
        """Return whether the server itself has stopped reading from it."""

    def close(self) -> None:
        """Close it once what waits has been sent."""

    def abort(self) -> None:
        """Close it at once."""


def allow_many_files() -> int:
    """Raise this process's limit of open files as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MOST_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class ConnectionManager:
    """All connections.

    Args:
        settings: The limits.
        files: How many files this process may have open.
        clock: Tells monotonic seconds.
    """

    def __init__(self, settings: Settings, files: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.clock = clock
        self.max_connections = max(LOOPBACK_RESERVE, min(settings.max_connections, files - SPARE_FILES))
        self.refused: Counter[str] = Counter()
        """Refusals and early ends by reason."""
        self._open: dict[str, dict[Connection, None]] = {}
        self._idle: dict[str, dict[Connection, None]] = {}
        self._unread: dict[Connection, tuple[float, int]] = {}

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(len(connections) for connections in self._open.values())

    @property
    def unsent_bytes(self) -> int:
        """How many bytes of answers wait in memory for clients that do not read fast enough."""
        return sum(connection.unsent() for connection in self._unread)

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in, in place of an idle one where there are too many; False to refuse it."""
        address = connection.address
        of_address = len(self._open.get(address, ()))
        if of_address >= self.settings.max_connections_per_address and not self._evict(address):
            return self._refuse("connections of one address")
        allowed = self.max_connections + (LOOPBACK_RESERVE if is_of_this_machine(address) else 0)
        if self.connections >= allowed and not self._evict(self._fullest()):
            return self._refuse("connections")
        self._open.setdefault(address, {})[connection] = None
        self.mark_idle(connection)
        return True

    def mark_idle(self, connection: Connection) -> None:
        """Record that a connection has no request."""
        self._idle.setdefault(connection.address, {})[connection] = None

    def mark_busy(self, connection: Connection) -> None:
        """Record that a connection has a request."""
        self._idle.get(connection.address, {}).pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        self._unread.pop(connection, None)
        for group in (self._open, self._idle):
            there = group.get(connection.address, {})
            there.pop(connection, None)
            if not there:
                group.pop(connection.address, None)

    def mark_slow(self, connection: Connection) -> None:
        """Record that a client does not read as fast as it is answered."""
        self._unread[connection] = (self.clock(), connection.unsent())
        while self.unsent_bytes > self.settings.max_unsent_bytes and len(self._unread) > 1:
            self._abort(next(iter(self._unread)), "unread answers")

    def mark_read(self, connection: Connection) -> None:
        """Record that a client has read nearly all of its answer."""
        self._unread.pop(connection, None)

    def sweep(self) -> None:
        """End what is overdue."""
        now = self.clock()
        for connection in [one for connections in self._open.values() for one in connections]:
            if connection in self._unread:  # handled below
                continue
            closing = connection.is_closing()
            if closing:
                connection.deadline = min(connection.deadline, now + CLOSING_S)
            if now < connection.deadline:
                continue
            if closing:
                connection.abort()
            elif connection.is_paused():
                connection.deadline = now + self.settings.body_timeout_s
            else:
                self.refused[connection.overdue] += 1
                connection.deadline = now + CLOSING_S
                connection.close()
        for connection, (since, unsent) in list(self._unread.items()):
            if now - since >= self.settings.write_timeout_s:
                left = connection.unsent()
                if unsent - left < DRAINED_BYTES:
                    self._abort(connection, "write time-out")
                else:
                    self._unread[connection] = (now, left)

    async def keep_sweeping(self) -> None:
        """Close overdue connections, in an endless loop."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def _refuse(self, reason: str) -> bool:
        self.refused[reason] += 1
        return False

    def _abort(self, connection: Connection, reason: str) -> None:
        self.refused[reason] += 1
        self._unread.pop(connection, None)
        connection.abort()

    def _evict(self, address: str) -> bool:
        for connection in self._idle.get(address, {}):
            self.refused["evicted while idle"] += 1
            self.remove(connection)
            connection.abort()
            return True
        return False

    def _fullest(self) -> str:
        return max(self._idle, key=lambda address: len(self._open.get(address, ())), default="")
