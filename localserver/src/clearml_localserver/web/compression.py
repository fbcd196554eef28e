"""Answers in fewer bytes: pages by gzip as they are made, static files packed once.

gzip and not brotli: the standard library has it, every browser reads it, and for pages of this size the difference is
a few kilobytes. What is compressed holds no secret that a request could be made to repeat: the session is in a cookie.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Mapping

from starlette.responses import Response

PAGE_LEVEL, FILE_LEVEL = 5, 9
LEAST = 1_000
"""Bytes below which an answer fits into one packet anyway."""

PACKED_TYPES = ("text/", "application/json", "application/javascript", "image/svg+xml")


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Return whether a request accepts gzip."""
    offers = (offer.strip().lower().split(";") for offer in headers.get("Accept-Encoding", "").split(","))
    return any(name.strip() == "gzip" and "q=0" not in [p.strip() for p in parameters] for name, *parameters in offers)


def pack(response: Response, headers: Mapping[str, str]) -> Response:
    """Compress an answer that is complete, where that is worth it and the request accepts it."""
    body = getattr(response, "body", b"")  # streamed answers and files have none
    media_type = response.headers.get("Content-Type", "")
    if len(body) < LEAST or not media_type.startswith(PACKED_TYPES) or "Content-Encoding" in response.headers:
        return response
    response.headers["Vary"] = "Accept-Encoding"
    if takes_gzip(headers):
        response.body = gzip.compress(body, PAGE_LEVEL, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.body))
    return response


class PackedFiles:
    """Static files as they are sent compressed, each packed when it is first asked for."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, name: str, read: Callable[[], bytes]) -> bytes:
        """Return a file packed.

        Args:
            name: Its name and version.
            read: Reads it.
        """
        with self._lock:  # plotly.js takes a good part of a second: once, not once for each page that asks
            if name not in self._packed:
                self._packed[name] = gzip.compress(read(), FILE_LEVEL, mtime=0)
            return self._packed[name]
