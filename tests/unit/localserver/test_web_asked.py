"""The query of an address, read by kinds of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.web.asked import Asked
from starlette.datastructures import QueryParams

READERS: dict[str, Callable[[Asked], Any]] = {
    "whole": lambda asked: asked.whole("n", 5, 10, least=2),
    "switch": lambda asked: asked.switch("n"),
    "choice": lambda asked: asked.choice("n", "a", ("a", "b"), "a or b"),
    "text": lambda asked: asked.text("n", 3),
    "several": lambda asked: asked.several("n", 2),
    "count": lambda asked: asked.count("n"),
}


@pytest.mark.parametrize(
    ("reader", "query", "found"),
    [
        ("whole", "", 5), ("whole", "n=", 5), ("whole", "n=2", 2), ("whole", "n=10", 10), ("whole", "n=1&n=7", 7),
        ("switch", "", False), ("switch", "n=", False), ("switch", "n=0", False), ("switch", "n=1", True),
        ("choice", "", "a"), ("choice", "n=", "a"), ("choice", "n=b", "b"),
        ("text", "", ""), ("text", "n=+abc+", "abc"),
        ("several", "", []), ("several", "n=a&n=&n=b&n=a", ["a", "b"]),
        ("count", "n=7", 7), ("count", "n=x", 0), ("count", "", 0),
    ],
)  # fmt: skip
def test_what_can_be_understood_is_read(reader: str, query: str, found: Any) -> None:
    assert READERS[reader](Asked(QueryParams(query))) == found


@pytest.mark.parametrize(
    ("reader", "query"),
    [
        *(("whole", f"n={value}") for value in ("1", "11", "x", "-3", "2.0", "%C2%B2", "9" * 30, "0x5", "%205")),
        ("switch", "n=2"), ("switch", "n=true"), ("choice", "n=c"), ("text", "n=abcd"), ("several", "n=a&n=b&n=c"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_by_name(reader: str, query: str) -> None:
    with pytest.raises(ApiError, match="“n”") as refused:
        READERS[reader](Asked(QueryParams(query)))
    assert refused.value.code == 400
