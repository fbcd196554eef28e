"""Credentials in addresses: found in texts of any size without a long call."""

from __future__ import annotations

import re

import pytest
from clearml_localserver.web import url_credentials
from hypothesis import given
from hypothesis import strategies as st

from tests.c_calls import long_c_calls

PART = r"""[^\s/?#"'<>]"""
WITH_USER = re.compile(rf"(?P<web>https?)?://(?P<user>{PART}+)@(?P<host>[^\s/?#\"'<>@]*)", re.IGNORECASE)
"""What the search in slices stands for."""

PIECES = st.sampled_from(["http", "https", "HTTP", "s", "://", ":", "/", "@", "a", "b:c", " ", "\n", "?", "é", "***"])


def hidden(found: re.Match[str]) -> str:
    user = "***" if found["web"] or ":" in found["user"] else found["user"]
    return f"{found['web'] or ''}://{user}@{found['host']}"


@given(st.lists(PIECES, max_size=30).map("".join), st.integers(1, 8))
def test_the_search_in_slices_finds_what_one_pattern_does(text: str, slice_: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(url_credentials, "SLICE", slice_)
        assert url_credentials.hide(text) == WITH_USER.sub(hidden, text)


@pytest.mark.parametrize(
    ("unit", "count"), [("x", 2_000_000), ("http", 500_000), ("http://", 300_000), ("://x ", 300_000),
                        ("https://a:b@c ", 10_000), ("://@", 10_000), ("http://a@b", 10_000), ("@", 20_000)],
)  # fmt: skip
def test_no_call_keeps_the_interpreter_for_a_long_text(unit: str, count: int) -> None:
    text = "://x@" + unit * count + "://***@h"
    with long_c_calls(30) as found:
        url_credentials.hide(text)
        url_credentials.restore(text, text)
    assert found == []
