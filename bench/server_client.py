"""A client that costs little: what is measured through it is the server."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

from bench.declaration import BenchmarkError

RECEIVED = 2**16


class Connection:
    """One connection to an HTTP server.

    Args:
        url: Any address of the server.
        one_call: Whether each call has a connection of its own, as those of the SDK have here.
    """

    def __init__(self, url: str, *, one_call: bool = False) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._one_call = one_call
        self._socket: socket.socket | None = None

    def post(self, path: str, body: bytes, *headers: str, content: str = "json") -> bytes:
        """Return a request as it is sent."""
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {self._address[0]}:{self._address[1]}",
            *headers,
            "User-Agent: bench",
            "Accept-Encoding: gzip, deflate",
            "Accept: */*",
            f"Connection: {'close' if self._one_call else 'keep-alive'}",
            f"Content-Type: application/{content}",
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def send(self, request: bytes) -> bytes:
        """Send a request; return the body of the answer.

        Raises:
            BenchmarkError: The answer's status is not 200.
        """
        connection = self._socket or socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = None
        connection.sendall(request)
        answer = bytearray()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._received(connection)
        head = bytes(answer[:end]).lower()
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        while len(answer) < end + 4 + length:
            answer += self._received(connection)
        if not head.startswith(b"http/1.1 200 "):
            raise BenchmarkError(f"a call was answered {bytes(answer)[:1000].decode(errors='replace')}")
        if self._one_call:
            connection.close()
        else:
            self._socket = connection
        return bytes(answer[end + 4 :])

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    @staticmethod
    def _received(connection: socket.socket) -> bytes:
        part = connection.recv(RECEIVED)
        if not part:
            raise BenchmarkError("the server closed the connection before it had answered")
        return part


class LightClient(Connection):
    """One connection to a server's API, with a session of its own.

    Args:
        api_url: Address of the API.
        credentials: Access key and secret key.
        one_call: Whether each call has a connection of its own, as those of the SDK have here.
    """

    def __init__(self, api_url: str, credentials: tuple[str, str], *, one_call: bool = False) -> None:
        super().__init__(api_url, one_call=one_call)
        self._authorization = f"Basic {b64encode(':'.join(credentials).encode()).decode()}"
        self._authorization = f"Bearer {self.call('auth.login', {})['token']}"

    def call(self, endpoint: str, data: Any) -> dict[str, Any]:
        """Call an endpoint; a list is sent as JSON lines."""
        reply: dict[str, Any] = json.loads(self.send(self.request(endpoint, data)))["data"]
        return reply

    def request(self, endpoint: str, data: Any) -> bytes:
        """Return a request as it is sent."""
        is_batch = isinstance(data, list)
        body = "\n".join(json.dumps(item) for item in data) if is_batch else json.dumps(data)
        path, content = f"/v2.23/{endpoint}", "json-lines" if is_batch else "json"
        return self.post(path, body.encode(), f"Authorization: {self._authorization}", content=content)
