"""Rules of workers: who is alive, which figures of a report count, how a report over time is cut into intervals."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import workers
from clearml_localserver.rules.workers import ACTIVITY, MAX_INTERVALS, MAX_RESOURCES, Sample

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
WORKER = workers.registered(None, {"id": "w"}, NOW)


@pytest.mark.parametrize(
    ("timeout", "silent_s", "alive"),
    [
        (600, 0, True),
        (600, 600, True),
        (600, 601, False),
        (7, 8, False),
        (3600, 3599, True),
        (0, 1, False),
        (600, -90, True),
    ],
)
def test_a_worker_is_alive_until_its_time_out(timeout: int, silent_s: int, alive: bool) -> None:
    """Ten minutes, unless it registered with another figure; a clock that was set back makes nobody silent."""
    worker = workers.registered(None, {"id": "w", "register_timeout": timeout}, NOW)
    assert workers.is_alive(worker, NOW + timedelta(seconds=silent_s)) == alive


def test_every_report_renews_it_and_says_what_it_does() -> None:
    later = NOW + timedelta(seconds=590)
    busy = workers.reported(WORKER, {"task": "t", "queue": "q", "tags": ["gpu"]}, later)
    assert workers.is_alive(busy, later + timedelta(seconds=600))
    assert (busy["task"], busy["queue"], busy["tags"], busy["register_time"]) == (
        "t",
        "q",
        ["gpu"],
        WORKER["register_time"],
    )
    idle = workers.reported(busy, {}, later)
    assert ("task" in idle, "queue" in idle, idle["tags"]) == (False, False, ["gpu"])


@pytest.mark.parametrize(
    ("statistics", "found"),
    [
        ({}, []),
        ({"memory_free": 5}, [Sample("memory_free", 5.0)]),
        ({"cpu_usage": [20, 40]}, [Sample("cpu_usage", 30.0, [20.0, 40.0])]),
        ({"gpu_usage": [7]}, [Sample("gpu_usage", 7.0, [7.0])]),
        ({"cpu_usage": [1e308, 1.4e308]}, [Sample("cpu_usage", 1.2e308, [1e308, 1.4e308])]),
        ({"cpu_usage": [None, "x", {}, True, float("nan"), float("inf"), 3]}, [Sample("cpu_usage", 3.0, [3.0])]),
        ({"cpu_usage": {}, "disk_read": "1", "unknown": 1, "task": 1}, []),
    ],
)
def test_which_figures_count(statistics: dict[str, Any], found: list[Sample]) -> None:
    assert workers.samples(statistics, busy=True) == [Sample(ACTIVITY, 1.0), *found]


def test_resources_are_bounded() -> None:
    _, sample = workers.samples({"cpu_usage": [1] * 100_000}, busy=False)
    assert len(sample.resources or []) == MAX_RESOURCES


def asked(start: float, end: float, interval: int) -> dict[str, Any]:
    return {"from_date": start, "to_date": end, "interval": interval}


@pytest.mark.parametrize(
    ("request_", "least", "starts"),
    [
        (asked(125, 245, 60), 1, [120, 180, 240]),
        (asked(100, 199, 10), 40, [80, 120, 160]),
        (asked(0, 40, 1), 40, [0, 40]),
        (asked(5, 6, 2**62), 40, [0]),
    ],
)
def test_intervals(request_: dict[str, Any], least: int, starts: list[int]) -> None:
    assert list(workers.span(request_, least_step=least).starts) == starts


def test_there_are_never_many_intervals() -> None:
    span = workers.span(asked(0.5, workers.LAST_DATE, 1), least_step=40)
    assert len(span.starts) <= MAX_INTERVALS + 2


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asked(0, 1, 0), 12),
        (asked(1, 1, 1), 16),
        (asked(-1, 1, 1), 12),
        (asked(0, 1e308, 1), 12),
        (asked(float("nan"), 5, 1), 12),
    ],
)
def test_dates_and_intervals_that_are_none(request_: dict[str, Any], code: int) -> None:
    with pytest.raises(ApiError) as refused:
        workers.span(request_)
    assert (refused.value.code, refused.value.subcode) == (400, code)
