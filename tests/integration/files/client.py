"""What the tests of the file server share: uploads, downloads, large bodies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.stored_files import PARTIAL

MIB = 2**20


def put(files: httpx.Client, content: dict[str, bytes]) -> httpx.Response:
    return files.post("/", files=[(name, (name, data)) for name, data in content.items()])


def get(files: httpx.Client, name: str, **headers: str) -> httpx.Response:
    return files.get(f"/{name}", headers=headers)


def partial_files(server: ClearmlServer) -> list[str]:
    return os.listdir(server.data / "files" / PARTIAL)


def blocks(count: int) -> Iterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="big/one"; filename="x"\r\n\r\n'
    for index in range(count):
        yield bytes([index % 251]) * MIB
    yield b"\r\n--b--\r\n"


STREAM = {"Content-Type": "multipart/form-data; boundary=b"}
