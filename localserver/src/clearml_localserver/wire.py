"""From an HTTP request to an endpoint and back: paths, bodies, authentication, envelopes, waiting.

The dispatcher is the only place where errors become replies. It talks to the store through endpoint functions alone.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from secrets import token_hex
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from clearml_localserver.auth import API_VERSION, COOKIE, Identity, Presented
from clearml_localserver.envelope import envelope
from clearml_localserver.errors import ApiError
from clearml_localserver.json_bodies import Room, parse_form, parse_lines, parse_object, query_value, render
from clearml_localserver.registry import (
    ENDPOINTS,
    Call,
    Context,
    Data,
    Endpoint,
    Raw,
    Reply,
    Unfinished,
    WaitFor,
    WithCookie,
    add_endpoint_schemas,
)
from clearml_localserver.request_schemas import RequestSchemas
from clearml_localserver.server_faults import log_fault
from clearml_localserver.store import Store, Tx
from clearml_localserver.times import utcnow
from clearml_localserver.topics import Topics

log = logging.getLogger(__name__)

PATH = re.compile(r"/?(?:v(?P<version>[0-9]{1,4}\.[0-9]{1,4})/)?(?P<name>[A-Za-z_]+\.[A-Za-z_]+)/?")
NEWEST = tuple(int(part) for part in API_VERSION.split("."))
NOBODY = Identity("", "", "")
DISCONNECT_CHECK_S = 1.0
"""How often a waiting request looks whether its client is still there."""

INLINE_BYTES = 2**16
"""Larger bodies are read on a thread: up to here it costs a few milliseconds at most."""

MAX_STRANGER_BYTES = 2**16
"""Largest body of an unauthenticated request: each connection may hold one in memory."""

RENEW_S = 20.0
"""How often a waiting request is tried again although nothing has changed: a worker that waits shows that it lives."""


class _Headers(Mapping[str, str]):
    """A request's headers by name in any case of letters; Starlette's own goes through all of them for each name."""

    def __init__(self, request: Request) -> None:
        raw = reversed(request.scope["headers"])  # of several with one name, the first counts
        self._values: dict[str, str] = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header; most of those that are asked for are absent, which `Mapping` finds out by an exception."""
        return self._values.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class _Rendered:
    """Reply data as pieces of JSON."""

    body: list[bytes]


class Api:
    """The API of one server: answers HTTP requests and the in-process calls of the web pages.

    Args:
        store: The database.
        schemas: The request schemas.
        context: What endpoints are given of the server.
        topics: Tells waiting requests of changes.
        clock: Tells an endpoint what time it is.
        renew_s: How often a waiting request is tried again although nothing has changed.
    """

    def __init__(
        self,
        store: Store,
        schemas: RequestSchemas,
        context: Context,
        topics: Topics,
        *,
        clock: Callable[[], datetime] = utcnow,
        renew_s: float = RENEW_S,
    ) -> None:
        self.store = store
        self.context = context
        self.topics = topics
        self.schemas = schemas
        self._clock = clock
        self._renew_s = renew_s
        self._room = Room(max(context.settings.max_bodies_bytes, context.settings.max_body_bytes))
        # Few threads, since each one that reads JSON makes the event loop wait for the interpreter's lock.
        self._parsers = ThreadPoolExecutor(2, thread_name_prefix="request-parser")
        add_endpoint_schemas(schemas)

    async def call(self, name: str, data: Data, identity: Identity, client_host: str = "") -> Data:
        """Run an endpoint for `identity` without HTTP.

        Raises:
            ApiError: As the endpoint does, and 403/20 where `identity` may not call it.
        """
        item = ENDPOINTS[name]
        item.require_role(identity.role)
        call = Call(name, _without_nulls(data), data, _pair(NEWEST), identity, "", self._clock(), self.context)
        reply = await self._run(item, call, connected=None, finish=_taken)
        if isinstance(reply, WithCookie):
            return reply.data
        if not isinstance(reply, dict):
            raise TypeError(f"{name} does not answer JSON")
        return reply

    async def handle(self, request: Request) -> Response:
        """Answer an HTTP request.

        An endpoint that waits is given time beyond the client's read timeout: its answer begins with white space,
        which JSON allows. A stock agent gives up after 30 s, and after an empty answer sleeps for 5 s; so it hears of
        a new task at once, whenever that comes.
        """
        match = PATH.fullmatch(request.scope["path"])
        item = ENDPOINTS.get(match["name"]) if match else None
        if item is None or not item.waits:
            return await self._respond(request)
        answer = asyncio.create_task(self._respond(request))
        try:
            done, _ = await asyncio.wait({answer}, timeout=self.context.settings.sign_of_life_s)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        if done:
            return answer.result()
        return StreamingResponse(self._kept_alive(item.name, answer), media_type="application/json")

    async def _kept_alive(self, name: str, answer: asyncio.Task[Response]) -> AsyncIterator[bytes]:
        try:
            while not answer.done():
                yield b" "
                await asyncio.wait({answer}, timeout=self.context.settings.sign_of_life_s)
            response = answer.result()
            if response.status_code >= 500:  # the status of this answer went out before it was known
                log_fault(name, response.status_code)
            yield bytes(response.body)
        finally:
            answer.cancel()

    async def _respond(self, request: Request) -> Response:
        headers = _Headers(request)
        trx = headers.get("X-ClearML-Trx") or token_hex(16)
        name, requested, since = "", API_VERSION, "1.0"
        try:
            name, requested = _parse_path(request.scope["path"])
            item = _find(name, requested)
            since = item.since
            request.state.endpoint = name
            reply = await self._answer(request, headers, item, requested)
            if isinstance(reply, Raw):
                if reply.rest is not None:
                    return StreamingResponse(self._parts(reply), media_type=reply.media_type, headers=reply.headers)
                return Response(reply.body, media_type=reply.media_type, headers=reply.headers)
            if isinstance(reply, WithCookie):
                response = envelope(trx, name, requested, since, render(reply.data))
                if reply.token:
                    response.set_cookie(COOKIE, reply.token, httponly=True, samesite="lax")
                else:
                    response.delete_cookie(COOKIE)
                return response
            return envelope(trx, name, requested, since, reply.body)
        except ApiError as error:
            return envelope(trx, name, requested, since, [b"{}"], error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            log.exception("%s failed", name or request.scope["path"])
            unexpected = ApiError(500, 100, "General data error (see server log)")
            return envelope(trx, name, requested, since, [b"{}"], unexpected)

    async def _parts(self, reply: Raw) -> AsyncIterator[bytes]:
        """Yield a long body, each part read when the one before has been sent."""
        yield reply.body
        rest = reply.rest
        while rest is not None:
            part, rest = await self.store.read(rest)
            yield part

    async def _answer(
        self, request: Request, headers: _Headers, item: Endpoint, requested: str
    ) -> Raw | WithCookie | _Rendered:
        presented = Presented.of(headers, request.cookies, request.client.host if request.client else "")
        identity = self._identify(item, presented)
        request.state.user = identity.user
        with self._room.share() as take:
            raw, data = await self._body(request, headers, item, take)
            call = Call(
                item.name,
                data,
                raw,
                _pair(_version(requested)),
                identity,
                headers.get("X-ClearML-Worker") or headers.get("X-Trains-Worker") or "",
                self._clock(),
                self.context,
                presented,
            )

            async def connected() -> bool:
                return not await request.is_disconnected()

            reply = await self._run(item, call, connected, _rendered)
            if isinstance(reply, dict):  # what is answered at the end of a wait
                return _Rendered(render(reply))
            return reply

    def _identify(self, item: Endpoint, presented: Presented) -> Identity:
        identity = self.context.auth.authenticate(presented) if item.needs_auth else NOBODY
        item.require_role(identity.role)
        return identity

    async def _run(
        self,
        item: Endpoint,
        call: Call,
        connected: Callable[[], Awaitable[bool]] | None,
        finish: Callable[[Reply], Reply | _Rendered],
    ) -> Data | Raw | WithCookie | _Rendered:
        def transaction(tx: Tx) -> Reply | _Rendered:
            # Time passes in the store's queue and between two attempts: an endpoint is told when it runs.
            return finish(item.function(replace(call, now=self._clock()), tx))

        def go_on(rest: Callable[[Tx], Reply], tx: Tx) -> Reply | _Rendered:
            return finish(rest(tx))

        run = self.store.write if item.writes else self.store.read
        deadline: float | None = None
        while True:
            mark = self.topics.sequence
            reply = await run(transaction)
            while isinstance(reply, Unfinished):
                reply = await run(partial(go_on, reply.rest))
            if not isinstance(reply, WaitFor):
                return reply
            now = time.monotonic()
            deadline = deadline or now + reply.timeout_s
            renewal = now + self._renew_s
            topics = reply.topics | reply.ends
            while not await self.topics.wait(topics, mark, min(DISCONNECT_CHECK_S, deadline - now, renewal - now)):
                now = time.monotonic()
                if now >= deadline or self.topics.closed:
                    return reply.otherwise
                await self._require(connected)
                if now >= renewal:
                    break
            if self.topics.fired(reply.ends, mark):
                return reply.otherwise
            # Never hand a task to a worker that has gone away meanwhile, or whose key has been revoked.
            await self._require(connected)
            if connected is not None:
                call = replace(call, identity=self._identify(item, call.presented))

    @staticmethod
    async def _require(connected: Callable[[], Awaitable[bool]] | None) -> None:
        if connected is not None and not await connected():
            raise ClientDisconnect

    async def _body(
        self, request: Request, headers: _Headers, item: Endpoint, take: Callable[[int], None]
    ) -> tuple[Data, Data]:
        """Return the body as sent, and without its top-level nulls, which fits the endpoint's schema."""
        if (encoding := headers.get("Content-Encoding")) not in (None, "identity"):
            raise ApiError(415, 0, f"Content-Encoding {encoding} is not supported")
        body = bytearray()
        limit = self.context.settings.max_body_bytes
        if not item.needs_auth:
            limit = min(limit, MAX_STRANGER_BYTES)
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise ApiError(413, 0, f"Request body above {limit} bytes")
            if len(body) + len(chunk) > INLINE_BYTES:
                take(len(chunk))
            body += chunk
        content_type = (headers.get("Content-Type") or "").partition(";")[0].strip()
        query: Data = {}
        if request.scope["query_string"]:
            query = {name: query_value(value) for name, value in request.query_params.items()}

        def parse() -> tuple[Data, Data]:
            if item.json_lines:
                is_batch = content_type == "application/json-lines"
                raw: Data = {"lines": parse_lines(body) if is_batch else [parse_object(body)] if body.strip() else []}
            elif content_type == "application/x-www-form-urlencoded":
                raw = parse_form(body) | query
            else:
                raw = parse_object(body) | query
            data = _without_nulls(raw)
            self.schemas.validate(item.name, data)
            return raw, data

        if len(body) <= INLINE_BYTES:
            return parse()
        return await asyncio.get_running_loop().run_in_executor(self._parsers, parse)


def _taken(reply: Reply) -> Reply:
    """Take what a reply's iterators hold, which is read within the transaction."""
    if not isinstance(reply, dict):
        return reply
    return {name: list(value) if isinstance(value, Iterator) else value for name, value in reply.items()}


def _rendered(reply: Reply) -> Reply | _Rendered:
    """Write a reply's JSON where it is made, on the store's thread and not on the event loop."""
    return _Rendered(render(reply)) if isinstance(reply, dict) else reply


def _parse_path(path: str) -> tuple[str, str]:
    match = PATH.fullmatch(path)
    if match is None:
        raise ApiError(400, 0, f"Invalid request path {path}")
    return match["name"], match["version"] or API_VERSION


def _find(name: str, requested: str) -> Endpoint:
    item = ENDPOINTS.get(name)
    if item is None or _version(requested) < _version(item.since):
        raise ApiError(404, 0, f"Unable to find endpoint for name {name} and version {requested}")
    return item


@lru_cache(256)
def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _pair(version: tuple[int, ...]) -> tuple[int, int]:
    return version[0], version[1]


def _without_nulls(body: Data) -> Data:
    return {name: value for name, value in body.items() if value is not None}
