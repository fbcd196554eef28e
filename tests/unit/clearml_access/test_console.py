"""One console from two places: nothing twice, nothing lost."""

from __future__ import annotations

import pytest

from clearml_access.console import after, plain


@pytest.mark.parametrize(
    ("printed", "lines", "rest"),
    [
        ([], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["pod start", "a", "b"], ["agent note", "a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["a", "b"], []),  # the server is behind
        (["x"] * 5, ["x"] * 7, ["x", "x"]),  # a loop that prints the same again and again
        (["a", "", "b", ""], ["a", "", "b", "", "c", ""], ["c", ""]),
        (["only in the pod"], ["only", "on the server"], ["only", "on the server"]),
        (["\x1b[32ma\x1b[0m", "b"], ["a", "b  ", "c"], ["c"]),
    ],
)
def test_the_other_place_goes_on(printed, lines, rest):
    assert after(printed, lines) == rest


@pytest.mark.parametrize(
    ("line", "text"), [("\x1b[1mx\x1b[0m", "x"), ("10%\r20%\r30%", "30%"), ("x\r", "x"), ("x  ", "x")]
)
def test_a_line_as_it_reads(line, text):
    assert plain(line) == text
