"""How values read on the web pages."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from clearml_localserver.web import text

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)


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


@pytest.mark.parametrize(("seconds", "words"), [(1.25, "+1.2 s"), (-3.0, "-3.0 s"), (0.0, "+0.0 s"), (-0.04, "+0.0 s")])
def test_differences_of_durations(seconds: float, words: str) -> None:
    assert text.more_seconds(seconds) == words


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


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://h:1/a%20b?c=d", "http://h:1/a%20b?c=d"),
        ('http://h:1/run "best" \\ 50% <b>', "http://h:1/run%20%22best%22%20%5C%2050%25%20%3Cb%3E"),
        ("http://h/two\nlines\tand\r", "http://h/two%0Alines%09and%0D"),
        ("http://h/e\u0301 \u00e9", "http://h/e%CC%81%20%C3%A9"),
        ("https://[::1]:5/x", "https://[::1]:5/x"),
        ("http://[bad", None),
        ("http://h:99999/", None),
        ("http://", None),
        ("s3://bucket/x", None),
        ("javascript:alert(1)", None),
        ("//h/x", None),
        ("", None),
    ],
)
def test_addresses_are_made_fit_for_links(uri: str, shown: str | None) -> None:
    found = text.address(uri)
    assert (found.geturl() if found else None) == shown


@pytest.mark.parametrize("value", ["37648-09-30", 1.1e18, -5, True, [], "9999-12-31T23:59:59-14:00", 1e308])
def test_times_that_are_none_are_none(value: Any) -> None:
    assert text.moment(value) is None


def test_json_that_would_grow_without_bound_is_left_as_it_is() -> None:
    deep = "[" * 900 + "1," * 20_000 + "1" + "]" * 900
    assert text.pretty(deep) == deep
    assert text.pretty("[" * 5000) == "[" * 5000
    assert text.pretty("[NaN]") == "[\n  NaN\n]"


def test_characters_that_a_page_cannot_hold_are_shown_by_signs() -> None:
    assert text.visible("a\x00\x1b\x7f\x85\ud800\uffff\U0001ffff\t\n\r\u00e9\U0001f600") == (
        "a\u2400\u241b\u2421\ufffd\ufffd\ufffd\ufffd\t\n\r\u00e9\U0001f600"
    )
    assert text.visible("x" * (2**18 + 5) + "\x00") == "x" * (2**18 + 5) + "\u2400"
