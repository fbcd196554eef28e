"""Reads and deletes files of the file server in process, as its clients do with the methods GET and DELETE."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message


async def delete_file(files: ASGIApp, path: str) -> bool:
    """Delete one file; return whether there was one.

    Args:
        files: The file server's application, with no access check of its own.
        path: The decoded path of the file's address.
    """
    return await _Request(files, "DELETE", path).status() == 200


async def read_file(files: ASGIApp, path: str, most: int) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of one file; None if there is none, or it is longer than `most`.

    Args:
        files: The file server's application, with no access check of its own.
        path: The decoded path of the file's address.
        most: The most bytes that are read.
    """
    asked = _Request(files, "HEAD", path)
    if await asked.status() != 200 or int(asked.headers.get("Content-Length", "0")) > most:
        return None
    request = _Request(files, "GET", path)
    if await request.status() != 200:
        return None
    return request.headers.get("Content-Type", "").partition(";")[0].strip(), bytes(request.body)


class _Request:
    def __init__(self, files: ASGIApp, method: str, path: str) -> None:
        self.files = files
        self.method = method
        self.path = path
        self.code = 0
        self.headers = Headers()
        self.body = bytearray()

    async def status(self) -> int:
        """Send the request and return the status of the answer."""
        scope = {
            "type": "http",
            # From 2.4 on, an answer is not also waiting for the client to leave: this one never does.
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(errors="replace"),
            "root_path": "",
            "query_string": b"",
            "headers": [],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 0),
        }
        await self.files(scope, self._receive, self._send)
        return self.code

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.code = message["status"]
            self.headers = Headers(raw=message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
