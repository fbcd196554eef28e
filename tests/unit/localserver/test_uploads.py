"""Receiving an upload: what comes too slowly is given up, and what is refused is read to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clearml_localserver import uploads
from clearml_localserver.errors import ApiError
from clearml_localserver.stored_files import Folder
from clearml_localserver.uploads import Body, receive_upload
from starlette.requests import Request
from starlette.types import Message

HEADERS = [(b"content-type", b"multipart/form-data; boundary=b")]
HEAD = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'


def request(pieces: AsyncIterator[bytes]) -> Request:
    async def receive() -> Message:
        piece = await anext(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return Request({"type": "http", "method": "POST", "headers": HEADERS}, receive)


async def trickle(sent: list[bytes]) -> AsyncIterator[bytes]:
    """Send a byte now and then for ever: never silent, never done."""
    yield HEAD
    while True:
        await asyncio.sleep(0)
        sent.append(b"x")
        yield b"x"


def test_an_upload_that_only_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PATIENCE_S", 0.02)
    monkeypatch.setattr(uploads, "MIN_BYTES", 2**40)
    monkeypatch.setattr(uploads, "DRAIN_S", 0.02)
    folder, sent = Folder(tmp_path), []
    with pytest.raises(ApiError) as refused:
        asyncio.run(receive_upload(request(trickle(sent)), folder, 2**30))
    assert refused.value.code == 408
    assert "nothing was stored" in refused.value.msg
    assert sent
    assert list(folder.partial.iterdir()) == []


def test_an_upload_that_goes_on_has_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MIN_BYTES", 1)

    async def steady() -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(5):
            yield b"x"
        yield b"\r\n--b--"

    folder = Folder(tmp_path)
    assert asyncio.run(receive_upload(request(steady()), folder, 2**30)) == ["f"]
    assert (folder.root / "f").read_bytes() == b"xxxxx"


def test_what_is_refused_is_read_to_its_end(tmp_path: Path) -> None:
    left = [b"x" * 1000] * 20

    async def large() -> AsyncIterator[bytes]:
        yield HEAD
        while left:
            yield left.pop()

    with pytest.raises(ApiError) as refused:
        asyncio.run(receive_upload(request(large()), Folder(tmp_path), limit=2000))
    assert (refused.value.code, left) == (413, [])


def test_a_body_above_its_limit_is_refused() -> None:
    async def read() -> None:
        async def large() -> AsyncIterator[bytes]:
            yield b"x" * 11

        async for _ in Body(request(large()), 10).pieces():
            pass

    with pytest.raises(ApiError) as refused:
        asyncio.run(read())
    assert refused.value.code == 413
