"""A log line for every response with status 500 or above.

The tests read these lines (`tests/conftest.py`): a test that causes such a response fails.
"""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

MARK = "server fault:"
"""How such a line starts, after time and level."""


def log_fault(what: str, status: int) -> None:
    """Log a response with status 500 or above."""
    log.error("%s %s answered %d", MARK, what, status)


class LogFaults:
    """ASGI middleware around a whole service."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; log the response if its status is 500 or above, or if there is no response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        what = f"{scope['method']} {scope['raw_path'].decode('ascii', 'replace')}"
        logged = False

        async def watched(message: Message) -> None:
            nonlocal logged
            if message["type"] == "http.response.start" and message["status"] >= 500:
                log_fault(what, message["status"])
                logged = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if not logged:  # uvicorn answers 500, or cuts off the answer that had begun
                log_fault(what, 500)
            raise
