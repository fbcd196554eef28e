"""The file server: artifacts, models, debug images and dataset archives as plain files below one folder.

Uploads stream into a temporary file of the same file system and are renamed when they are complete and on disk: a
killed upload leaves nothing, a reader never sees half a file. Downloads stream from one open file, so overwriting a
file does not tear a download in progress. It knows nothing of tasks; who may come in is its caller's word.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import mimetypes
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localserver.errors import ApiError
from localserver.stored_files import Folder, not_found, stored_parts

CHUNK = 2**18
WRITE_CHUNK = 2**20
"""Received bytes are gathered to this before a thread writes them: one hop per MiB, not per network packet."""

MAX_LIST_BYTES = 16 * 2**20
"""Largest body of `delete_many`."""

SAFETY_HEADERS = {
    # An uploaded page or SVG must stay a document: no scripts, no access to the web pages' cookie.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
    "Cross-Origin-Resource-Policy": "same-site",
}
"""On every answer."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CONFLICT = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)

Authenticate = Callable[[Request], None]
Handler = Callable[[Request], Awaitable[Response]]


def create_files_app(root: Path, authenticate: Authenticate, max_upload_bytes: int) -> Starlette:
    """Return the file server.

    Args:
        root: Folder of the files; made if missing. What an earlier process left half-written in it is removed.
        authenticate: Raises `ApiError` for a request that may not come in.
        max_upload_bytes: Largest upload request.
    """
    folder = Folder(root)

    def guarded(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def guard(request: Request) -> Response:
            if not request.headers.get("Authorization", "Bearer ").startswith("Bearer "):
                raise ApiError(401, 0, "Only bearer token authorization is supported")
            authenticate(request)
            return await handler(request)

        return guard

    async def ping(request: Request) -> Response:
        return PlainTextResponse("OK")

    @guarded
    async def upload(request: Request) -> Response:
        return JSONResponse(await _receive_upload(request, folder, max_upload_bytes))

    @guarded
    async def download(request: Request) -> Response:
        return await run_in_threadpool(_file_reply, request, folder)

    @guarded
    async def delete(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(folder.delete, request.path_params["path"]))

    @guarded
    async def delete_many(request: Request) -> Response:
        names = _listed_names(await _limited_body(request, MAX_LIST_BYTES))
        return JSONResponse(await run_in_threadpool(_delete_each, folder, names))

    return Starlette(
        routes=[
            Route("/", ping, methods=["GET"]),
            Route("/", upload, methods=["POST"]),
            Route("/delete_many", delete_many, methods=["POST"]),
            Route("/{path:path}", download, methods=["GET"]),
            Route("/{path:path}", delete, methods=["DELETE"]),
        ],
        middleware=[Middleware(_SafetyHeaders)],
        exception_handlers={ApiError: _refusal, OSError: _os_refusal, ClientDisconnect: _gone},
    )


class _Upload:
    """A multipart body on its way to disk: one temporary file per part that is a file. Blocks; one thread at a time."""

    def __init__(self, folder: Path, boundary: bytes) -> None:
        self.files: dict[str, Path] = {}
        self.complete = False
        self._folder = folder
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
        )

    def feed(self, data: bytes) -> None:
        """Parse more of the body.

        Raises:
            FormParserError: It is not multipart.
            ApiError: 404, a part's name leads out of the root.
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
        self._disposition = b""

    def _add_header(self, index: int, data: bytes) -> None:
        self._header[index] += data

    def _end_header(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = [b"", b""]

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:  # an ordinary form field
            return
        try:
            # Clients cannot put a quote into a quoted header; HTML's rule, which they follow, writes it as %22.
            self._name = options.get(b"name", b"").decode().replace("%22", '"')
        except UnicodeDecodeError as error:
            raise ApiError(400, 0, "The name of an uploaded file is not UTF-8") from error
        stored_parts(self._name)
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


async def _receive_upload(request: Request, folder: Folder, limit: int) -> list[str]:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ApiError(415, 0, f"Content-Encoding {request.headers['Content-Encoding']} is not supported")
    length = request.headers.get("Content-Length", "")
    content_type, options = parse_options_header(request.headers.get("Content-Type"))
    if content_type != b"multipart/form-data" or not options.get(b"boundary"):
        if length in ("", "0") and not content_type:
            return []
        raise ApiError(400, 0, "An upload is a multipart/form-data request with one part per file")
    expected = int(length) if length.isdigit() else 0
    if expected > limit:
        raise _too_large(limit)
    if expected > shutil.disk_usage(folder.root).free:
        raise OSError(errno.ENOSPC, "")
    try:
        upload = _Upload(folder.partial, options[b"boundary"])
    except FormParserError as error:
        raise ApiError(400, 0, f"The upload is not well-formed: {error}") from error
    try:
        async for data in _gathered(request, limit):
            await run_in_threadpool(upload.feed, data)
        if not upload.complete:
            raise ApiError(400, 0, "The upload ended before its closing boundary; nothing was stored")
        return await run_in_threadpool(folder.publish, upload.files)
    except FormParserError as error:
        raise ApiError(400, 0, f"The upload is not well-formed: {error}") from error
    finally:
        await run_in_threadpool(upload.discard)


async def _gathered(request: Request, limit: int) -> Any:
    """Yield a request's body in pieces of about `WRITE_CHUNK` bytes."""
    received, waiting = 0, bytearray()
    async for data in request.stream():
        received += len(data)
        if received > limit:
            raise _too_large(limit)
        waiting += data
        if len(waiting) >= WRITE_CHUNK:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


async def _limited_body(request: Request, limit: int) -> bytes:
    return b"".join([data async for data in _gathered(request, limit)])


def _listed_names(body: bytes) -> list[str]:
    try:
        names = orjson.loads(body)["files"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ApiError(400, 0, 'delete_many needs a JSON body {"files": [names]}') from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ApiError(400, 0, 'delete_many needs a list of names as "files"')
    return names


def _delete_each(folder: Folder, names: list[str]) -> dict[str, Any]:
    deleted: dict[str, str] = {}
    missing: list[str] = []
    for name in names:
        try:
            if name.startswith("/"):
                raise not_found(name)
            deleted[name] = folder.delete(unquote(name), with_folders=True)
        except ApiError:
            missing.append(name)
    return {"deleted": deleted, "errors": {"Not found": missing} if missing else {}}


def _file_reply(request: Request, folder: Folder) -> Response:
    name = request.path_params["path"]
    file = folder.open(name)
    status = os.fstat(file.fileno())
    headers = _file_headers(name, status, "download" in request.query_params)
    if _is_not_modified(request, headers):
        file.close()
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    start, end, code = 0, status.st_size, HTTPStatus.OK
    wanted = request.headers.get("Range")
    if wanted and request.headers.get("If-Range", headers["ETag"]) in (headers["ETag"], headers["Last-Modified"]):
        part = _single_range(wanted, status.st_size)
        if part is None:
            file.close()
            unsatisfied = {"Content-Range": f"bytes */{status.st_size}"}
            return PlainTextResponse(
                f"Range {wanted} of {status.st_size} bytes cannot be served",
                status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                headers=unsatisfied,
            )
        (start, end), code = part, HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{status.st_size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=code, headers=headers)
    return StreamingResponse(_pieces(file, start, end), status_code=code, headers=headers)


def _file_headers(name: str, status: os.stat_result, as_attachment: bool) -> dict[str, str]:
    media_type, encoding = mimetypes.guess_type(name)
    if encoding or media_type is None:  # data.csv.gz is a gzip file, not a CSV
        media_type = f"application/{encoding}" if encoding else "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    kind = "attachment" if as_attachment else "inline"
    return {
        "Content-Type": media_type,
        "Content-Disposition": f"{kind}; filename*=UTF-8''{quote(name.rpartition('/')[2], safe='')}",
        "ETag": f'"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"',
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        "Accept-Ranges": "bytes",
        # Debug images are overwritten under the same name: keep, but ask each time (a 304 is cheap).
        "Cache-Control": "private, no-cache",
        "Access-Control-Allow-Origin": "*",
    }


def _is_not_modified(request: Request, headers: dict[str, str]) -> bool:
    if tags := request.headers.get("If-None-Match"):
        return tags.strip() == "*" or headers["ETag"] in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    if since := request.headers.get("If-Modified-Since"):
        try:
            return parsedate_to_datetime(headers["Last-Modified"]) <= parsedate_to_datetime(since)
        except (ValueError, TypeError):  # not a date, or one without a zone
            return False
    return False


def _single_range(text: str, size: int) -> tuple[int, int] | None:
    """Return the bytes that `bytes=first-last`, `bytes=first-` or `bytes=-count` asks for; None if unserviceable."""
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash or not all(part.isdecimal() or not part for part in (first, last)):
        return None
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(size - int(last or 0), 0), size
    return (start, end) if start < end else None


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (piece := file.read(min(CHUNK, end - start))):
            start += len(piece)
            yield piece


def _too_large(limit: int) -> ApiError:
    return ApiError(413, 0, f"The upload is larger than this server takes ({limit} bytes); nothing was stored")


async def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return PlainTextResponse(error.msg, status_code=error.code)


async def _os_refusal(request: Request, error: Exception) -> Response:
    code = getattr(error, "errno", None)
    if code in FULL:
        text = "The server's disk is full: nothing was stored. Free some space and upload again"
        return PlainTextResponse(text, status_code=HTTPStatus.INSUFFICIENT_STORAGE)
    if code in CONFLICT:
        text = "A file and a folder cannot have the same name; nothing was stored"
        return PlainTextResponse(text, status_code=HTTPStatus.CONFLICT)
    if code == errno.ENAMETOOLONG:
        return PlainTextResponse("The file's name is too long; nothing was stored", status_code=HTTPStatus.BAD_REQUEST)
    raise error


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


class _SafetyHeaders:
    """Adds `SAFETY_HEADERS` to every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SAFETY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_safe)
