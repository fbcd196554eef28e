"""Metrics of requests: counts, latencies, and a line in the access log.

Requests are counted on the event loop in plain numbers: no lock is needed, and `prometheus_client` is imported at the
first scrape.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearml_localserver.times import iso, utcnow

log = logging.getLogger(__name__)

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))
"""Upper bounds of the latency histogram."""

OTHER = "other"
"""The endpoint of a request for something that has no endpoint's name: pages, files, unknown paths."""

MOST_LINES = 10_000
"""Access log lines that wait for a slow disk; further ones are lost and counted."""


@dataclass
class Latencies:
    """How long the requests of one endpoint took."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(BOUNDS_S))
    sum_s: float = 0.0


class RequestCounters:
    """Counts and latencies of all requests since the start, by service and endpoint."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """Answers by service, endpoint and status."""
        self.latencies: dict[tuple[str, str], Latencies] = {}

    def count(self, service: str, endpoint: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[service, endpoint, status] += 1
        found = self.latencies.get((service, endpoint))
        if found is None:
            found = self.latencies[service, endpoint] = Latencies()
        found.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        found.sum_s += seconds


class AccessLog:
    """A line of JSON for each request; written on a thread of its own, so that a slow disk delays no request.

    Args:
        target: A file, reopened after it was moved away (log rotation), or `-` for standard output.
    """

    def __init__(self, target: str) -> None:
        self.lost = 0
        self._lines: queue.Queue[logging.LogRecord] = queue.Queue(MOST_LINES)
        handler: logging.Handler = (
            logging.StreamHandler(sys.stdout) if target == "-" else logging.handlers.WatchedFileHandler(target)
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._listener = logging.handlers.QueueListener(self._lines, handler)
        self._handler = handler

    def write(self, line: dict[str, Any]) -> None:
        """Add a line."""
        text = orjson.dumps(line).decode()
        record = logging.LogRecord("access", logging.INFO, "", 0, text, None, None)
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self.lost += 1

    @contextmanager
    def open(self) -> Iterator[None]:
        """Write lines for the length of the block."""
        self._listener.start()
        try:
            yield
        finally:
            self._listener.stop()
            self._handler.close()


class RequestMetrics:
    """ASGI middleware around a whole service.

    A service says in `scope["state"]` which `endpoint` a request was for, and which `user` sent it.
    """

    def __init__(self, app: ASGIApp, service: str, counters: RequestCounters, access_log: AccessLog | None) -> None:
        self.app = app
        self.service = service
        self.counters = counters
        self.access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on and measure it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = sent = 0

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            self._note(scope, status or 500, sent, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, sent: int, seconds: float) -> None:
        state = scope["state"]
        endpoint = state.get("endpoint", OTHER)
        self.counters.count(self.service, endpoint, status, seconds)
        if self.access_log is None and not log.isEnabledFor(logging.INFO):
            return
        line = {
            "time": iso(utcnow()),
            "service": self.service,
            "method": scope["method"],
            # Without the query, which may hold what a client should have kept to itself.
            "path": scope["raw_path"].decode("ascii", "replace"),
            "endpoint": endpoint,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "bytes": sent,
            "user": state.get("user", ""),
            "client": scope["client"][0] if scope["client"] else "",
        }
        if self.access_log is not None:
            self.access_log.write(line)
        log.info("%(service)s %(method)s %(path)s %(status)d %(ms).1f ms %(bytes)d bytes %(client)s", line)
