"""Which page a browser acts for."""

from __future__ import annotations

import pytest
from clearml_localserver.auth import COOKIE, Presented
from clearml_localserver.cross_origin import is_cross_origin, is_navigation
from starlette.datastructures import Headers

HOST = "127.0.0.1:8081"


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "something new"}, True),
        ({"Origin": f"http://{HOST}"}, False),
        ({"Origin": "http://127.0.0.1:9999"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://[bad"}, True),
    ],
)
def test_a_request_for_a_page_of_another_origin_is_foreign(headers: dict[str, str], foreign: bool) -> None:
    sent = Headers({"Host": HOST, **headers})
    assert is_cross_origin(sent) is foreign
    assert Presented.of(sent, {COOKIE: "token"}, "").cookie == (None if foreign else "token")


@pytest.mark.parametrize(
    ("mode", "destination", "opened"),
    [
        ("navigate", "document", True),
        ("navigate", "iframe", False),
        ("no-cors", "script", False),
        ("cors", "empty", False),
    ],
)
def test_only_a_followed_link_opens_a_page_of_its_own(mode: str, destination: str, opened: bool) -> None:
    assert is_navigation(Headers({"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination})) is opened
