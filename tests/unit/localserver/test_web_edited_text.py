"""A text that was edited on a page: what a person has not touched keeps every byte."""

from __future__ import annotations

import re

import pytest
from clearml_localserver.web import edited_text
from clearml_localserver.web.edited_text import MAX_COMPARED, as_sent, edited
from clearml_localserver.web.url_credentials import hide
from hypothesis import given
from hypothesis import strategies as st

from tests.c_calls import long_c_calls

PATCH = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n"
TOKEN = "https://me:t0ken@git.example/team/x.git"
lines = st.lists(st.sampled_from(["", "a", " b", "\x0c", "\ud800", "c\x1b[0m"]) | st.text("ab\u0085", max_size=2))


def in_a_browser(text: str) -> str:
    """Return a text as a browser sends it back."""
    return as_sent(text).replace("\n", "\r\n")


@given(st.lists(st.tuples(st.text("ab\x0c\ud800 ", max_size=3), st.sampled_from(["\n", "\r\n", "\r"])), max_size=8))
def test_an_unchanged_text_is_the_same_byte_by_byte(pieces: list[tuple[str, str]]) -> None:
    stored = "".join(text + end for text, end in pieces)
    assert edited(stored, in_a_browser(stored)) == stored


@given(lines, lines)
def test_what_is_stored_reads_as_what_was_written(before: list[str], after: list[str]) -> None:
    written = in_a_browser("\n".join(after))
    assert as_sent(edited("\r\n".join(before), written)) == as_sent(written)


@pytest.mark.parametrize(
    ("stored", "changes", "kept"),
    [
        (PATCH, {"+c": "+d"}, PATCH.replace("+c", "+d")),
        (PATCH, {"+++ b/x": "+++ b/y"}, PATCH.replace("+++ b/x", "+++ b/y")),
        (PATCH, {"+c": "+c\r\n+d"}, PATCH + "+d\r\n"),
        (PATCH, {" a\r\n": ""}, PATCH.replace(" a\r\n", "")),
        ("a\r\nb", {"b": "b\r\nc"}, "a\r\nb\r\nc"),
        ("a\nb\n", {"a": "x\r\ny"}, "x\ny\nb\n"),
        ("a\r", {"a": "b"}, "b\r"),
        ("", {"": "a\r\nb"}, "a\nb"),
        ("a\r\nb", {"a\r\nb": ""}, ""),
        ("\x0cdef f():\n    x = '\x1b[0m'\n", {"[0m": "[1m"}, "\x0cdef f():\n    x = '\x1b[1m'\n"),
        ("# ␛ is \x1b\n", {"is": "was"}, "# ␛ was ␛\n"),
    ],
)
def test_changed_lines_end_as_those_that_they_replace(stored: str, changes: dict[str, str], kept: str) -> None:
    sent = in_a_browser(stored)
    for old, new in changes.items():
        sent = sent.replace(old, new, 1)
    assert edited(stored, sent) == kept


def test_a_very_long_text_changes_only_where_it_was_edited() -> None:
    stored = "".join(f"line {number}\r\n" for number in range(10 * MAX_COMPARED)) + "last\n"
    sent = in_a_browser(stored).replace("line 5\r\n", "first\r\n").replace("line 19000\r\n", "second\r\n")
    assert edited(stored, sent) == stored.replace("line 5\r\n", "first\r\n").replace("line 19000\r\n", "second\r\n")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (TOKEN, "https://***@git.example/team/x.git"),
        ("git+https://t0ken@git.example:8443/x", "git+https://***@git.example:8443/x"),
        ("HTTP://a@b:c@git.example", "HTTP://***@git.example"),
        ("ssh://git:secret@git.example/x", "ssh://***@git.example/x"),
        ("ssh://git@git.example/x", "ssh://git@git.example/x"),
        ("git@git.example:team/x.git", "git@git.example:team/x.git"),
        ("https://git.example/x@y", "https://git.example/x@y"),
        (f"a @ {TOKEN}\nb==1\n", "a @ https://***@git.example/team/x.git\nb==1\n"),
    ],
)
def test_credentials_in_addresses_are_hidden_and_stay_where_the_host_does(address: str, shown: str) -> None:
    assert hide(address) == shown
    assert edited(address, in_a_browser(shown), hides=True) == address
    moved = re.sub("/x", "/other", shown)
    assert edited(address, in_a_browser(moved), hides=True) == re.sub("/x", "/other", address)
    elsewhere = shown.replace("git.example", "evil.example")
    assert "t0ken" not in edited(address, in_a_browser(elsewhere), hides=True)


def test_credentials_of_two_users_of_one_host_are_not_mixed_up() -> None:
    stored = "a @ https://one@h/a\nb @ https://two@h/b\n"
    sent = hide(stored).replace("h/b", "h/c") + "c @ https://***@h/d\n"
    assert edited(stored, sent, hides=True) == "a @ https://one@h/a\nb @ https://two@h/c\nc @ https://***@h/d\n"


@given(st.lists(st.sampled_from(["\r", "\n", "a"]), max_size=20).map("".join), st.integers(1, 5))
def test_line_ends_are_uniform_wherever_a_slice_ends(text: str, slice_: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edited_text, "SLICE", slice_)
        assert as_sent(text) == re.sub(r"\r\n|\r|\n", "\n", text)
        assert edited(text, in_a_browser(text)) == text


@pytest.mark.parametrize("unit", ["some words\n", "\r\n", "\r", "x"])
def test_no_call_keeps_the_interpreter_for_a_long_text(unit: str) -> None:
    text = unit * (1_500_000 // len(unit))
    with long_c_calls(50) as found:
        as_sent(text)
        if len(unit) > 2:
            edited(text, text)
    assert found == []
