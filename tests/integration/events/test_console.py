"""A task's console: in pages, by the old scrolling call, and as a file."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.events.reporter import T0, UNKNOWN, Reporter, messages

pytestmark = pytest.mark.integration


@pytest.fixture
def console(task: Reporter) -> Reporter:
    """Ten seconds with two lines each."""
    for second in range(10):
        task.add(*({"type": "log", "msg": f"{second}{part}", "timestamp": T0 + 1000 * second} for part in "ab"))
    return task


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        # a page is completed by the other lines of its last moment
        ({"batch_size": 3}, ["9b", "9a", "8b", "8a"]),
        ({"batch_size": 3, "order": "asc"}, ["8a", "8b", "9a", "9b"]),
        ({"batch_size": 1, "from_timestamp": T0 + 3000}, ["2b", "2a"]),
        ({"batch_size": 3, "navigate_earlier": False}, ["0a", "0b", "1a", "1b"]),
        ({"batch_size": 1, "navigate_earlier": False, "from_timestamp": T0 + 3000}, ["4a", "4b"]),
        ({"batch_size": 1, "navigate_earlier": False, "order": "desc"}, ["0b", "0a"]),
        ({"batch_size": 5, "from_timestamp": T0}, []),
        ({"batch_size": 5, "navigate_earlier": False, "from_timestamp": T0 + 9000}, []),
        ({"batch_size": 0}, []),
    ],
)
def test_console_pages(console: Reporter, request_: dict[str, Any], expected: list[str]) -> None:
    reply = console("get_task_log", **request_)
    assert messages(reply) == expected
    assert reply["total"] == 20
    assert "scroll_id" not in reply


def test_a_console_line_keeps_the_senders_fields(task: Reporter) -> None:
    task.add({"type": "log", "msg": "hello", "level": "info", "timestamp": T0, "method": "get", "model_event": False})
    (line,) = task("get_task_log")["events"]
    assert line.pop("@timestamp").endswith("Z")
    assert line == {
        "type": "log", "task": task.id, "msg": "hello", "level": "info", "worker": "host:1", "timestamp": T0,
        "model_event": False, "method": "get", "metric": "", "variant": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "request_", "pages"),
    [
        ("v1.0", {}, [["9b", "9a", "8b"], ["8a", "7b", "7a"]]),
        ("v1.7", {}, [["1a", "0b", "0a"], ["2b", "2a", "1b"]]),
        ("v2.8", {"order": "asc", "from": "tail"}, [["8b", "9a", "9b"], ["7a", "7b", "8a"]]),
    ],
)
def test_the_old_console_scrolls(
    console: Reporter, version: str, request_: dict[str, Any], pages: list[list[str]]
) -> None:
    first = console("get_task_log", version, batch_size=3, **request_)
    second = console("get_task_log", version, batch_size=3, scroll_id=first["scroll_id"], **request_)
    assert [messages(first), messages(second)] == pages


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"batch_size": -1}, (400, 12)),
        ({"batch_size": 10_001}, (400, 12)),
        ({"order": "up"}, (400, 12)),
        ({"batch_size": "5"}, (400, 12)),
        ({"task": UNKNOWN}, (400, 101)),
    ],
)
def test_console_refusals(task: Reporter, request_: dict[str, Any], error: tuple[int, int]) -> None:
    assert task.refused("get_task_log", **request_) == error


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ([{"metric": "met"}], ["m1", "m2"]),
        ([{"metric": "met", "variants": ["b"]}], ["m2"]),
        ([{"metric": ""}], ["plain"]),
        ([{"metric": "none"}], []),
        ([], ["plain", "m1", "m2"]),
    ],
)
def test_the_console_of_some_metrics(task: Reporter, metrics: list[dict[str, Any]], found: list[str]) -> None:
    line = {"type": "log", "timestamp": T0}
    task.add(
        line | {"msg": "plain"},
        line | {"msg": "m1", "metric": "met", "variant": "a", "timestamp": T0 + 1},
        line | {"msg": "m2", "metric": "met", "variant": "b", "timestamp": T0 + 2},
    )
    reply = task("get_task_log", metrics=metrics, order="asc")
    assert (messages(reply), reply["total"]) == (found, len(found))
    assert task.refused("get_task_log", metrics=["met"]) == (400, 12)


@pytest.mark.parametrize(
    ("request_", "deleted"),
    [
        ({}, 10),
        ({"threshold_sec": 0}, 10),
        ({"threshold_sec": -1}, 10),
        ({"threshold_sec": 35}, 6),
        ({"threshold_sec": 2**62}, 0),
        ({"include_metrics": ["met"]}, 5),
        ({"include_metrics": []}, 10),
        ({"include_metrics": ["none"]}, 0),
        ({"exclude_metrics": ["met"]}, 5),
        ({"exclude_metrics": [""]}, 5),
        ({"include_metrics": ["met"], "exclude_metrics": ["met"]}, 0),
        ({"threshold_sec": 35, "include_metrics": ["met"]}, 3),
    ],
)
def test_which_lines_are_cleared(task: Reporter, request_: dict[str, Any], deleted: int) -> None:
    """Ten lines, ten seconds between two; the threshold counts back from now, not from the last line."""
    now = int(time.time() * 1000)
    lines = [{"type": "log", "timestamp": now - 10_000 * age, "metric": "met" if age % 2 else ""} for age in range(10)]
    task.add(*lines)
    assert task("clear_task_log", **request_) == {"deleted": deleted}
    assert task("get_task_log")["total"] == 10 - deleted


def test_a_threshold_is_a_number(task: Reporter) -> None:
    assert task.refused("clear_task_log", threshold_sec="x") == (400, 12)


def test_a_long_console_comes_whole(task: Reporter, api: ApiClient) -> None:
    lines = [f"line {number}" for number in range(4500)]
    task.add(*({"type": "log", "msg": line, "timestamp": T0 + at // 3} for at, line in enumerate(lines)))
    request = {"task": task.id, "line_type": "text", "line_format": "{msg}"}
    reply = api.http.post("/v2.23/events.download_task_log", json=request)
    assert reply.text.splitlines() == lines


def test_a_console_of_long_lines_comes_whole(task: Reporter, api: ApiClient) -> None:
    lines = [f"{number} " + "x" * 700_000 for number in range(14)]
    task.add(*({"type": "log", "msg": line, "timestamp": T0 + at // 3} for at, line in enumerate(lines)))
    request = {"task": task.id, "line_type": "text", "line_format": "{msg}"}
    reply = api.http.post("/v2.23/events.download_task_log", json=request)
    assert reply.text.splitlines() == lines


def test_the_console_as_a_file(console: Reporter, api: ApiClient) -> None:
    def download(**data: Any) -> list[str]:
        reply = api.http.post("/v2.23/events.download_task_log", json={"task": console.id, **data})
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.headers["content-disposition"] == f"attachment; filename=task_{console.id}.log"
        return reply.text.splitlines()

    text = download(line_type="text", line_format="{asctime} {msg} {msg.__class__} {nothing}")
    assert text[0] == f"{T0} 0a {{msg.__class__}} "
    assert len(text) == 20
    first = json.loads(download()[0])
    assert (first["msg"], first["asctime"]) == ("0a", T0)
    assert "timestamp" not in first
