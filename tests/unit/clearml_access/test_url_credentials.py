"""What a person reads of a console has no credentials in it."""

from __future__ import annotations

import pytest

from clearml_access import url_credentials
from clearml_access.api import Api


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pkg @ https://me:s3cret@host/simple/pkg.whl", "pkg @ https://***@host/simple/pkg.whl"),
        ("git+https://ghp_token@github.com/a/b.git@v1", "git+https://***@github.com/a/b.git@v1"),
        ("HTTP://me:p@ss@host:80/a", "HTTP://***@host:80/a"),
        ("two https://a:b@c and https://d:e@f", "two https://***@c and https://***@f"),
        ("postgres://me:s3cret@db/x", "postgres://***@db/x"),
        ("ssh://git@host/a/b.git", "ssh://git@host/a/b.git"),
        ("http://host/path?mail=me@example.org", "http://host/path?mail=me@example.org"),
        ("me@example.org, see https://example.org", "me@example.org, see https://example.org"),
    ],
)
def test_credentials_in_addresses_are_hidden(text: str, shown: str) -> None:
    assert url_credentials.hide(text) == shown


def test_a_long_text_takes_no_time_that_grows_with_its_square() -> None:
    text = "https://" * 200_000 + "@" * 200_000
    assert len(url_credentials.hide(text)) <= len(text) + 3


class PrintingServer:
    """Answers every call with one console event."""

    url = "http://server"

    def send(self, endpoint: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        event = {"msg": "Collecting pkg from https://me:s3cret@host/simple", "timestamp": 1}
        return 200, {"meta": {"result_code": 200}, "data": {"events": [event, {"timestamp": 2}], "total": 2}}


@pytest.mark.parametrize("lines", [None, 5])
def test_consoles_are_read_without_credentials(lines: int | None) -> None:
    assert Api(PrintingServer(), "http://web").console("t", lines) == ["Collecting pkg from https://***@host/simple"]
