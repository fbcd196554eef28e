"""What a request is measured by, and what the log tells of it."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver.http.prometheus import requests, text
from clearml_localserver.http.request_metrics import AccessLog, RequestCounters, RequestMetrics
from clearml_localserver.http.server_state import FolderSize
from starlette.types import Message, Receive, Scope, Send


def ask(app: RequestMetrics, **scope: Any) -> None:
    """Send a request through a measured service."""
    asked = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/v2.23/tasks.get_all",
        "query_string": b"secret=hidden",
        "client": ("10.0.0.1", 5),
        "state": {},
        "headers": [(b"authorization", b"Basic hidden")],
    }

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    asyncio.run(app(asked | scope, receive, send))


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    scope["state"] |= {"endpoint": "tasks.get_all", "user": "somebody"}
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b"678"})


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("no answer")


def test_requests_are_counted_by_service_endpoint_and_status() -> None:
    counters = RequestCounters()
    for _ in range(3):
        ask(RequestMetrics(answering, "api", counters, None))
    with pytest.raises(RuntimeError):
        ask(RequestMetrics(failing, "web", counters, None))
    assert counters.requests == {("api", "tasks.get_all", 200): 3, ("web", "other", 500): 1}
    assert sum(counters.latencies["api", "tasks.get_all"].buckets) == 3


def test_latencies_are_told_as_a_cumulative_histogram() -> None:
    counters = RequestCounters()
    for seconds in (0.001, 0.0011, 0.3, 100.0):
        counters.count("api", "tasks.get_all", 200, seconds)
    lines = text(requests(counters)).decode().splitlines()
    labels = 'endpoint="tasks.get_all",service="api"'
    name = "localserver_request_seconds"
    for bound, count in (("0.001", 1), ("0.0025", 2), ("0.5", 3), ("30.0", 3), ("+Inf", 4)):
        assert any(
            line.startswith(f"{name}_bucket{{") and f'le="{bound}"' in line and line.endswith(f" {count}.0")
            for line in lines
        ), (bound, lines)
    assert f'localserver_requests_total{{{labels},status="200"}} 4.0' in lines


def test_the_access_log_has_a_line_of_json_for_each_request_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    log = AccessLog(str(file))
    with log.open():
        ask(RequestMetrics(answering, "api", RequestCounters(), log))
        ask(RequestMetrics(answering, "files", RequestCounters(), log), client=None)
    first, second = [json.loads(line) for line in file.read_text().splitlines()]
    assert first.pop("time") and first.pop("ms") >= 0
    assert first == {
        "service": "api",
        "method": "GET",
        "path": "/v2.23/tasks.get_all",
        "endpoint": "tasks.get_all",
        "status": 200,
        "bytes": 8,
        "user": "somebody",
        "client": "10.0.0.1",
    }
    assert (second["service"], second["client"]) == ("files", "")
    assert "hidden" not in file.read_text()


def test_an_access_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    log = AccessLog(str(file))
    file.rename(tmp_path / "old.jsonl")
    with log.open():
        log.write({"a": 1})
    assert file.read_text() == '{"a":1}\n'


def test_lines_that_the_disk_is_too_slow_for_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_localserver.http.request_metrics.MOST_LINES", 2)
    log = AccessLog(str(tmp_path / "access.jsonl"))
    for number in range(5):
        log.write({"number": number})
    assert log.lost == 3


def test_verbose_logs_a_short_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clearml_localserver.http.request_metrics"):
        ask(RequestMetrics(answering, "api", RequestCounters(), None))
    (line,) = caplog.messages
    assert line.startswith("api GET /v2.23/tasks.get_all 200 ")
    assert line.endswith(" ms 8 bytes 10.0.0.1")


def test_a_folder_is_not_walked_at_each_look(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"12345")

    async def look_twice() -> None:
        size = FolderSize(tmp_path)
        await size.look()
        assert (size.bytes, size.files) == (5, 1)
        (tmp_path / "another").write_bytes(b"123")
        await size.look()
        assert (size.bytes, size.files) == (5, 1)

    asyncio.run(look_twice())
