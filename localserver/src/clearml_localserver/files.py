"""The file server: artifacts, models, debug images and dataset archives as plain files below one folder.

Uploads stream into a temporary file of the same file system and are renamed when they are complete and on disk: a
killed upload leaves nothing, a reader never sees half a file. Downloads stream from one open file, so overwriting a
file does not tear a download in progress. It knows nothing of tasks; its caller decides who may come in.

Starlette's `FileResponse` is not used, because files are overwritten under their names here (debug images, models):

- It opens the file by its path after it has read size and tag: a file that is replaced in between is sent with the
  length and the tag of the old one. Here all three are read from one open file.
- Its tag is made of time and size: two files of one size that are stored within one tick of the file system's clock
  (4 ms on ext4) have the same tag, and a client keeps the old one. The tag here also holds the inode.
- It does not answer `If-None-Match` and `If-Modified-Since`.
- It answers a malformed range with 400 and several ranges as multipart; clients of a ClearML file server get 416.
"""

from __future__ import annotations

import errno
import functools
import mimetypes
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearml_localserver.errors import FULL_DISK, ApiError
from clearml_localserver.stored_files import Folder, not_found
from clearml_localserver.uploads import Body, receive_upload

CHUNK = 2**18
MAX_LIST_BYTES = 16 * 2**20
"""Largest body of `delete_many`."""

ACTIVE = re.compile(r"(java|ecma|/j|live)script|/css$")
"""Types that a page can run or apply; with `nosniff` a browser does neither with plain text. An uploaded script must
not become one of the web pages', which take scripts from their own address."""

SAFETY_HEADERS = {
    # An uploaded page or SVG must stay a document: no scripts, no access to the web pages' cookie.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
    "Cross-Origin-Resource-Policy": "same-site",
}
"""On every answer."""

RANGE_END = re.compile(r"[0-9]{0,18}")

CONFLICT = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)


class _WholePath(PathConvertor):
    """The rest of an address, line breaks included: file names have them."""

    regex = "(?s:.*)"


register_url_convertor("path", _WholePath())

Authenticate = Callable[[Request], None]
Handler = Callable[[Request], Awaitable[Response]]


def create_files_app(root: Path, authenticate: Authenticate, max_upload_bytes: int) -> Starlette:
    """Return the file server.

    Args:
        root: Folder of the files; made if missing. What an earlier process left half-written in it is removed.
        authenticate: Raises `ApiError` for a request that is refused.
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
        return JSONResponse(await receive_upload(request, folder, max_upload_bytes))

    @guarded
    async def download(request: Request) -> Response:
        return await run_in_threadpool(_file_reply, request, folder)

    @guarded
    async def delete(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(folder.delete, request.path_params["path"]))

    @guarded
    async def delete_many(request: Request) -> Response:
        body = b"".join([piece async for piece in Body(request, MAX_LIST_BYTES).pieces()])
        return Response(await run_in_threadpool(_delete_each, folder, body), media_type="application/json")

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


def _listed_names(body: bytes) -> list[str]:
    try:
        names = orjson.loads(body)["files"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ApiError(400, 0, 'delete_many needs a JSON body {"files": [names]}') from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ApiError(400, 0, 'delete_many needs a list of names as "files"')
    return names


def _delete_each(folder: Folder, body: bytes) -> bytes:
    deleted: dict[str, str] = {}
    missing: list[str] = []
    for name in _listed_names(body):
        try:
            if name.startswith("/"):
                raise not_found(name)
            deleted[name] = folder.delete(unquote(name), with_folders=True)
        except ApiError:
            missing.append(name)
    return orjson.dumps({"deleted": deleted, "errors": {"Not found": missing} if missing else {}})


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
    # By the last part, and with the slash before it: `data:text/html,x.bin` must not be taken for an address.
    media_type, encoding = mimetypes.guess_type("/" + name.rpartition("/")[2])
    if encoding or media_type is None:  # data.csv.gz is a gzip file, not a CSV
        media_type = f"application/{encoding}" if encoding else "application/octet-stream"
    if ACTIVE.search(media_type):
        media_type = "text/plain"
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
    if unit.strip().lower() != "bytes" or not dash or not all(RANGE_END.fullmatch(part) for part in (first, last)):
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


async def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return PlainTextResponse(error.msg, status_code=error.code)


async def _os_refusal(request: Request, error: Exception) -> Response:
    code = getattr(error, "errno", None)
    if code in FULL_DISK:
        text = "The server's disk is full: nothing was stored. Free some space and upload again"
        return PlainTextResponse(text, status_code=HTTPStatus.INSUFFICIENT_STORAGE)
    if code in CONFLICT:
        text = "A file and a folder cannot have the same name; nothing was stored"
        return PlainTextResponse(text, status_code=HTTPStatus.CONFLICT)
    if code == errno.ENAMETOOLONG:
        return PlainTextResponse("The file's name is too long; nothing was stored", status_code=HTTPStatus.BAD_REQUEST)
    raise error


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # the client has gone


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
