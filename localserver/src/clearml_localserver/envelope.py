"""ClearML's reply envelope, and streaming of large replies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from clearml_localserver.errors import ApiError


def envelope(
    trx: str, name: str, requested: str, since: str, data: list[bytes], error: ApiError | None = None
) -> Response:
    """Return a reply.

    Args:
        trx: The request's id.
        name: The endpoint.
        requested: The API version that was asked for.
        since: The version since which the endpoint is as it is.
        data: The reply's data as pieces of JSON.
        error: Why the request is refused, if it is.
    """
    code = error.code if error else 200
    meta = {
        "id": trx,
        "trx": trx,
        "endpoint": {"name": name, "requested_version": requested, "actual_version": since},
        "result_code": code,
        "result_subcode": error.subcode if error else 0,
        # What a client sent may be quoted in it, half of a character pair too, which JSON cannot carry.
        "result_msg": error.msg.encode(errors="replace").decode() if error else "OK",
        "error_stack": None,
        "error_data": {},
    }
    pieces = [b'{"meta":', orjson.dumps(meta), b',"data":', *data, b"}"]
    headers = dict(error.headers) if error else {}
    if len(data) == 1:
        return Response(b"".join(pieces), code, headers, media_type="application/json")
    return _LargeReply(pieces, code, headers)


class _LargeReply(StreamingResponse):
    """A reply that is never in memory twice: the loop hands it to the network bit by bit, and forgets what has gone.

    `scope["state"]["unsent"]` holds what has not gone, so that the connection knows what a slow reader costs.
    """

    def __init__(self, pieces: list[bytes], code: int, headers: dict[str, str]) -> None:
        headers["Content-Length"] = str(sum(map(len, pieces)))
        super().__init__(_one_by_one(pieces), code, headers, media_type="application/json")
        self._unsent = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["unsent"] = self._unsent
        await super().__call__(scope, receive, send)


async def _one_by_one(pieces: list[bytes]) -> AsyncIterator[bytes]:
    pieces.reverse()
    while pieces:
        yield pieces.pop()
