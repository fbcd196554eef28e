"""uvicorn's HTTP connection, with limits added.

uvicorn's httptools protocol bounds neither the size of a header nor the time that a request takes to arrive, and has no
hook to do so, so this is a subclass. Its parser joins the pieces of a header in time quadratic in their number, so
what has arrived is counted before it is parsed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from clearml_localserver.http.connection_manager import CLOSING_S, DRAINED_BYTES, ConnectionManager
from clearml_localserver.rules.addresses import counted_as

SDK_HEADERS = frozenset({b"x-clearml-client", b"x-trains-client"})
AGENT_HEADERS = frozenset({b"x-clearml-agent", b"x-trains-agent"})
NEVER = math.inf

PAGE_HEADERS = (
    "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'\r\n"
    "x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
)
"""Of a page that is answered before any application is asked."""

MAX_WAITING = 16
"""Most requests that a client may send before it has read the answers to those before them; none of ClearML's sends
one. Each costs some kilobytes before anything is known of the client, and a packet holds thousands."""


class GuardedConnection(HttpToolsProtocol):
    """A connection of one of the services.

    Args:
        manager: Knows all connections.
        pages: HTML pages that are answered to refused requests, by status; without one it is a line of text.
    """

    def __init__(self, manager: ConnectionManager, pages: Mapping[int, bytes], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.manager = manager
        self._pages = pages
        self.address = ""
        self.deadline = NEVER
        self.overdue = ""
        self._limits = manager.settings
        self._header_bytes = self._bare_bytes = self._body_bytes = 0
        self._body_until = NEVER
        self._excess: tuple[int, str] | None = None
        self._admitted = self._refused = False
        self._running: RequestResponseCycle | None = None

    # What the connection manager asks.

    def unsent(self) -> int:
        """Return how many bytes wait to be read by the client: the socket's, and the pieces of a large reply."""
        pieces: list[bytes] = self.scope["state"].get("unsent", []) if self.scope else []
        return self.transport.get_write_buffer_size() + sum(map(len, pieces))

    def is_closing(self) -> bool:
        """Return whether the connection is being closed."""
        return self.transport.is_closing()

    def is_paused(self) -> bool:
        """Return whether the server itself has stopped reading from it."""
        return self.flow.read_paused

    def close(self) -> None:
        """Close it once what waits has been sent."""
        self._disconnect()
        self.transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self._disconnect()
        self.transport.abort()

    # The transport's calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection in, or close it."""
        super().connection_made(transport)
        self.address = counted_as(self.client[0]) if self.client else ""
        self._admitted = self.manager.admit(self)
        if self._admitted:
            self._expect("header time-out", self._limits.header_timeout_s)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        self.manager.remove(self)
        self._disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, in pieces, as long as it is within the limits."""
        step = self._limits.max_header_bytes
        for start in range(0, len(data), step):
            if self._refused or self.transport.is_closing():
                return
            piece = data[start : start + step] if len(data) > step else data
            self._bare_bytes += len(piece)
            super().data_received(piece)
            # So much without a byte of a body or the end of a request is a header, a trailer or a chunk's extension.
            if self._bare_bytes > step:
                self._header_too_large()
            if self._excess is not None and not self._refused:
                self._refuse(*self._excess)

    def pause_writing(self) -> None:
        """Tell the connection manager that the client does not read."""
        super().pause_writing()
        self.manager.mark_slow(self)

    def resume_writing(self) -> None:
        """Tell the connection manager that the client has read."""
        super().resume_writing()
        self.manager.mark_read(self)

    # The parser's calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._header_bytes = self._bare_bytes = 0
        self._expect("header time-out", self._limits.header_timeout_s)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._header_bytes += len(url)
        if self._header_bytes > self._limits.max_header_bytes:
            self._excess = (414, f"an address of more than {self._limits.max_header_bytes} bytes")
        else:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._limits.max_header_bytes:
            self._header_too_large()
        elif len(self.headers) >= self._limits.max_headers:
            self._excess = (431, f"a request with more than {self._limits.max_headers} headers")
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request."""
        if self._excess is not None:
            return
        if len(self.pipeline) >= MAX_WAITING:
            self._excess = (429, f"more than {MAX_WAITING} requests at once")
            return
        self.manager.mark_busy(self)
        self._expect_body(DRAINED_BYTES)
        super().on_headers_complete()
        if not self._limits.like_genuine and _shares_connections(self.headers):
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._excess is not None:
            return
        self._bare_bytes = 0
        if not self.cycle.response_complete:  # a refused body that is still sent gets no more time
            self._expect_body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        if self._excess is not None:
            return
        self._bare_bytes = 0
        if self.cycle.response_complete:
            self._expect("idle time-out", self._limits.idle_timeout_s)
        else:
            self.deadline = NEVER
        super().on_message_complete()

    # uvicorn's calls.

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self.manager.mark_idle(self)
            if not self.cycle.more_body:
                # uvicorn's own timer ends with any byte that arrives.
                self._expect("idle time-out", self._limits.idle_timeout_s)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Answer a request, at once or when those before it have been answered."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(400, "what is not an HTTP request")

    def _disconnect(self) -> None:
        """Disconnect the request that is being answered; uvicorn does so only for the newest one, which may wait."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def _expect(self, overdue: str, within_s: float) -> None:
        self.overdue, self.deadline = overdue, self.manager.clock() + within_s

    def _expect_body(self, arrived: int) -> None:
        """Extend the deadline of a body that makes progress, but not endlessly for a few bytes at a time."""
        limit_s = self._limits.body_timeout_s
        self._body_bytes += arrived
        if self._body_bytes >= DRAINED_BYTES:
            self._body_bytes, self._body_until = 0, self.manager.clock() + 2 * limit_s
        self._expect("body time-out", min(limit_s, self._body_until - self.manager.clock()))

    def _header_too_large(self) -> None:
        if self._excess is None:
            self._excess = (431, f"a request with more than {self._limits.max_header_bytes} bytes of headers")

    def _refuse(self, code: int, what: str) -> None:
        """Answer, and ignore what still comes until the client has read it: a closed socket would reset it."""
        self._refused = True
        self.manager.refused[f"status {code}"] += 1
        if self.cycle is not None and not self.cycle.response_complete:  # in the midst of another answer
            self.close()
            return
        page = self._pages.get(code)
        body = page or f"This server does not accept {what}.\n".encode()
        kind = f"text/html; charset=utf-8\r\n{PAGE_HEADERS}" if page else "text/plain; charset=utf-8\r\n"
        head = (
            f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\ncontent-type: {kind}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self._expect("refused", CLOSING_S)


def _shares_connections(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a client hands its open connections on to processes that it forks.

    The SDK does, and whatever else keeps a session of `requests`: parent and child then read each other's answers from
    a connection that was kept alive. An agent forks nothing that calls.
    """
    plain = False
    for name, value in headers:
        if name in SDK_HEADERS:
            return True
        if name in AGENT_HEADERS:
            return False
        if name == b"user-agent":
            plain = value.startswith(b"python-requests/")
    return plain
