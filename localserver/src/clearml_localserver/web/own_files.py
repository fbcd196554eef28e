"""Deletes files of the file server in process, as its clients do with the method DELETE."""

from __future__ import annotations

from starlette.types import ASGIApp, Message


async def delete_file(files: ASGIApp, path: str) -> bool:
    """Delete one file; return whether there was one.

    Args:
        files: The file server's application, with no access check of its own.
        path: The decoded path of the file's address.
    """
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "DELETE",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(errors="replace"),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 0),
    }
    await files(scope, receive, send)
    return status == 200
