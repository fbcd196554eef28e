"""How values read on the web pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localserver.web import text

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (-3, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (86400 * 4 + 3 * 3600, "4 d 3 h"),
    ],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert text.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-60, "just now"),
        (4, "just now"),
        (59, "59 s ago"),
        (61, "1 min ago"),
        (7300, "2 h ago"),
        (86400 * 40, "1 mo ago"),
        (86400 * 800, "2 y ago"),
    ],
)
def test_how_long_ago(seconds: int, words: str) -> None:
    assert text.ago(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1536, "1.5 KB"),
        (150 * 1024, "150 KB"),
        (77 * 2**20, "77.0 MB"),
        (5 * 2**50, "5120 TB"),
    ],
)
def test_sizes(count: float | None, words: str) -> None:
    assert text.size(count) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (True, "True"), (12345, "12,345"), (0.123456789, "0.123457"), ("x", "x")],
)
def test_numbers(value: Any, words: str) -> None:
    assert text.number(value) == words


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-23T12:00:00+00:00", NOW),
        (int(NOW.timestamp()), NOW),
        (int(NOW.timestamp() * 1000), NOW),
        ("nonsense", None),
        (0, None),
        (None, None),
    ],
)
def test_moments_are_read_in_every_form_that_documents_hold(value: Any, moment: datetime | None) -> None:
    assert text.moment(value) == moment


@pytest.mark.parametrize(
    ("task", "seconds"),
    [
        ({"status": "created"}, None),
        ({"status": "in_progress", "started": "2026-11-23T11:59:00+00:00"}, 60),
        ({"status": "completed", "started": "2026-11-23T11:00:00Z", "completed": "2026-11-23T11:00:07Z"}, 7),
        ({"status": "stopped", "started": "2026-11-23T11:00:00Z", "status_changed": "2026-11-23T11:00:03Z"}, 3),
        ({"status": "failed", "started": "2026-11-23T11:00:00Z", "completed": "2026-11-23T10:00:00Z"}, 0),
    ],
)
def test_run_time(task: dict[str, Any], seconds: float | None) -> None:
    assert text.run_time(task, NOW) == seconds


def test_every_status_of_the_api_has_words_and_an_unknown_one_does_not_fail() -> None:
    assert {text.status(name).name for name in ("created", "in_progress", "stopped")} == {"draft", "running", "aborted"}
    assert text.status("nonsense") == text.status(None) == text.UNKNOWN


@pytest.mark.parametrize(
    ("given", "shown"), [('{"a":1}', '{\n  "a": 1\n}'), ("{not json", "{not json"), ("a = 1", "a = 1"), ("", "")]
)
def test_json_is_indented_and_other_text_left_alone(given: str, shown: str) -> None:
    assert text.pretty(given) == shown
