"""A fault of the server is logged, and the test that caused it hears of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from clearml_localserver.server_faults import LogFaults
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.conftest import FaultLines


async def answer(request: Request) -> Response:
    code = request.path_params["code"]
    if code == 0:
        raise RuntimeError("a defect")
    return PlainTextResponse("x", status_code=code)


async def broken_off(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("a defect")

    return StreamingResponse(pieces())


async def ask(path: str) -> None:
    app = LogFaults(Starlette(routes=[Route("/{code:int}/é", answer), Route("/broken", broken_off)]))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        await client.get(path)


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("/200/é", []),
        ("/404/é", []),
        ("/500/é", ["server fault: GET /500/%C3%A9 answered 500"]),
        ("/507/é", ["server fault: GET /507/%C3%A9 answered 507"]),
        ("/0/é", ["server fault: GET /0/%C3%A9 answered 500"]),
        ("/broken", ["server fault: GET /broken answered 500"]),
    ],
)
def test_each_answer_of_500_and_above_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture, path: str, lines: list[str]
) -> None:
    with caplog.at_level(logging.ERROR, "clearml_localserver.server_faults"):
        asyncio.run(ask(path))
    assert caplog.messages == lines


def test_lines_on_faults_are_told_once(tmp_path: Path) -> None:
    log, other, told = tmp_path / "a.log", tmp_path / "b.log", FaultLines()
    log.write_text("quiet\n1 ERROR server fault: GET /x answered 500\n")
    assert told.new([log, other]) == ["1 ERROR server fault: GET /x answered 500"]
    assert told.new([log, other]) == []
    other.write_text("2 ERROR server fault: GET /y answered 507\n")
    with log.open("a") as file:
        file.write("3 ERROR server fault: GET /z answered 500\n")
    assert told.new([log, other]) == [
        "3 ERROR server fault: GET /z answered 500",
        "2 ERROR server fault: GET /y answered 507",
    ]
