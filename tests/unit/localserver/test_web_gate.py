"""Which requests the web pages let in."""

from __future__ import annotations

from pathlib import Path

import pytest
from clearml_localserver.settings import Settings
from clearml_localserver.web.request_guard import is_own_host, page_policy, refuse
from clearml_localserver.web.views.session import own_path
from starlette.datastructures import Headers

HERE = Settings(Path("/data"), web_port=8080)
NAMED = Settings(Path("/data"), public_host="clearml.internal")
OPEN = Settings(Path("/data"), host="0.0.0.0")

OWN = {"Host": "127.0.0.1:8080", "Content-Length": "3"}


@pytest.mark.parametrize(
    ("settings", "host", "own"),
    [
        (HERE, "127.0.0.1:8080", True),
        (HERE, "localhost:9999", True),
        (HERE, "LOCALHOST", True),
        (HERE, "[::1]:8080", True),
        (HERE, "127.0.0.2:8080", True),
        (HERE, "evil.example", False),
        (HERE, "evil.example:8080", False),
        (HERE, "127.0.0.1.evil.example:8080", False),
        (HERE, "localhost.evil.example", False),
        (HERE, "10.0.0.7:8080", False),
        (HERE, "x@127.0.0.1", False),
        (HERE, "127.0.0.1/x", False),
        (HERE, "[::1", False),
        (HERE, "", False),
        (NAMED, "clearml.internal:8080", True),
        (NAMED, "clearml.internal.", True),
        (OPEN, "any.name:8080", True),
        (OPEN, "10.0.0.7", True),
        (OPEN, "", False),
    ],
)
def test_a_name_that_points_here_is_not_enough(settings: Settings, host: str, own: bool) -> None:
    assert is_own_host(host, settings) is own


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8080"}, None),
        ({"Sec-Fetch-Site": "same-origin"}, None),
        ({"Origin": "http://127.0.0.1:8080"}, None),
        ({"Origin": "https://127.0.0.1:8080"}, None),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8081"}, 403),
        ({"Origin": "http://localhost:8080"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://[bad"}, 403),
        ({"Origin": "http://127.0.0.1:8080.evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8080"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Content-Length": "999999999"}, 413),
        ({"Sec-Fetch-Site": "same-origin", "Content-Length": ""}, 413),
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.example"}, 421),
    ],
)
def test_a_change_comes_from_an_own_page(headers: dict[str, str], status: int | None) -> None:
    refusal = refuse("POST", Headers(OWN | headers), HERE)
    assert (refusal and refusal[0]) == status


def test_reading_needs_no_origin() -> None:
    assert refuse("GET", Headers({"Host": "localhost:8080"}), HERE) is None


def test_other_methods_are_refused() -> None:
    refusal = refuse("DELETE", Headers(OWN | {"Sec-Fetch-Site": "same-origin"}), HERE)
    assert refusal is not None and refusal[0] == 405


def test_no_page_runs_foreign_or_inline_scripts() -> None:
    for drawing in (False, True):
        for compiling in (False, True):
            policy = dict(
                part.split(" ", 1) for part in page_policy(HERE, drawing=drawing, compiling=compiling).split("; ")
            )
            assert policy["default-src"] == "'none'"
            assert set(policy["script-src"].split()) - {"'self'", "'unsafe-eval'"} == set()
            assert ("'unsafe-eval'" in policy["script-src"]) is compiling
            assert ("'unsafe-inline'" in policy["style-src"]) is drawing


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ("/tasks/1?x=2", "/tasks/1?x=2"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\tx", "/"),
        ("", "/"),
    ],
)
def test_log_in_leads_only_to_own_pages(given: str, after: str) -> None:
    assert own_path(given) == after
