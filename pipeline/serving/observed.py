"""An inference application with what an operator expects beside it: `/metrics`, `/healthz` and `/readyz`.

The application itself is not changed: this stands before it, as plain ASGI.
"""

from __future__ import annotations

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

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        before = CURRENT.set(request)
        self.metrics.began()
        try:
            await self._served(scope, receive, noting)
        finally:
            CURRENT.reset(before)
            self.metrics.ended(request, path, status, time.perf_counter() - began)


async def _answer(send: Send, status: int, kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
