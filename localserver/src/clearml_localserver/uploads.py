"""Receiving an upload: a multipart body streamed to disk, one temporary file per part, within limits.

A refused upload is still read to its end: a client that still sends when the connection closes sees a broken
connection and never the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from clearml_localserver.deadlines import timeout, timeout_at
from clearml_localserver.errors import ApiError
from clearml_localserver.stored_files import Folder, require_storable, stored_parts

WRITE_CHUNK = 2**20
"""Received bytes are gathered to this before a thread writes them: one hop per MiB, not per network packet."""

MAX_PARTS = 100
"""Most parts of one upload. The SDK sends one."""

MAX_HEADER_BYTES = 2**14
"""Longest header of a part. It holds a file's name twice, and a path of 4096 bytes is the longest that Linux takes."""

PATIENCE_S = 60.0
MIN_BYTES = 2**16
"""An upload must send this much in each `PATIENCE_S`, or it is aborted: a stuck client must not hold files forever."""

DRAIN_S = 30.0
"""How long the rest of a refused upload is read."""

PARAMETER = re.compile(rb';[ \t]*([^ \t=;"]+)=(?:"([^"]*)"|([^ \t";]*))[ \t]*')
"""One parameter of a Content-Disposition header by HTML's rule, which the SDK follows: `"`, CR and LF are in a
quoted value as %22, %0D, %0A, and nothing else is escaped."""


class Body:
    """A request's body, read once, in time and within a limit."""

    def __init__(self, request: Request, limit: int) -> None:
        self._stream = request.stream()
        self._limit = limit
        self._received = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces of about `WRITE_CHUNK` bytes.

        Raises:
            ApiError: 413, it is above the limit; 408, it comes too slowly.
        """
        waiting, recent = bytearray(), 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            try:
                async with timeout_at(deadline):
                    data = await anext(self._stream, None)
            except asyncio.TimeoutError as error:
                text = f"The upload was aborted: fewer than {MIN_BYTES} bytes arrived in {PATIENCE_S:.0f} s"
                raise ApiError(408, 0, f"{text}; nothing was stored") from error
            if data is None:
                break
            recent += len(data)
            if recent >= MIN_BYTES:
                recent, deadline = 0, loop.time() + PATIENCE_S
            self._received += len(data)
            if self._received > self._limit:
                raise too_large(self._limit)
            waiting += data
            if len(waiting) >= WRITE_CHUNK:
                yield bytes(waiting)
                waiting.clear()
        yield bytes(waiting)

    async def drain(self) -> None:
        """Read what is still to come and drop it, so that the client reads the answer."""
        with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
            async with timeout(DRAIN_S):
                async for _ in self._stream:
                    pass


class _Upload:
    """A multipart body on its way to disk: one temporary file per part that is a file. Blocks; one thread at a time."""

    def __init__(self, folder: Path, boundary: bytes) -> None:
        self.files: dict[str, Path] = {}
        self.complete = False
        self._folder = folder
        self._parts = 0
        self._made: list[Path] = []
        self._file: BinaryIO | None = None
        self._name = ""
        self._header = [b"", b""]
        self._disposition = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._add_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._add_header(1, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._open,
                "on_part_data": self._write,
                "on_part_end": self._close,
                "on_end": self._end,
            },
            max_header_size=MAX_HEADER_BYTES,
        )

    def feed(self, data: bytes) -> None:
        """Parse more of the body.

        Raises:
            FormParserError: It is not multipart.
            ApiError: 404, a part's name leads out of the root; 400, it cannot be stored; 413, there are too many parts.
            OSError: The disk is full.
        """
        self._parser.write(data)

    def discard(self) -> None:
        """Remove what has not been published."""
        for path in self._made:
            path.unlink(missing_ok=True)
        if self._file is not None:
            with contextlib.suppress(OSError):  # on a full disk, closing tries once more to write
                self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ApiError(413, 0, f"An upload has at most {MAX_PARTS} parts; nothing was stored. Send several uploads")
        self._disposition = b""

    def _add_header(self, index: int, data: bytes) -> None:
        self._header[index] += data

    def _end_header(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = [b"", b""]

    def _open(self) -> None:
        parameters = disposition_parameters(self._disposition)
        if b"filename" not in parameters:  # an ordinary form field
            return
        try:
            self._name = parameters.get(b"name", b"").decode()
        except UnicodeDecodeError as error:
            raise ApiError(400, 0, "The name of an uploaded file is not UTF-8") from error
        require_storable(self._name)
        handle, path = tempfile.mkstemp(dir=self._folder)
        self._made.append(Path(path))
        self._file = os.fdopen(handle, "wb", buffering=WRITE_CHUNK)

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])

    def _close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self.files["/".join(stored_parts(self._name))] = self._made[-1]

    def _end(self) -> None:
        self.complete = True


def disposition_parameters(header: bytes) -> dict[bytes, bytes]:
    """Return the parameters of a part's Content-Disposition header.

    Raises:
        ApiError: 400, it is not well-formed.
    """
    parameters = {}
    at = len(header.partition(b";")[0])
    while at < len(header):
        match = PARAMETER.match(header, at)
        if match is None:
            raise ApiError(400, 0, "The upload is not well-formed: a part's Content-Disposition cannot be read")
        parameters[match[1].lower()] = match[2] if match[2] is not None else match[3]
        at = match.end()
    return parameters


async def receive_upload(request: Request, folder: Folder, limit: int) -> list[str]:
    """Store an upload's files, all or none; return their names.

    Raises:
        ApiError: The upload is refused.
        OSError: It could not be stored.
    """
    body = Body(request, limit)
    try:
        return await _receive(request, body, folder, limit)
    except FormParserError as error:
        await body.drain()
        raise ApiError(400, 0, f"The upload is not well-formed: {error}") from error
    except (ApiError, OSError):
        await body.drain()
        raise


async def _receive(request: Request, body: Body, folder: Folder, limit: int) -> list[str]:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ApiError(415, 0, f"Content-Encoding {request.headers['Content-Encoding']} is not supported")
    length = request.headers.get("Content-Length", "")
    content_type, options = parse_options_header(request.headers.get("Content-Type"))
    if content_type != b"multipart/form-data" or not options.get(b"boundary"):
        if length in ("", "0") and not content_type:
            return []
        raise ApiError(400, 0, "An upload is a multipart/form-data request with one part per file")
    expected = int(length) if length.isdecimal() else 0
    if expected > limit:
        raise too_large(limit)
    upload = await run_in_threadpool(_begin, folder, options[b"boundary"], expected)
    try:
        async for data in body.pieces():
            await run_in_threadpool(upload.feed, data)
        if not upload.complete:
            raise ApiError(400, 0, "The upload ended before its closing boundary; nothing was stored")
        return await run_in_threadpool(folder.publish, upload.files)
    finally:
        await run_in_threadpool(upload.discard)


def _begin(folder: Folder, boundary: bytes, expected: int) -> _Upload:
    if expected > shutil.disk_usage(folder.root).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _Upload(folder.partial, boundary)


def too_large(limit: int) -> ApiError:
    """Return the 413 of a body that is larger than the server takes."""
    return ApiError(413, 0, f"The upload is larger than this server takes ({limit} bytes); nothing was stored")
