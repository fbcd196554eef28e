"""The web pages."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from localserver.auth import Identity
from localserver.wire import Api


def create_web_app(api: Api, own: Identity) -> Starlette:
    """Return the web application; on a loopback address its pages act for the user `own`."""

    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse("OK")

    return Starlette(routes=[Route("/", home)])
