"""The pages' application over an API that answers what a test says, in this process and without a socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
from clearml_localserver.auth import Identity
from clearml_localserver.settings import Settings
from clearml_localserver.web import create_web_app
from clearml_localserver.wire import Api
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from tinyhtml5 import inputstream

HOST = "http://127.0.0.1"
FROM_PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


class _Patterns(dict[tuple[frozenset[str], bool], re.Pattern[str]]):
    """The patterns that tinyhtml5 looks up for every text: 2.1.0 keeps each under a wrong key, and makes it anew."""

    def __missing__(self, key: tuple[frozenset[str], bool]) -> re.Pattern[str]:
        characters, opposite = key
        listed = "".join(re.escape(character) for character in sorted(characters))
        self[key] = re.compile(f"[{'' if opposite else '^'}{listed}]+")
        return self[key]


inputstream.characters_until_regex = _Patterns()


class _Context:
    def __init__(self) -> None:
        self.settings = Settings(Path("/data"))


class FakeApi:
    """Answers every call by `reply(name, data)`."""

    def __init__(self, reply: Callable[[str, dict[str, Any]], Any]) -> None:
        self.context = _Context()
        self._reply = reply

    async def call(self, name: str, data: dict[str, Any], identity: Identity) -> Any:
        return self._reply(name, data)


def make_app(reply: Callable[[str, dict[str, Any]], Any]) -> Starlette:
    return create_web_app(cast(Api, FakeApi(reply)), Identity("user", "company", "admin"), PlainTextResponse("file"))


def ask(app: Starlette, path: str, method: str = "GET", **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            return await client.request(method, path, headers=FROM_PAGE, **options)

    return asyncio.run(run())
