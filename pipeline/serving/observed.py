"""An inference application with what an operator expects beside it: `/metrics`, `/healthz` and `/readyz`.

The application itself is not changed: this stands before it, as plain ASGI.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pipeline.serving import metrics
from pipeline.serving.answering import CURRENT, Answering
from pipeline.serving.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

FIRST_ERROR = 400
TRACEBACK = "Traceback (most recent call last)"
PLAIN = "text/plain; charset=utf-8"


class Observed:
    """Measures the requests to models, and answers the questions of Kubernetes and Prometheus itself."""

    def __init__(self, served: Application, is_ready: Callable[[], bool], counted: Metrics | None = None) -> None:
        """Stand before an application.

        Args:
            served: The application.
            is_ready: Whether it has read what it serves.
            counted: Where requests are counted.
        """
        self._served = served
        self._is_ready = is_ready
        self.metrics = counted or Metrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection as ASGI says."""
        path = str(scope.get("path") or "")
        if scope["type"] != "http":
            await self._served(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD") and path in ("/metrics", "/healthz", "/readyz"):
            await _answer(send, *self._own(path))
        elif path.startswith("/serve/"):
            await self._measured(path, scope, receive, send)
        else:
            await self._served(scope, receive, send)

    def _own(self, path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, metrics.CONTENT_TYPE, self.metrics.text()
        if path == "/readyz" and not self._is_ready():
            return 503, PLAIN, b"the endpoints are not read yet\n"
        return 200, PLAIN, b"ok\n"

    async def _measured(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        request, status, began = Answering(), 500, time.perf_counter()

        held: Message | None = None

        async def noting(message: Message) -> None:
            nonlocal status, held
            if message["type"] == "http.response.start":
                status = int(message["status"])
                if status >= FIRST_ERROR:  # its headers tell the length of the body that follows
                    held = message
                    return
            elif held is not None:
                if not message.get("more_body"):
                    held, message = _without_traceback(held, message)
                await send(held)
                held = None
            await send(message)

        before = CURRENT.set(request)
        self.metrics.began()
        try:
            await self._served(scope, receive, noting)
        finally:
            CURRENT.reset(before)
            self.metrics.ended(request, path, status, time.perf_counter() - began)


def _without_traceback(start: Message, message: Message) -> tuple[Message, Message]:
    """Return an error without the traceback that clearml-serving adds to a reason; the process's log has it."""
    body = bytes(message.get("body") or b"")
    if TRACEBACK.encode() not in body:
        return start, message
    try:
        found = json.loads(body)
        reason, traceback, _ = found["detail"].partition("\n\n" + TRACEBACK)
    except (ValueError, KeyError, TypeError, AttributeError):
        return start, message
    if not traceback:
        return start, message
    print(found["detail"], file=sys.stderr, flush=True)
    body = json.dumps({**found, "detail": reason}).encode()
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    length = (b"content-length", str(len(body)).encode())
    return {**start, "headers": [*headers, length]}, {**message, "body": body}


async def _answer(send: Send, status: int, kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
