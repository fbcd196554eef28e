"""What `task test` runs, and what it says it does not."""

from __future__ import annotations

import pytest

from tests.__main__ import selection


@pytest.mark.parametrize(
    ("arguments", "chromium", "expected", "left_out"),
    [
        ([], True, ["-m", "not e2e"], ["end-to-end"]),
        ([], False, ["-m", "not e2e and not browser"], ["end-to-end", "apt-get install chromium"]),
        (["-x", "tests/unit"], True, ["-m", "not e2e", "-x", "tests/unit"], ["end-to-end"]),
        (["-m", "browser"], False, ["-m", "browser"], []),
    ],
)
def test_what_is_left_out_is_said(arguments, chromium, expected, left_out):
    chosen, lines = selection(arguments, chromium=chromium)
    assert chosen == expected
    assert len(lines) == len(left_out)
    assert all(word in line for word, line in zip(left_out, lines, strict=True))
